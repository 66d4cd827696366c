//! Dictionaries of zstd: what small contents have in common, known to both sides before.

use std::{fmt, sync::Arc};

use super::prepared::{IS_BUILT, Prepared, prepared, trained};

/// First bytes of a dictionary. Source: RFC 8878, 5.
const MAGIC: [u8; 4] = [0x37, 0xA4, 0x30, 0xEC];

/// Minimum length of a dictionary to be trained, in bytes.
const MIN_BYTES: usize = 256;

/// A dictionary of zstd, for contents of few KiB. Cheap to clone. Producers and consumers need the same one; a frame names it by
/// its id.
#[derive(Clone)]
pub struct Dictionary(Arc<Inner>);

struct Inner {
    id: u32,
    bytes: Vec<u8>,
    prepared: Prepared,
}

/// Reason why there is no dictionary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DictionaryError {
    /// The bytes do not begin as those of a zstd dictionary, or have no id.
    #[error("{size_bytes} bytes are no zstd dictionary")]
    #[non_exhaustive]
    Invalid {
        /// Number of the bytes.
        size_bytes: usize,
    },
    /// There are too few samples, or they have too little in common. Some hundred are needed, and a hundred times the bytes of the
    /// dictionary are good.
    #[error("no dictionary can be trained by {samples} samples: they are too few, or too short")]
    #[non_exhaustive]
    Samples {
        /// Number of the samples.
        samples: usize,
    },
    /// zstd is not built in.
    #[error("dictionaries are trained with the crate feature `zstd` only")]
    NotBuilt,
}

impl Dictionary {
    /// A dictionary as [`train`](Self::train), `zstd --train` or `kds train-dictionary` make it.
    ///
    /// # Errors
    /// If the bytes are none with an id.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, DictionaryError> {
        let bytes = bytes.into();
        let id = bytes.strip_prefix(&MAGIC).and_then(<[u8]>::first_chunk).map_or(0, |id| u32::from_le_bytes(*id));
        if id == 0 {
            return Err(DictionaryError::Invalid { size_bytes: bytes.len() });
        }
        Ok(Self(Arc::new(Inner { id, prepared: prepared(&bytes), bytes })))
    }

    /// A dictionary of up to `max_bytes`, at least 256, from samples of what is to be compressed. 64 KiB are a good choice.
    ///
    /// # Errors
    /// If the samples do not suffice, or zstd is not built in.
    pub fn train(samples: &[&[u8]], max_bytes: usize) -> Result<Self, DictionaryError> {
        if !IS_BUILT {
            return Err(DictionaryError::NotBuilt);
        }
        let trained = trained(samples, max_bytes.max(MIN_BYTES));
        Self::new(trained.ok_or(DictionaryError::Samples { samples: samples.len() })?)
    }

    /// The id, which is in the dictionary's bytes; never 0.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// The bytes, to be kept in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    #[cfg_attr(not(feature = "zstd"), expect(dead_code, reason = "nothing is opened with it"))]
    pub(super) fn prepared(&self) -> &Prepared {
        &self.0.prepared
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("id", &self.0.id).field("bytes", &self.0.bytes.len()).finish()
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Dictionary {}
