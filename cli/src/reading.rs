//! Parts that all readers of a stream share.

pub(crate) mod position;
pub(crate) mod shards;
