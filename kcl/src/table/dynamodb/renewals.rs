//! Renewals of leases that come in the same moment: one BatchExecuteStatement for up to 25, each under its own condition.

use std::{
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, ProvideErrorMetadata},
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{
        AttributeValue, BatchStatementError, BatchStatementErrorCodeEnum as Code, BatchStatementRequest,
        ReturnValuesOnConditionCheckFailure,
    },
};
use tokio::{sync::oneshot, time::sleep};
use tracing::{Instrument, info};

use super::{
    Call, DynamoDbLeaseTable,
    conditional::{Assignment, set_and_remove},
    error::again,
    item, n, s,
};
use crate::{
    error::TableError,
    locked::locked,
    logic::shard::ROUND,
    model::{Conditional, Lease, LeaseKey},
};

const ACTION: &str = "dynamodb:PartiQLUpdate";
/// Time for which a renewal waits for others of the same moment.
const GATHERING: Duration = Duration::from_millis(2);

/// Values that a renewal writes, and its condition.
#[derive(Debug, Clone)]
struct Renewal {
    key: LeaseKey,
    counter: u64,
    in_handoff: bool,
    set: Vec<Assignment>,
}

impl Renewal {
    fn of(lease: &Lease) -> Self {
        let mut set = vec![(item::LEASE_COUNTER, ":next", n(lease.counter + 1))];
        set.extend(lease.throughput_kbps.map(|throughput| (item::THROUGHPUT, ":t", n(throughput))));
        set.extend(lease.instance.as_deref().map(|instance| (item::OWNER_INSTANCE, ":i", s(instance))));
        Self { key: lease.key.clone(), counter: lease.counter, in_handoff: lease.in_handoff(), set }
    }

    fn update(self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let mut condition = "leaseCounter = :c".to_owned();
        if !self.in_handoff {
            condition.push_str(" AND attribute_not_exists(checkpointOwner)");
        }
        let update = update.condition_expression(condition).expression_attribute_values(":c", n(self.counter));
        set_and_remove(update, self.set, &[])
    }

    /// The same as a statement.
    fn statement(self, table: &str) -> Result<BatchStatementRequest, BuildError> {
        let mut text = format!("UPDATE \"{table}\"");
        let mut parameters: Vec<AttributeValue> = Vec::with_capacity(self.set.len() + 2);
        for (name, _, value) in self.set {
            text += &format!(" SET {name} = ?");
            parameters.push(value);
        }
        text += &format!(" WHERE {} = ? AND {} = ?", item::LEASE_KEY, item::LEASE_COUNTER);
        parameters.extend([s(self.key.as_str()), n(self.counter)]);
        if !self.in_handoff {
            text += &format!(" AND {} IS MISSING", item::CHECKPOINT_OWNER);
        }
        let failed = ReturnValuesOnConditionCheckFailure::AllOld;
        let request = BatchStatementRequest::builder().statement(text).set_parameters(Some(parameters));
        request.return_values_on_condition_check_failure(failed).build()
    }
}

type Outcome = Result<Conditional, TableError>;

/// A renewal that waits, and the keeper that waits for it. None: it must be written alone.
type Waiting = (Renewal, oneshot::Sender<Option<Outcome>>);

/// The renewals that wait for others.
#[derive(Debug)]
pub(super) struct Renewals {
    client: Client,
    table: String,
    // Protects the list for the length of a push or of its removal. Bounded: a keeper has one renewal under way.
    waiting: Mutex<Vec<Waiting>>,
    /// False once batches were found to be denied, or unknown to the service.
    may_batch: AtomicBool,
}

impl DynamoDbLeaseTable {
    pub(crate) async fn renew(&self, lease: &Lease) -> Outcome {
        let renewal = Renewal::of(lease);
        if let Some(outcome) = Arc::clone(&self.renewals).shared(renewal.clone()).await {
            return outcome;
        }
        self.conditional_update(renewal.update(self.update(&lease.key))).await
    }
}

