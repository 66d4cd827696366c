//! The leader's lock in the lease table.

use std::time::Duration;

use super::lease::WorkerId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockItem {
    pub(crate) owner: WorkerId,
    /// Random text, new with each heartbeat.
    pub(crate) version: String,
    /// Time without a change after which others may seize it.
    pub(crate) duration: Duration,
    pub(crate) released: bool,
}
