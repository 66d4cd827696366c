//! The decisions, free of I/O: no `async`, no clock, no SDK. Each takes what was seen and when, and says what to do.

pub(crate) mod assignment;
pub(crate) mod audit;
pub(crate) mod cleanup;
pub(crate) mod coverage;
pub(crate) mod cpu;
pub(crate) mod cursor;
pub(crate) mod deaggregate;
pub(crate) mod due;
pub(crate) mod failures;
pub(crate) mod fleet_view;
pub(crate) mod former_streams;
pub(crate) mod leadership;
pub(crate) mod membership;
pub(crate) mod pacing;
pub(crate) mod progress;
pub(crate) mod renewal;
pub(crate) mod replay;
pub(crate) mod reset;
pub(crate) mod resubscription;
pub(crate) mod seek;
pub(crate) mod shard_sync;
pub(crate) mod stall;
pub(crate) mod table_migration;
pub(crate) mod throughput;
pub(crate) mod utilization;
pub(crate) mod window;
