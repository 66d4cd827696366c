//! Reading: where a shard is read, when, and what is taken from it.

pub(crate) use cursor::{Confirmation, Cursor, Doubt};

pub(crate) mod answer_size;
pub(crate) mod budget;
mod cursor;
pub(crate) mod deaggregate;
pub(crate) mod pacing;
pub(crate) mod pieces;
pub(crate) mod seek;
pub(crate) mod ticks;
