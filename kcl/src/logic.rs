//! The decisions, free of I/O: no `async`, no clock, no SDK. Each takes what was seen and when, and says what to do.

pub(crate) mod assign;
pub(crate) mod cpu;
pub(crate) mod lineage;
pub(crate) mod read;
pub(crate) mod shard;
pub(crate) mod table_migration;
