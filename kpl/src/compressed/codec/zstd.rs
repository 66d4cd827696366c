//! zstd, by the crate of that name, which builds the C library.

use std::fmt;

use zstd::bulk::{Compressor, Decompressor};

use crate::compressed::dictionary::Dictionary;

/// Context and room for the payload.
pub(in crate::compressed) struct Encoder {
    context: Compressor<'static>,
    room: Vec<u8>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

impl Encoder {
    pub(super) fn new(level: i32, dictionary: Option<&Dictionary>) -> Option<Self> {
        let context = match dictionary {
            Some(dictionary) => Compressor::with_dictionary(level, dictionary.bytes()),
            None => Compressor::new(level),
        };
        Some(Self { context: context.ok()?, room: Vec::new() })
    }

    pub(super) fn payload(&mut self, content: &[u8], max_len: usize) -> Option<&[u8]> {
        self.room.clear();
        self.room.reserve(max_len);
        // It writes into the capacity, which may be larger, and fails if that is too little.
        self.context.compress_to_buffer(content, &mut self.room).ok()?;
        Some(self.room.as_slice()).filter(|payload| payload.len() <= max_len)
    }
}

pub(super) fn content(payload: &[u8], len: usize, dictionary: Option<&Dictionary>) -> Option<Vec<u8>> {
    let mut context = match dictionary {
        Some(dictionary) => Decompressor::with_prepared_dictionary(dictionary.prepared()),
        None => Decompressor::new(),
    };
    let mut content = Vec::with_capacity(len);
    context.as_mut().ok()?.decompress_to_buffer(payload, &mut content).ok()?;
    Some(content)
}
