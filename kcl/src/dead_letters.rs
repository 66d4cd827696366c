//! Dead letters: records that were given up, as lines of JSON, and where they are kept.

pub(crate) mod file;
pub(crate) mod letter;
pub(crate) mod stream;
