//! gzip, by the crate `flate2`.

use std::io::Read as _;

use flate2::{Compress, Compression, FlushCompress, Status, read::GzDecoder};

/// Level 1, the least work: a ratio of 3.6 for trades and 4.7 for lines of a web log, in 430 and 890 ns a record. At level 2 it
/// is 4.6 and 6.1 in 480 and 1,320 ns, at level 6 5.3 and 6.8 in 960 and 3,340 ns (zlib-ng, of which zlib-rs is a port, with
/// aggregates of 200 to 330 KB).
const LEVEL: u32 = 1;
/// Logarithm of the window's size, the maximum.
const WINDOW_BITS: u8 = 15;

/// State of the codec, and room for the payload.
#[derive(Debug)]
pub(in crate::compressed) struct Encoder {
    state: Compress,
    room: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { state: Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS), room: Vec::new() }
    }
}

impl Encoder {
    pub(super) fn payload(&mut self, content: &[u8], max_len: usize) -> Option<&[u8]> {
        if self.room.len() < max_len {
            self.room.resize(max_len, 0);
        }
        self.state.reset();
        let room = self.room.get_mut(..max_len)?;
        // Anything but the end of the stream: it does not fit.
        match self.state.compress(content, room, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => self.room.get(..usize::try_from(self.state.total_out()).ok()?),
            _ => None,
        }
    }
}

pub(super) fn content(payload: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(len + 1);
    GzDecoder::new(payload).take(len as u64 + 1).read_to_end(&mut content).ok()?;
    Some(content)
}
