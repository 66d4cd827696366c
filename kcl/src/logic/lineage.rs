//! Lineage: which leases must exist, and which may go.

pub(crate) use reset::{Goal, Step, plan as plan_reset};
pub(crate) use shard_sync::{find_hole, new_lease};

pub(crate) mod audit;
pub(crate) mod cleanup;
pub(crate) mod former_streams;
pub(crate) mod lookup;
mod reset;
pub(crate) mod shard_sync;
