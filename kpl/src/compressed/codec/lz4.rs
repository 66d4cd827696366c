//! LZ4 blocks, by the crate `lz4_flex`.

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// Room for the payload.
#[derive(Debug, Default)]
pub(in crate::compressed) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn payload(&mut self, content: &[u8], max_len: usize) -> Option<&[u8]> {
        let needed = get_maximum_output_size(content.len());
        if self.0.len() < needed {
            self.0.resize(needed, 0);
        }
        let len = compress_into(content, &mut self.0).ok()?;
        self.0.get(..len).filter(|payload| payload.len() <= max_len)
    }
}

pub(super) fn content(payload: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut content = vec![0; len];
    let written = decompress_into(payload, &mut content).ok()?;
    content.truncate(written);
    Some(content)
}
