//! The codecs of frames.

mod gzip;
mod lz4;
#[cfg(not(feature = "zstd"))]
mod without_zstd;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(not(feature = "zstd"))]
use self::without_zstd as zstd;
use super::{FrameError, dictionary::Dictionary, prepared::IS_BUILT};

/// Codec by which records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// zstd at a level from -7 (fast) to 19 (small); 1 to 3 are a good choice. Needs the crate feature `zstd`.
    Zstd(i32),
    /// gzip at level 1: read by the standard library of most languages, and longer than zstd.
    Gzip,
    /// LZ4 blocks: the least work, and the longest result.
    Lz4,
}

impl Compression {
    /// Minimum level of zstd.
    pub const MIN_ZSTD_LEVEL: i32 = -7;
    /// Maximum level of zstd: those above take hundreds of MiB.
    pub const MAX_ZSTD_LEVEL: i32 = 19;

    /// Returns whether frames can be written so: the level is in its bounds, and the codec is built in.
    pub fn is_available(self) -> bool {
        match self {
            Self::Zstd(level) => IS_BUILT && (Self::MIN_ZSTD_LEVEL..=Self::MAX_ZSTD_LEVEL).contains(&level),
            Self::Gzip | Self::Lz4 => true,
        }
    }

    pub(super) fn codec(self) -> Codec {
        match self {
            Self::Zstd(_) => Codec::Zstd,
            Self::Gzip => Codec::Gzip,
            Self::Lz4 => Codec::Lz4,
        }
    }

    pub(super) fn encoder(self, dictionary: Option<&Dictionary>) -> Option<Encoder> {
        Some(match self {
            Self::Zstd(level) => Encoder::Zstd(zstd::Encoder::new(level, dictionary)?),
            Self::Gzip => Encoder::Gzip(gzip::Encoder::default()),
            Self::Lz4 => Encoder::Lz4(lz4::Encoder::default()),
        })
    }
}

/// State of a codec that is used again, since it is costly to make.
#[derive(Debug)]
pub(super) enum Encoder {
    Zstd(zstd::Encoder),
    Gzip(gzip::Encoder),
    Lz4(lz4::Encoder),
}

impl Encoder {
    /// The payload, if it is not longer than `max_len`.
    pub(super) fn payload(&mut self, content: &[u8], max_len: usize) -> Option<&[u8]> {
        match self {
            Self::Zstd(encoder) => encoder.payload(content, max_len),
            Self::Gzip(encoder) => encoder.payload(content, max_len),
            Self::Lz4(encoder) => encoder.payload(content, max_len),
        }
    }
}

/// Number that stands for a codec in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Lz4,
    Zstd,
}

impl Codec {
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Gzip, Self::Lz4, Self::Zstd].into_iter().find(|codec| codec.number() == number)
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Gzip => 1,
            Self::Lz4 => 2,
            Self::Zstd => 3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Unfolds a payload to exactly `len` bytes; takes no more memory than that, and what a codec needs for itself.
    pub(super) fn content(
        self,
        payload: &[u8],
        len: usize,
        dictionary: Option<&Dictionary>,
    ) -> Result<Vec<u8>, FrameError> {
        let content = match self {
            Self::Gzip => gzip::content(payload, len),
            Self::Lz4 => lz4::content(payload, len),
            Self::Zstd if !IS_BUILT => return Err(FrameError::NotBuilt),
            Self::Zstd => zstd::content(payload, len, dictionary),
        };
        content.filter(|content| content.len() == len).ok_or(FrameError::Payload { content_bytes: len })
    }
}
