//! Injected faults: rules that select calls and let them fail, before or after they took effect.
//!
//! `faults/plan.rs` decides about one call, `faults/refusals.rs` words the refusal as the service does, and `services.rs`
//! and the transports carry it out.

mod plan;
mod refusals;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use self::plan::{End, Failing, RecordFaults, RefusalKind, Verdict};
use self::plan::{Kind, Plan, Selection};
use crate::services::Service;

/// Faults to inject into calls, by rules that a test sets. Clones share the rules.
///
/// ```
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let aws = kinesis_local::LocalAws::start().await;
///
/// // The third PutRecords from now on is carried out, but its answer is lost.
/// let lost = aws.faults().on("kinesis:PutRecords").call(3).lose_response();
/// // Every fifth UpdateItem is throttled; every call of any service takes 20 ms, one in ten fails.
/// aws.faults().on("dynamodb:UpdateItem").every(5).throttle();
/// aws.faults().on("*").delay(Duration::from_millis(20));
/// aws.faults().on("*").with_probability(0.1).fail();
/// # let _ = aws.sdk_config();
/// assert_eq!(lost.count(), 0);
/// # }
/// ```
///
/// A rule counts the calls that it selects from the moment it is set, retries of the SDK included. When several rules
/// apply to one call, their delays add up, and the one that was set first decides how the call ends. Chance comes from a
/// seeded generator, so the same calls in the same order have the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    // Protects the rules and the generator for the decision about one call.
    plan: Arc<Mutex<Plan>>,
}

impl Faults {
    /// Begins a rule for an action, by its name in policies, such as `kinesis:PutRecords`, for all actions of a service,
    /// such as `cloudwatch:*`, or for all, `*`. Without a further selection it applies to every call.
    ///
    /// # Panics
    /// The text names no service, or no operation of it that is answered here: such a rule would never apply.
    pub fn on(&self, action: &str) -> FaultRule {
        let (service, operation) = match action.split_once(':') {
            Some((prefix, operation)) => (Service::of_prefix(prefix), operation),
            None => (None, action),
        };
        assert!(service.is_some() || action == "*", "{action} is not like kinesis:PutRecords, kinesis:* or *");
        let operation = (operation != "*").then(|| operation.to_owned());
        if let (Some(service), Some(operation)) = (service, &operation) {
            assert!(service.operations().contains(&&**operation), "{action} is no operation");
        }
        FaultRule { plan: Arc::clone(&self.plan), selection: Selection { service, operation, ..Selection::default() } }
    }

    /// Removes all rules.
    pub fn clear(&self) {
        lock(&self.plan).clear();
    }

    /// Starts the generator of [`FaultRule::with_probability`] again, from this seed. Default seed: 0.
    pub fn seed(&self, seed: u64) {
        lock(&self.plan).seed(seed);
    }

    pub(crate) fn decide(&self, service: Service, operation: &str, body_bytes: usize) -> Verdict {
        lock(&self.plan).decide(service, operation, body_bytes)
    }
}

/// A rule that is being written: first the selection of calls, then their fault.
#[derive(Debug)]
#[must_use = "the rule is set by naming the fault, for example throttle()"]
pub struct FaultRule {
    plan: Arc<Mutex<Plan>>,
    selection: Selection,
}

