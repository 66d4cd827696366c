//! Compressed records: the data of a Kinesis record as one frame, usually those of an aggregate.
//!
//! ```text
//! FA 43 52 46 | version | codec | 0 0 | dictionary | content length | payload length | CRC-32 | payload
//!   4 bytes   |    1    |   1   |  2  |     4      |       4        |       4        |   4    | N bytes
//!
//! version     1
//! codec       1 gzip (RFC 1952), 2 LZ4 block, 3 zstd frame (RFC 8878)
//! dictionary  id of the zstd dictionary, 0 without
//! CRC-32      of everything before it and of the payload, as in gzip
//! ```
//!
//! Numbers are unsigned, most significant byte first. The content is what the Kinesis record would be without compression: an
//! [aggregate](crate::aggregated), or a user record's data. Content that is a frame itself stays one. Readers that do not know the
//! format see opaque bytes, so a frame is written only if [asked for](Compression); `docs/compressed-records.md` of the
//! repository has readers in other languages.
//!
//! [`FrameWriter`] writes frames, [`FrameReader`] opens them.

mod codec;
mod dictionary;
mod error;
mod frame;
mod prepared;
mod reader;
mod writer;

pub use self::{
    codec::Compression,
    dictionary::{Dictionary, DictionaryError},
    error::FrameError,
    frame::Frame,
    reader::FrameReader,
    writer::FrameWriter,
};

/// First bytes of every frame. No text in UTF-8 begins so.
pub const MAGIC: [u8; 4] = [0xFA, b'C', b'R', b'F'];

/// Length of what stands before the payload, in bytes.
pub const HEADER_LEN: usize = 24;

/// Maximum length of a frame's content, in bytes, as it is written and by default as it is read: what a Kinesis record holds.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
pub const MAX_CONTENT_BYTES: usize = 10 * 1024 * 1024;

#[cfg(test)]
mod tests;
