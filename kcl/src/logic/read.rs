//! Reading: where a shard is read, when, and what is taken from it.

pub(crate) mod cursor;
pub(crate) mod deaggregate;
pub(crate) mod doubt;
pub(crate) mod pacing;
pub(crate) mod replay;
pub(crate) mod resubscription;
pub(crate) mod seek;
