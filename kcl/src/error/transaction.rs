//! Errors of checkpoints that are stored together with items of the application's.

use aws_sdk_dynamodb::types::CancellationReason;

use super::{BoxError, CheckpointError};

/// A checkpoint that was not stored, nor any of the application's items that were to be written with it. Only
/// [`LeaseLost`](CheckpointError::LeaseLost) and [`AlreadyStored`](Self::AlreadyStored) leave that open: see there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum TransactionError {
    /// Not stored for a reason that any checkpoint may have. After [`LeaseLost`](CheckpointError::LeaseLost) the checkpoint
    /// and all items are written, or none; whoever holds the lease next starts accordingly. After
    /// [`Table`](CheckpointError::Table) none are, the lease is held, and the same call may succeed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The lease has this checkpoint, or a later one: this call wrote no items. If an earlier call for the same records was
    /// dropped before it returned, its items are written. A checkpoint made without them leaves them out for good.
    #[error("the checkpoint is stored already, and no items were written with it now")]
    AlreadyStored,
    /// DynamoDB canceled the transaction because of the items. The lease is held.
    #[error("DynamoDB canceled the transaction: {}", texts(reasons))]
    #[non_exhaustive]
    Canceled {
        /// One for each item, in the order of the items; of an item that was no reason, the code is `None`.
        reasons: Vec<CancellationReason>,
    },
    /// DynamoDB refused the request because of the items: not valid, not permitted, or of a table that does not exist. The
    /// lease is held.
    #[error("DynamoDB refused the transaction with {code}")]
    #[non_exhaustive]
    Refused {
        /// Error code of the service, for example `ValidationException`.
        code: String,
        source: BoxError,
    },
    /// More than 99 items. Nothing was sent.
    #[error("{items} items are more than the 99 that a transaction takes beside the lease")]
    #[non_exhaustive]
    TooManyItems { items: usize },
    /// More than 4 MB. Nothing was sent.
    #[error("{bytes} bytes are more than the 4194304 that a transaction takes, the lease included")]
    #[non_exhaustive]
    TooLarge { bytes: usize },
    /// An item is the lease itself. Nothing was sent.
    #[error("item {index} is the lease of the shard")]
    #[non_exhaustive]
    OwnLease {
        /// Place of the item, from 0.
        index: usize,
    },
    /// The leases of a [replay](crate::WorkerBuilder::replay) are not in DynamoDB. Nothing was sent.
    #[error("the lease is not in DynamoDB, so no transaction can store its checkpoint")]
    NotInDynamoDb,
}

impl TransactionError {
    /// True if the items are the cause, so that the same call fails again.
    pub(crate) fn is_of_items(&self) -> bool {
        match self {
            Self::Canceled { reasons } => codes(reasons).any(|(_, code)| !passes(code)),
            Self::Refused { code, .. } => code == "ValidationException",
            Self::TooManyItems { .. } | Self::TooLarge { .. } | Self::OwnLease { .. } => true,
            Self::Checkpoint(_) | Self::AlreadyStored | Self::NotInDynamoDb => false,
        }
    }
}

/// True if the transaction may succeed a moment later.
pub(crate) fn may_pass(reasons: &[CancellationReason]) -> bool {
    codes(reasons).next().is_some() && codes(reasons).all(|(_, code)| passes(code))
}

/// True for the codes of a conflict with another transaction, and of throttling.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
fn passes(code: &str) -> bool {
    matches!(code, "TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError")
}

/// Places and codes of the reasons that are any.
fn codes(reasons: &[CancellationReason]) -> impl Iterator<Item = (usize, &str)> {
    let codes = reasons.iter().enumerate().filter_map(|(index, reason)| Some((index, reason.code()?)));
    codes.filter(|(_, code)| *code != "None")
}

fn texts(reasons: &[CancellationReason]) -> String {
    codes(reasons).map(|(index, code)| format!("item {index} {code}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canceled(codes: &[&str]) -> TransactionError {
        let reason = |code: &&str| CancellationReason::builder().code(*code).build();
        TransactionError::Canceled { reasons: codes.iter().map(reason).collect() }
    }

    #[test]
    fn names_the_items_that_canceled_a_transaction() {
        let error = canceled(&["None", "ConditionalCheckFailed", "TransactionConflict"]);

        let text = "DynamoDB canceled the transaction: item 1 ConditionalCheckFailed, item 2 TransactionConflict";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn conflicts_and_throttling_pass_and_nothing_else_does() {
        let passing = ["TransactionConflict", "None", "ThrottlingError", "ProvisionedThroughputExceeded"];
        let judged = |codes: &[&str]| match canceled(codes) {
            TransactionError::Canceled { reasons } => may_pass(&reasons),
            _ => false,
        };

        assert!(judged(&passing) && !canceled(&passing).is_of_items());
        for lasting in [&["TransactionConflict", "ConditionalCheckFailed"][..], &["ValidationError"]] {
            assert!(!judged(lasting) && canceled(lasting).is_of_items(), "{lasting:?}");
        }
        assert!(!judged(&["None"]) && !canceled(&["None"]).is_of_items(), "nobody knows why");
    }
}
