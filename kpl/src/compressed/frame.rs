//! The header of a frame: written, and checked.

use bytes::Bytes;

use super::{FrameError, HEADER_LEN, MAGIC, codec::Codec};

const VERSION: u8 = 1;
/// Places of the numbers in the header.
const DICTIONARY_AT: usize = 8;
const CONTENT_LEN_AT: usize = 12;
const PAYLOAD_LEN_AT: usize = 16;
const CHECKSUM_AT: usize = 20;

/// A frame whose lengths and checksum are right. Shares the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub(super) codec: Codec,
    dictionary: u32,
    content_len: usize,
    pub(super) payload: Bytes,
}

impl Frame {
    /// `None` if the data do not begin as a frame does.
    ///
    /// # Errors
    /// If they do, and the rest is no frame of a known version and codec.
    pub fn of(data: &Bytes) -> Option<Result<Self, FrameError>> {
        data.starts_with(&MAGIC).then(|| Self::parse(data))
    }

    fn parse(data: &Bytes) -> Result<Self, FrameError> {
        let wrong_length = FrameError::Length { size_bytes: data.len() };
        let header = data.first_chunk::<HEADER_LEN>().ok_or(wrong_length.clone())?;
        let [_, _, _, _, version, codec, reserved @ ..] = *header;
        if version != VERSION || !reserved.starts_with(&[0, 0]) {
            return Err(FrameError::UnknownVersion { version });
        }
        let payload = data.slice(HEADER_LEN..);
        if payload.len() != number(header, PAYLOAD_LEN_AT) as usize {
            return Err(wrong_length);
        }
        if checksum(&header[..CHECKSUM_AT], &payload) != number(header, CHECKSUM_AT) {
            return Err(FrameError::Checksum);
        }
        let codec = Codec::of(codec).ok_or(FrameError::UnknownCodec { codec })?;
        Ok(Self {
            codec,
            dictionary: number(header, DICTIONARY_AT),
            content_len: number(header, CONTENT_LEN_AT) as usize,
            payload,
        })
    }

    /// Name of the codec: `gzip`, `lz4` or `zstd`.
    pub fn codec(&self) -> &'static str {
        self.codec.name()
    }

    /// Id of the dictionary that it needs.
    pub fn dictionary_id(&self) -> Option<u32> {
        Some(self.dictionary).filter(|id| *id > 0)
    }

    /// Length of the content by the header, in bytes. Nothing is unfolded yet: it may be any.
    pub fn content_len(&self) -> usize {
        self.content_len
    }
}

/// Length of the content of data that begin as a frame does.
pub(super) fn stated_len(data: &[u8]) -> Option<usize> {
    let header = data.first_chunk::<HEADER_LEN>().filter(|header| header.starts_with(&MAGIC))?;
    Some(number(header, CONTENT_LEN_AT) as usize)
}

fn number(header: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// The header of a frame, and behind it the payload.
pub(super) fn framed(codec: Codec, dictionary: u32, content_len: usize, payload: &[u8]) -> Option<Bytes> {
    let numbers = [dictionary, content_len.try_into().ok()?, payload.len().try_into().ok()?];
    let mut frame = Vec::with_capacity(HEADER_LEN + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[VERSION, codec.number(), 0, 0]);
    numbers.iter().for_each(|number| frame.extend_from_slice(&number.to_be_bytes()));
    let checksum = checksum(&frame, payload);
    frame.extend_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(payload);
    Some(frame.into())
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(header);
    checksum.update(payload);
    checksum.finalize()
}
