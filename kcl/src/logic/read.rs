//! Reading: where a shard is read, when, and what is taken from it.

pub(crate) use cursor::Cursor;
pub(crate) use doubt::{Confirmation, Doubt};

mod cursor;
pub(crate) mod deaggregate;
mod doubt;
pub(crate) mod pacing;
pub(crate) mod replay;
pub(crate) mod resubscription;
pub(crate) mod seek;
