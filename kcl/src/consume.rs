//! Closures and streams on top of record processors.

pub(crate) mod for_each;
pub(crate) mod shard_streams;
pub(crate) mod sink;