impl FaultRule {
    /// Applies to the n-th call only, counted from 1.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn call(mut self, n: u64) -> Self {
        assert!(n > 0, "there is no zeroth call");
        self.selection.call = Some(n);
        self
    }

    /// Applies to every n-th call only: 3 is the third, the sixth and so on.
    ///
    /// # Panics
    /// `n` is 0.
    pub fn every(mut self, n: u64) -> Self {
        assert!(n > 0, "there is no zeroth call");
        self.selection.every = Some(n);
        self
    }

    /// Maximum number of calls that the rule applies to. Default: unlimited.
    ///
    /// # Panics
    /// `times` is 0.
    pub fn times(mut self, times: u64) -> Self {
        assert!(times > 0, "a rule that strikes 0 times is none");
        self.selection.times = Some(times);
        self
    }

    /// Applies to a call with this probability, from 0 to 1.
    ///
    /// # Panics
    /// The probability is outside of that range, or not a number.
    pub fn with_probability(mut self, probability: f64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "{probability} is no probability");
        self.selection.probability = Some(probability);
        self
    }

    /// Applies only to calls whose request body is larger than this, in bytes as sent: data is a third larger in JSON.
    /// Smaller calls do not count for [`call`](Self::call) and [`every`](Self::every).
    pub fn larger_than(mut self, bytes: usize) -> Self {
        self.selection.larger_than = Some(bytes);
        self
    }

    /// Applies after the call took effect: what it wrote stays written, whatever the answer.
    pub fn after_effect(mut self) -> Self {
        self.selection.after_effect = true;
        self
    }

    /// Delays the call, before it takes effect or after that.
    pub fn delay(self, delay: Duration) -> Fault {
        self.set(Kind::Delay(delay))
    }

    /// Refuses as the service does under load: with ProvisionedThroughputExceededException, or the operation's equivalent.
    pub fn throttle(self) -> Fault {
        self.set(Kind::Throttle)
    }

    /// Answers 500 with the service's internal error.
    pub fn fail(self) -> Fault {
        self.set(Kind::Fail)
    }

    /// Answers 503.
    pub fn unavailable(self) -> Fault {
        self.set(Kind::Unavailable)
    }

    /// Refuses because the credentials have expired.
    pub fn expire_credentials(self) -> Fault {
        self.set(Kind::ExpireCredentials)
    }

    /// Refuses because of another transaction: with TransactionConflictException, or in DynamoDB's transactions with
    /// TransactionCanceledException and that reason for the first item. The first statement of BatchExecuteStatement has
    /// the error TransactionConflict, the first item of BatchWriteItem is unprocessed. No other operation is affected.
    ///
    /// # Panics
    /// The rule is for another operation only.
    pub fn conflict(self) -> Fault {
        self.set(Kind::Conflict)
    }

    /// Refuses with this status, code and message.
    ///
    /// # Panics
    /// The status is not that of an error, from 400 to 599.
    pub fn refuse(self, status: u16, code: &str, message: &str) -> Fault {
        assert!((400..=599).contains(&status), "{status} is not the status of an error");
        self.set(Kind::Refuse { status, code: code.to_owned(), message: message.to_owned() })
    }

    /// Answers as a proxy or load balancer in between does: with this status and body, empty or HTML for example, without
    /// an error code.
    ///
    /// # Panics
    /// The status is not that of an answer, from 200 to 599.
    pub fn answer_bare(self, status: u16, body: &str) -> Fault {
        assert!((200..=599).contains(&status), "{status} is not the status of an answer");
        self.set(Kind::AnswerBare { status, body: body.to_owned() })
    }

    /// Breaks the connection without an answer.
    pub fn drop_connection(self) -> Fault {
        self.set(Kind::Drop)
    }

    /// Carries the call out and breaks the connection without an answer. The same as
    /// [`after_effect`](Self::after_effect) and [`drop_connection`](Self::drop_connection).
    pub fn lose_response(self) -> Fault {
        self.after_effect().drop_connection()
    }

    /// Carries the call out and breaks the connection in the middle of the answer.
    pub fn truncate_body(self) -> Fault {
        self.set(Kind::Truncate)
    }

    /// Fails every n-th record of a PutRecords with InternalFailure and stores the others. Every n-th item of DynamoDB's
    /// BatchWriteItem and BatchGetItem is unprocessed, every n-th statement of BatchExecuteStatement has ThrottlingError.
    /// With [`after_effect`](Self::after_effect) the failed ones are stored as well. No other operation is affected.
    ///
    /// # Panics
    /// `every` is 0, or the rule is for another operation only.
    pub fn fail_records(self, every: usize) -> Fault {
        assert!(every > 0, "there is no zeroth record");
        self.set(Kind::FailRecords { every })
    }

    /// Breaks the connection of a subscription after this number of events. No other operation is affected.
    ///
    /// # Panics
    /// The rule is for another operation only.
    pub fn cut_event_stream(self, events: usize) -> Fault {
        self.set(Kind::CutEvents { after: events })
    }

    fn set(self, kind: Kind) -> Fault {
        let id = lock(&self.plan).add(self.selection, kind);
        Fault { plan: self.plan, id }
    }
}

/// A rule that is set. Dropping the handle does not remove the rule.
#[derive(Clone, Debug)]
pub struct Fault {
    plan: Arc<Mutex<Plan>>,
    id: u64,
}

impl Fault {
    /// Number of calls that the rule applied to; 0 if it was removed.
    pub fn count(&self) -> u64 {
        lock(&self.plan).count(self.id)
    }

    /// Removes the rule.
    pub fn remove(self) {
        lock(&self.plan).remove(self.id);
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    // Rules and counters are whole even when a thread panicked between two of their changes.
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}
