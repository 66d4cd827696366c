//! The leader's lock in the lease table.

use std::time::Duration;

use super::lease::WorkerId;

/// The lock item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockItem {
    /// The leader.
    pub(crate) owner: WorkerId,
    /// Random text, new with each heartbeat.
    pub(crate) version: String,
    /// How long the lock may stand unchanged before others may seize it.
    pub(crate) duration: Duration,
    /// Given up by its owner.
    pub(crate) released: bool,
}
