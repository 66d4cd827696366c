//! Compressed data: gzip and zlib, told by their first bytes. Pure.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};

/// Maximum bytes that a record may inflate to; one that would be larger is left as it is.
const MAX_INFLATED: u64 = 16 * 1024 * 1024;

/// The data without their compression; as they are if they are not compressed, damaged or would become too large.
pub(crate) fn inflated(data: &Bytes) -> Bytes {
    let read = match data.as_ref() {
        [0x1f, 0x8b, 8, ..] => read_all(GzDecoder::new(&data[..])),
        // The first two bytes of zlib, as one number, are a multiple of 31.
        [first @ 0x78, second, ..] if (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31) => {
            read_all(ZlibDecoder::new(&data[..]))
        }
        _ => None,
    };
    read.map_or_else(|| data.clone(), Bytes::from)
}

fn read_all(decoder: impl Read) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let size = decoder.take(MAX_INFLATED + 1).read_to_end(&mut data).ok()?;
    (size as u64 <= MAX_INFLATED).then_some(data)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(data: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn inflates_gzip_and_zlib_and_leaves_the_rest() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"order 8").unwrap();

        assert_eq!(inflated(&gzip(b"order 7")), "order 7");
        assert_eq!(inflated(&zlib.finish().unwrap().into()), "order 8");
        for plain in ["", "x", "x\x01 text", "text"] {
            assert_eq!(inflated(&plain.into()), plain);
        }
    }

    #[test]
    fn leaves_damaged_data_and_bombs_as_they_are() {
        let mut damaged = gzip(b"order 7").to_vec();
        damaged.truncate(12);
        let bomb = gzip(&vec![0; MAX_INFLATED as usize + 1]);

        assert_eq!(inflated(&damaged.clone().into()), damaged);
        assert_eq!(inflated(&bomb), bomb);
    }
}
