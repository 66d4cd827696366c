//! Assignment of leases to workers, leadership, membership.

pub(crate) mod assignment;
pub(crate) mod fleet_view;
pub(crate) mod leadership;
pub(crate) mod lock_pace;
pub(crate) mod membership;
pub(crate) mod reliance;
pub(crate) mod renewing;
pub(crate) mod search;
pub(crate) mod unrest;
pub(crate) mod utilization;
