//! An application of KCL 1.x or 2.x as its lease table shows it: leases, and nothing else.

use super::{id::WorkerId, lease::Lease};

/// A lease of such an application.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OldLease {
    pub(crate) lease: Lease,
    /// Worker of this library that takes the application over, from its claim until the lease is complete.
    pub(crate) claimed_by: Option<WorkerId>,
}

/// Content of the lease table of such an application.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OldTable {
    pub(crate) leases: Vec<OldLease>,
    /// Keys of items that are no leases: KCL 1.x and 2.x write none.
    pub(crate) foreign: Vec<String>,
    /// Keys of items that claim to be leases and cannot be read.
    pub(crate) malformed: Vec<String>,
}
