//! The writer of frames.

use std::sync::Mutex;

use bytes::Bytes;

use super::{
    Compression, Dictionary, HEADER_LEN, MAX_CONTENT_BYTES,
    codec::{Codec, Encoder},
    frame::framed,
};
use crate::locked::locked;

/// Writes frames of one codec. What codecs keep between two frames is used again: as many as were written side by side.
#[derive(Debug)]
pub struct FrameWriter {
    compression: Compression,
    dictionary: Option<Dictionary>,
    encoders: Mutex<Vec<Encoder>>,
}

impl FrameWriter {
    /// A writer with a dictionary, if there is one; only [`Compression::Zstd`] uses it.
    pub fn new(compression: Compression, dictionary: Option<Dictionary>) -> Self {
        let dictionary = dictionary.filter(|_| compression.codec() == Codec::Zstd);
        Self { compression, dictionary, encoders: Mutex::default() }
    }

    /// The frame of a content. `None` if it would not be shorter than the content, if that is longer than 10,485,760 bytes, or
    /// if the compression [is not available](Compression::is_available): then the content is stored as it is.
    pub fn frame(&self, content: &[u8]) -> Option<Bytes> {
        let max_len = content.len().checked_sub(HEADER_LEN + 1)?;
        if content.len() > MAX_CONTENT_BYTES || !self.compression.is_available() {
            return None;
        }
        let mut encoder = self.encoder()?;
        let payload = encoder.payload(content, max_len);
        let dictionary = self.dictionary.as_ref().map_or(0, Dictionary::id);
        let frame = payload.and_then(|payload| framed(self.compression.codec(), dictionary, content.len(), payload));
        locked(&self.encoders).push(encoder);
        frame
    }

    fn encoder(&self) -> Option<Encoder> {
        let unused = locked(&self.encoders).pop();
        unused.or_else(|| self.compression.encoder(self.dictionary.as_ref()))
    }

    /// The codec.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The dictionary that frames need.
    pub fn dictionary(&self) -> Option<&Dictionary> {
        self.dictionary.as_ref()
    }
}
