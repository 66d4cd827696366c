//! Errors of frames that cannot be opened.

/// Reason why a frame cannot be opened. Its Kinesis record is then delivered as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is cut off, or followed by other bytes. Rarely, a user's data begin as a frame does.
    #[error("frame of {size_bytes} bytes has another length than its header says")]
    #[non_exhaustive]
    Length {
        /// Bytes of the Kinesis record's data.
        size_bytes: usize,
    },
    /// A byte has changed. Rarely, a user's data begin as a frame does.
    #[error("frame has a wrong checksum")]
    Checksum,
    /// A later version of the format, or other reserved bits.
    #[error("frame is of unknown version {version}")]
    #[non_exhaustive]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// A codec of a later version.
    #[error("frame has the unknown codec {codec}")]
    #[non_exhaustive]
    UnknownCodec {
        /// Number of the codec.
        codec: u8,
    },
    /// The codec is known, but not built in.
    #[error("frame has the codec zstd, which needs the crate feature `zstd`")]
    NotBuilt,
    /// The dictionary was not given to the reader.
    #[error("frame needs the dictionary {id}")]
    #[non_exhaustive]
    UnknownDictionary {
        /// Id of the dictionary.
        id: u32,
    },
    /// The content would be longer than the reader accepts. Nothing of it was unfolded.
    #[error("frame of {content_bytes} bytes of content, above the limit of {max_bytes}")]
    #[non_exhaustive]
    TooLong {
        /// Bytes of the content.
        content_bytes: usize,
        /// The reader's limit.
        max_bytes: usize,
    },
    /// The payload does not unfold to as many bytes as the header says.
    #[error("payload does not unfold to {content_bytes} bytes of content")]
    #[non_exhaustive]
    Payload {
        /// Bytes of the content, by the header.
        content_bytes: usize,
    },
}
