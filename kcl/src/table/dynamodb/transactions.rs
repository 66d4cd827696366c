//! Transactions of a checkpoint and items of the application's: their limits, the request, its outcome.

use std::time::Instant;

use aws_sdk_dynamodb::{
    error::{BuildError, ProvideErrorMetadata},
    operation::{transact_write_items::TransactWriteItemsError, update_item::builders::UpdateItemFluentBuilder},
    types::{CancellationReason, TransactWriteItem, Update},
};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::{DynamoDbLeaseTable, item};
use crate::{
    error::{BoxError, CheckpointError, TableError, TransactionError},
    model::{CheckpointWrite, Lease},
};
use size::{named_key, size};

mod size;

const ACTION: &str = "dynamodb:TransactWriteItems";
/// Items of the application's: a transaction has 100, one of them the lease.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const MAX_ITEMS: usize = 99;
/// Size of all items together, as far as the request says it. Same source.
const MAX_BYTES: usize = 4 << 20;

/// A request that is the same in each try: of those with its token DynamoDB carries out one.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    /// The lease is the last.
    items: Vec<TransactWriteItem>,
    token: String,
}

/// An answer that leaves nothing open.
#[derive(Debug)]
pub(crate) enum Transacted {
    Applied,
    /// Nothing is written. One reason for each item, the last for the lease.
    Canceled(Vec<CancellationReason>),
    /// Nothing is written.
    Refused {
        code: String,
        source: BoxError,
    },
}

/// Checks what DynamoDB would refuse, as far as that shows before the request is sent.
pub(crate) fn check(
    items: &[TransactWriteItem],
    is_lease: impl Fn(&TransactWriteItem) -> bool,
) -> Result<(), TransactionError> {
    if items.len() > MAX_ITEMS {
        return Err(TransactionError::TooManyItems { items: items.len() });
    }
    match items.iter().position(is_lease) {
        Some(index) => Err(TransactionError::OwnLease { index }),
        None => check_size(items),
    }
}

fn check_size(items: &[TransactWriteItem]) -> Result<(), TransactionError> {
    let bytes = items.iter().map(size).sum();
    if bytes > MAX_BYTES { Err(TransactionError::TooLarge { bytes }) } else { Ok(()) }
}

/// True for the codes of a request that is refused as it is.
fn is_refusal(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedException"
            | "IdempotentParameterMismatchException"
            | "ResourceNotFoundException"
            | "ValidationException"
    )
}

impl DynamoDbLeaseTable {
    /// The transaction that makes this write of `lease`, if it is still as known here, and writes these items.
    pub(crate) fn transaction(
        &self,
        lease: &Lease,
        write: &CheckpointWrite,
        mut items: Vec<TransactWriteItem>,
    ) -> Result<Transaction, TransactionError> {
        check(&items, |item| named_key(item, &self.table, item::LEASE_KEY) == Some(lease.key.as_str()))?;
        let update = part(&self.checkpoint_update(lease, write));
        let update = update.map_err(|error| CheckpointError::Table(self.call(ACTION).unbuilt(error)))?;
        items.push(TransactWriteItem::builder().update(update).build());
        check_size(&items)?;
        Ok(Transaction { items, token: Uuid::new_v4().to_string() })
    }

    /// Tries a transaction. An error leaves open what becomes of it.
    pub(crate) async fn transact(&self, transaction: &Transaction, until: Instant) -> Result<Transacted, TableError> {
        let call = self.call(ACTION);
        let request = self.client.transact_write_items().client_request_token(&transaction.token);
        let sent = request.set_transact_items(Some(transaction.items.clone())).send();
        let Ok(answer) = timeout_at(until.into(), sent).await else { return Err(call.unanswered()) };
        let Err(error) = answer else { return Ok(Transacted::Applied) };
        let code = error.code().unwrap_or_default().to_owned();
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                let reasons = canceled.cancellation_reasons.clone();
                reasons.map(Transacted::Canceled).ok_or_else(|| call.failed(error))
            }
            Some(_) if is_refusal(&code) => Ok(Transacted::Refused { code, source: error.into_service_error().into() }),
            _ => Err(call.failed(error)),
        }
    }
}

/// An update as a part of a transaction.
fn part(update: &UpdateItemFluentBuilder) -> Result<Update, BuildError> {
    let update = update.as_input();
    Update::builder()
        .set_table_name(update.get_table_name().clone())
        .set_key(update.get_key().clone())
        .set_update_expression(update.get_update_expression().clone())
        .set_condition_expression(update.get_condition_expression().clone())
        .set_expression_attribute_names(update.get_expression_attribute_names().clone())
        .set_expression_attribute_values(update.get_expression_attribute_values().clone())
        .build()
}
