//! Injected faults: which calls fail, how, and whether before or after they took effect.
//!
//! The rules are the user's; `faults/plan.rs` decides about one call, `faults/refusals.rs` says it in the words of the
//! service, and `services.rs` and the transports carry it out.

mod plan;
mod refusals;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use self::plan::{End, Failing, RecordFaults, RefusalKind, Verdict};
use self::plan::{Kind, Plan, Selection};
use crate::services::Service;

/// Faults that calls run into, by the rules that a test sets. Clones share the rules.
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
/// A rule counts the calls that it is about from the moment it is set, retries of the SDK included. When several rules
/// strike one call, their delays add up, and the one that was set first decides how the call ends. Chance comes from a
/// seeded generator, so the same calls in the same order meet the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    // Protects the rules and the generator for the decision about one call.
    plan: Arc<Mutex<Plan>>,
}

impl Faults {
    /// Begins a rule about an action, by its name in policies: `kinesis:PutRecords`, `dynamodb:UpdateItem`; or about
    /// all of a service: `cloudwatch:*`; or about all: `*`. Without a selection it strikes every call.
    ///
    /// # Panics
    /// When this names no service, or no operation of it that is answered here, since such a rule would never strike.
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

    /// Starts the generator of [`FaultRule::with_probability`] again, from this seed. It starts from 0 otherwise.
    pub fn seed(&self, seed: u64) {
        lock(&self.plan).seed(seed);
    }

    pub(crate) fn decide(&self, service: Service, operation: &str, body_bytes: usize) -> Verdict {
        lock(&self.plan).decide(service, operation, body_bytes)
    }
}

/// A rule that is being written: first which calls, then what happens to them.
#[derive(Debug)]
#[must_use = "the rule is set by saying what happens, for example throttle()"]
pub struct FaultRule {
    plan: Arc<Mutex<Plan>>,
    selection: Selection,
}

impl FaultRule {
    /// Strikes only the n-th call, counted from 1.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn call(mut self, n: u64) -> Self {
        assert!(n > 0, "there is no zeroth call");
        self.selection.call = Some(n);
        self
    }

    /// Strikes only every n-th call: 3 is the third, the sixth and so on.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn every(mut self, n: u64) -> Self {
        assert!(n > 0, "there is no zeroth call");
        self.selection.every = Some(n);
        self
    }

    /// Strikes at most so many calls.
    ///
    /// # Panics
    /// When `times` is 0, since such a rule would never strike.
    pub fn times(mut self, times: u64) -> Self {
        assert!(times > 0, "a rule that strikes 0 times is none");
        self.selection.times = Some(times);
        self
    }

    /// Strikes a call with this probability, from 0 to 1.
    ///
    /// # Panics
    /// When it is outside of that, or not a number.
    pub fn with_probability(mut self, probability: f64) -> Self {
        assert!((0.0..=1.0).contains(&probability), "{probability} is no probability");
        self.selection.probability = Some(probability);
        self
    }

    /// Strikes only calls whose request body is larger than so many bytes, as it is sent: in JSON, data is a third larger
    /// than it is. Smaller ones do not count for [`call`](Self::call) and [`every`](Self::every).
    pub fn larger_than(mut self, bytes: usize) -> Self {
        self.selection.larger_than = Some(bytes);
        self
    }

    /// Strikes after the call took effect: what it wrote is written, whatever the client is told.
    pub fn after_effect(mut self) -> Self {
        self.selection.after_effect = true;
        self
    }

    /// Takes this long, before the call takes effect or after it, and goes on.
    pub fn delay(self, delay: Duration) -> Fault {
        self.set(Kind::Delay(delay))
    }

    /// Refuses as the service does under load: ProvisionedThroughputExceededException, or what the operation has for
    /// it.
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

    /// Refuses because a transaction is going on: TransactionConflictException, or TransactionCanceledException with
    /// that reason for the first item from DynamoDB's transactions. Of BatchExecuteStatement the first statement has the
    /// error TransactionConflict, of BatchWriteItem the first item is unprocessed. Any other operation is left alone.
    ///
    /// # Panics
    /// When the rule is about another operation only.
    pub fn conflict(self) -> Fault {
        self.set(Kind::Conflict)
    }

    /// Refuses with this status, code and message.
    ///
    /// # Panics
    /// When the status is not that of an error, from 400 to 599.
    pub fn refuse(self, status: u16, code: &str, message: &str) -> Fault {
        assert!((400..=599).contains(&status), "{status} is not the status of an error");
        self.set(Kind::Refuse { status, code: code.to_owned(), message: message.to_owned() })
    }

    /// Answers as a proxy or load balancer in between does: with this status and body, empty or HTML for example, and
    /// nothing that names an error.
    ///
    /// # Panics
    /// When the status is not that of an answer, from 200 to 599.
    pub fn answer_bare(self, status: u16, body: &str) -> Fault {
        assert!((200..=599).contains(&status), "{status} is not the status of an answer");
        self.set(Kind::AnswerBare { status, body: body.to_owned() })
    }

    /// Breaks the connection without an answer.
    pub fn drop_connection(self) -> Fault {
        self.set(Kind::Drop)
    }

    /// Carries the call out and breaks the connection without an answer, so that the client cannot know. The same as
    /// [`after_effect`](Self::after_effect) and [`drop_connection`](Self::drop_connection).
    pub fn lose_response(self) -> Fault {
        self.after_effect().drop_connection()
    }

    /// Carries the call out and breaks the connection in the middle of the answer.
    pub fn truncate_body(self) -> Fault {
        self.set(Kind::Truncate)
    }

    /// Fails every n-th record of a PutRecords with InternalFailure and stores the others. So it does with every n-th
    /// item of DynamoDB's BatchWriteItem and BatchGetItem, which are unprocessed, and every n-th statement of
    /// BatchExecuteStatement, which has ThrottlingError. With [`after_effect`](Self::after_effect) the failed ones are
    /// stored as well. Any other operation is left alone.
    ///
    /// # Panics
    /// When `every` is 0, or the rule is about another operation only.
    pub fn fail_records(self, every: usize) -> Fault {
        assert!(every > 0, "there is no zeroth record");
        self.set(Kind::FailRecords { every })
    }

    /// Breaks the connection of a subscription after so many events. Any other operation is left alone.
    ///
    /// # Panics
    /// When the rule is about another operation only.
    pub fn cut_event_stream(self, events: usize) -> Fault {
        self.set(Kind::CutEvents { after: events })
    }

    fn set(self, kind: Kind) -> Fault {
        let id = lock(&self.plan).add(self.selection, kind);
        Fault { plan: self.plan, id }
    }
}

/// A rule that is set. It stays when this is dropped.
#[derive(Clone, Debug)]
pub struct Fault {
    plan: Arc<Mutex<Plan>>,
    id: u64,
}

impl Fault {
    /// How many calls it has struck; 0 when it was removed.
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
