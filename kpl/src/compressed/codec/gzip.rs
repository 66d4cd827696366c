//! gzip, by the crate `flate2`.

use std::io::Read as _;

use flate2::{
    Compression,
    read::{GzDecoder, GzEncoder},
};

/// Room for the payload.
#[derive(Debug, Default)]
pub(in crate::compressed) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn payload(&mut self, content: &[u8], max_len: usize) -> Option<&[u8]> {
        self.0.clear();
        let limit = max_len as u64 + 1;
        GzEncoder::new(content, Compression::default()).take(limit).read_to_end(&mut self.0).ok()?;
        Some(self.0.as_slice()).filter(|payload| payload.len() <= max_len)
    }
}

pub(super) fn content(payload: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(len + 1);
    GzDecoder::new(payload).take(len as u64 + 1).read_to_end(&mut content).ok()?;
    Some(content)
}
