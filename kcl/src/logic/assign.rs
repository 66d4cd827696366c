//! Assignment of leases to workers, leadership, membership.

pub(crate) mod assignment;
pub(crate) mod fleet_view;
pub(crate) mod heartbeat;
pub(crate) mod leadership;
pub(crate) mod lock_pace;
pub(crate) mod membership;
pub(crate) mod search;
pub(crate) mod unrest;
pub(crate) mod utilization;
