//! A call to the lease table that failed.

use super::BoxError;

/// A call to the lease table that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The credentials lack a permission.
    #[error("access denied: IAM action {action} on table {table} is missing")]
    #[non_exhaustive]
    AccessDenied {
        /// The missing IAM action.
        action: &'static str,
        /// The table, or its index.
        table: String,
        /// Error of the service.
        source: BoxError,
    },
    /// The credentials are unknown to the service, or their signature is wrong.
    #[error("credentials were not accepted in {action} on table {table}")]
    #[non_exhaustive]
    Credentials {
        /// The IAM action of the call.
        action: &'static str,
        /// The table, or its index.
        table: String,
        /// Error of the service.
        source: BoxError,
    },
    /// DynamoDB refused because of the table's or the account's throughput.
    #[error("lease table {table} is throttled in {action}")]
    #[non_exhaustive]
    Throttled {
        /// The refused IAM action.
        action: &'static str,
        /// The table.
        table: String,
        /// Error of the service.
        source: BoxError,
    },
    /// The table does not exist (any more).
    #[error("lease table {table} does not exist")]
    #[non_exhaustive]
    TableMissing {
        /// The table.
        table: String,
    },
    /// The table exists and cannot be used for what it should be.
    #[error("table {table} cannot be used: {reason}")]
    #[non_exhaustive]
    WrongTable {
        /// The table.
        table: String,
        /// The reason.
        reason: String,
    },
    /// The item of a lease exists and cannot be read; it is left alone.
    #[error("lease {key} in table {table} cannot be read")]
    #[non_exhaustive]
    Unreadable {
        /// The table.
        table: String,
        /// The item's key.
        key: String,
    },
    /// Anything else: network, time-out, service failure.
    #[error("{action} on table {table} failed")]
    #[non_exhaustive]
    Call {
        /// The IAM action of the call.
        action: &'static str,
        /// The table.
        table: String,
        /// Error of the SDK or the service.
        source: BoxError,
    },
}

impl TableError {
    /// True if the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Call { .. })
    }
}
