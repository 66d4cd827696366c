//! zstd, by the crate of that name, which builds the C library.

use std::fmt;

use zstd::{
    bulk::{Compressor, Decompressor},
    dict::DecoderDictionary,
};

use crate::compressed::dictionary::{Dictionary, DictionaryError};

pub(super) const IS_BUILT: bool = true;

/// Minimum length of a dictionary to be trained, in bytes.
const MIN_DICTIONARY_BYTES: usize = 256;

/// A dictionary, digested once for all frames that are opened with it.
pub(in crate::compressed) struct Prepared(DecoderDictionary<'static>);

impl Prepared {
    pub(in crate::compressed) fn new(dictionary: &[u8]) -> Self {
        Self(DecoderDictionary::copy(dictionary))
    }

    pub(in crate::compressed) fn train(samples: &[&[u8]], max_bytes: usize) -> Result<Vec<u8>, DictionaryError> {
        let max_bytes = max_bytes.max(MIN_DICTIONARY_BYTES);
        zstd::dict::from_samples(samples, max_bytes).map_err(|_| DictionaryError::Samples { samples: samples.len() })
    }
}

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
        Some(dictionary) => Decompressor::with_prepared_dictionary(&dictionary.prepared().0),
        None => Decompressor::new(),
    };
    let mut content = Vec::with_capacity(len);
    context.as_mut().ok()?.decompress_to_buffer(payload, &mut content).ok()?;
    Some(content)
}
