//! The reader of frames.

use bytes::Bytes;

use super::{Dictionary, Frame, FrameError, MAX_CONTENT_BYTES, frame::stated_len};

/// Opens frames. Cheap to make and to clone.
///
/// ```
/// use kpl::compressed::{Compression, FrameReader, FrameWriter};
///
/// let content = "a text that repeats itself; ".repeat(100);
/// let writer = FrameWriter::new(Compression::Lz4, None);
/// let frame = writer.frame(content.as_bytes()).expect("shorter than the content");
///
/// assert!(frame.len() < 200);
/// assert_eq!(FrameReader::new().open(&frame), Some(Ok(content.into())));
/// assert_eq!(FrameReader::new().open(&"plain data".into()), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameReader {
    max_bytes: usize,
    dictionaries: Vec<Dictionary>,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self { max_bytes: MAX_CONTENT_BYTES, dictionaries: Vec::new() }
    }
}

impl FrameReader {
    /// A reader without dictionaries, of contents up to 10,485,760 bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maximum bytes that a frame may unfold to: a longer one is refused before anything is unfolded. Default 10,485,760.
    #[must_use = "the reader is returned with the bound set"]
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Adds a dictionary, which is used for the frames that name it.
    #[must_use = "the reader is returned with the dictionary added"]
    pub fn with_dictionary(mut self, dictionary: Dictionary) -> Self {
        self.dictionaries.push(dictionary);
        self
    }

    /// The content of a frame. `None` if the data do not begin as a frame does.
    ///
    /// # Errors
    /// If the frame cannot be opened. It takes no more memory than the bound and what a codec needs for itself, whatever the bytes.
    pub fn open(&self, data: &Bytes) -> Option<Result<Bytes, FrameError>> {
        Some(Frame::of(data)?.and_then(|frame| self.unfold(&frame)))
    }

    /// Length of what data hold, in bytes: of the content if they begin as a frame that is not too long, else their own.
    /// Nothing else of the frame is checked.
    pub fn unfolded_len(&self, data: &[u8]) -> usize {
        stated_len(data).filter(|len| *len <= self.max_bytes).unwrap_or(data.len())
    }

    fn unfold(&self, frame: &Frame) -> Result<Bytes, FrameError> {
        let (len, max_bytes) = (frame.content_len(), self.max_bytes);
        if len > max_bytes {
            return Err(FrameError::TooLong { content_bytes: len, max_bytes });
        }
        let known = |id: u32| {
            let dictionary = self.dictionaries.iter().find(|dictionary| dictionary.id() == id);
            dictionary.ok_or(FrameError::UnknownDictionary { id })
        };
        let dictionary = frame.dictionary_id().map(known).transpose()?;
        frame.codec.content(&frame.payload, len, dictionary).map(Bytes::from)
    }
}
