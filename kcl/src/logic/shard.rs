//! A shard in work: its progress, failures, order, stalls and renewals.

pub(crate) mod due;
pub(crate) mod failures;
pub(crate) mod key_order;
pub(crate) mod progress;
pub(crate) mod renewal;
pub(crate) mod stall;
pub(crate) mod throughput;
