//! The decisions, free of I/O: no `async`, no clock, no SDK, no randomness.

pub(crate) mod adoption;
pub(crate) mod assign;
pub(crate) mod backoff;
pub(crate) mod calls;
pub(crate) mod cpu;
pub(crate) mod health;
pub(crate) mod lineage;
pub(crate) mod pace;
pub(crate) mod purpose;
pub(crate) mod read;
pub(crate) mod shard;
pub(crate) mod table_migration;
pub(crate) mod usage_rate;
