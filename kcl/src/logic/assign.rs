//! Assignment: which worker gets which lease, who leads, who is a member.

pub(crate) mod assignment;
pub(crate) mod fleet_view;
pub(crate) mod leadership;
pub(crate) mod membership;
pub(crate) mod utilization;
