//! Reading: where a shard is read, when, and what is taken from it.

pub(crate) use cursor::{Confirmation, Cursor, Doubt};

mod cursor;
pub(crate) mod deaggregate;
pub(crate) mod pacing;
pub(crate) mod seek;
