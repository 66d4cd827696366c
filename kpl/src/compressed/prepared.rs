//! A dictionary as zstd prepares it for all frames that are opened with it; nothing where zstd is not built in.

pub(super) const IS_BUILT: bool = cfg!(feature = "zstd");

#[cfg(feature = "zstd")]
pub(super) type Prepared = zstd::dict::DecoderDictionary<'static>;
#[cfg(not(feature = "zstd"))]
pub(super) type Prepared = ();

#[cfg(feature = "zstd")]
pub(super) fn prepared(dictionary: &[u8]) -> Prepared {
    Prepared::copy(dictionary)
}

#[cfg(not(feature = "zstd"))]
pub(super) fn prepared(_: &[u8]) -> Prepared {}

/// `None` if the samples do not suffice.
#[cfg(feature = "zstd")]
pub(super) fn trained(samples: &[&[u8]], max_bytes: usize) -> Option<Vec<u8>> {
    zstd::dict::from_samples(samples, max_bytes).ok()
}

#[cfg(not(feature = "zstd"))]
pub(super) fn trained(_: &[&[u8]], _: usize) -> Option<Vec<u8>> {
    None
}