impl Renewals {
    pub(super) fn new(client: Client, table: String) -> Self {
        Self { client, table, waiting: Mutex::default(), may_batch: AtomicBool::new(true) }
    }

    /// Writes the renewal with others of this moment. None: it must be written alone. The write goes on if this is dropped.
    async fn shared(self: Arc<Self>, renewal: Renewal) -> Option<Outcome> {
        if !self.may_batch.load(Ordering::Relaxed) {
            return None;
        }
        let (reply, outcome) = oneshot::channel();
        let is_first = {
            let mut waiting = locked(&self.waiting);
            waiting.push((renewal, reply));
            waiting.len() == 1
        };
        if is_first {
            tokio::spawn(self.write_soon().in_current_span());
        }
        outcome.await.ok().flatten()
    }

    async fn write_soon(self: Arc<Self>) {
        sleep(GATHERING).await;
        let mut waiting = mem::take(&mut *locked(&self.waiting)).into_iter().peekable();
        let mut batches = Vec::new();
        while waiting.peek().is_some() {
            batches.push(self.write(waiting.by_ref().take(ROUND).collect()));
        }
        futures::future::join_all(batches).await;
    }

    async fn write(&self, batch: Vec<Waiting>) {
        let (renewals, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let outcomes = if renewals.len() == 1 { vec![None] } else { self.execute(renewals, replies.len()).await };
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            let _ = reply.send(outcome); // the keeper stopped waiting
        }
    }

    /// The outcome of each.
    async fn execute(&self, renewals: Vec<Renewal>, count: usize) -> Vec<Option<Outcome>> {
        let call = Call { action: ACTION, table: &self.table };
        let failed = |error: TableError| (0..count).map(|_| Some(Err(again(&error)))).collect();
        let statements: Result<Vec<_>, _> =
            renewals.into_iter().map(|renewal| renewal.statement(&self.table)).collect();
        let statements = match statements {
            Ok(statements) => statements,
            Err(error) => return failed(call.unbuilt(error)),
        };
        match self.client.batch_execute_statement().set_statements(Some(statements)).send().await {
            Ok(output) => {
                let mut answers = output.responses.unwrap_or_default().into_iter();
                let outcome = |_| match answers.next() {
                    Some(answer) => answer.error.map_or(Some(Ok(Conditional::Applied)), |error| self.refused(error)),
                    None => Some(Err(call.incomplete())),
                };
                (0..count).map(outcome).collect()
            }
            Err(error) if is_unknown(error.code()) => {
                self.give_up_batches(error.code());
                (0..count).map(|_| None).collect()
            }
            Err(error) => failed(call.failed(error)),
        }
    }

    /// The outcome of a statement that failed.
    fn refused(&self, error: BatchStatementError) -> Option<Outcome> {
        match error.code {
            Some(Code::ConditionalCheckFailed) => {
                let found = error.item.as_ref().and_then(item::read_lease);
                Some(Ok(Conditional::Conflict(found.map(Box::new))))
            }
            Some(code @ (Code::AccessDenied | Code::ValidationError)) => {
                self.give_up_batches(Some(code.as_str()));
                None
            }
            // By itself it is tried again, until the other transaction is over.
            Some(Code::TransactionConflict) => None,
            code => Some(Err(Call { action: ACTION, table: &self.table }.part_failed(code, error.message))),
        }
    }

    fn give_up_batches(&self, code: Option<&str>) {
        if self.may_batch.swap(false, Ordering::Relaxed) {
            let code = code.unwrap_or_default();
            info!(table = self.table, code, "without {ACTION}, each lease is renewed by a request of its own");
        }
    }
}

/// True for the codes of a service, or of a policy, that does not know such requests.
fn is_unknown(code: Option<&str>) -> bool {
    matches!(code, Some("AccessDeniedException" | "UnknownOperationException" | "ValidationException"))
}
