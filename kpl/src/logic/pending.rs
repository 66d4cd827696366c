//! An unresolved user record: its ticket, and the course of its attempts.

use std::{fmt, sync::Arc, time::Instant};

use crate::{
    delivered::{Delivered, Retried, Stored},
    error::{Attempt, DeliveryErrorKind, Failure},
    hash_key::HashKey,
    kinesis::KinesisError,
    record::UserRecord,
    record_number::RecordNumber,
};

/// Maximum number of attempts kept: the first, and the last ones.
const ATTEMPTS_KEPT: usize = 16;

/// A ticket, which carries its record until that is encoded.
pub(crate) trait Detach: AsRef<UserRecord> {
    /// A ticket without its record.
    type Stub: fmt::Debug;

    fn detach(self) -> Self::Stub;

    fn attach(stub: Self::Stub, record: UserRecord) -> Self;
}

#[derive(Debug)]
pub(crate) struct Pending<T> {
    pub(crate) ticket: T,
    pub(crate) hash_key: HashKey,
    pub(crate) course: Course,
}

/// Course of a user record from its arrival over its attempts.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) number: u64,
    pub(crate) arrived: Instant,
    /// Boxed, because most records need none.
    history: Option<Box<History>>,
}

#[derive(Debug)]
struct History {
    attempts: Vec<Attempt>,
    made: u32,
    last_ended: Instant,
    wrong_shards: u32,
    alone: bool,
    plain: bool,
    number: Option<RecordNumber>,
}

impl<T: AsRef<UserRecord>> AsRef<UserRecord> for Pending<T> {
    fn as_ref(&self) -> &UserRecord {
        self.ticket.as_ref()
    }
}

impl<T> Pending<T> {
    pub(crate) fn new(ticket: T, hash_key: HashKey, number: u64, arrived: Instant) -> Self {
        Self { ticket, hash_key, course: Course { number, arrived, history: None } }
    }

    /// `obstacle` is what kept the record from being sent, if it was not.
    pub(crate) fn fail(self, kind: DeliveryErrorKind, obstacle: Option<&Attempt>) -> (T, Box<Failure>) {
        let history = self.course.history.filter(|history| history.made > 0);
        let failure = match (history, obstacle) {
            (Some(history), _) => Failure { kind, attempts: history.attempts, attempts_made: history.made },
            (None, Some(obstacle)) => Failure { kind, attempts: vec![obstacle.clone()], attempts_made: 0 },
            (None, None) => Failure::unattempted(kind),
        };
        (self.ticket, failure.into())
    }
}

impl Course {
    /// The end of the last attempt, else the arrival.
    pub(crate) fn waiting_since(&self) -> Instant {
        self.history.as_ref().map_or(self.arrived, |history| history.last_ended)
    }

    /// Returns whether the record has to be a Kinesis record of its own.
    pub(crate) fn is_alone(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.alone)
    }

    pub(crate) fn set_alone(&mut self) {
        self.history().alone = true;
    }

    /// Returns whether nothing may travel with the record that needs an aggregate.
    pub(crate) fn is_plain(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.plain)
    }

    /// Has the record sent alone, plain and without number: right in any shard, unless consumers would open its data.
    pub(crate) fn set_plain(&mut self) {
        let history = self.history();
        (history.alone, history.plain, history.number) = (true, true, None);
    }

    /// The number that it was sent with, or will be.
    pub(crate) fn number(&self) -> Option<RecordNumber> {
        self.history.as_ref()?.number
    }

    pub(crate) fn set_number(&mut self, number: RecordNumber) {
        self.history().number = Some(number);
    }

    /// Returns whether the record was in a request.
    pub(crate) fn was_sent(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.made > 0)
    }

    /// Counts and returns the times that an aggregate with this record was stored in a wrong shard.
    pub(crate) fn count_wrong_shard(&mut self) -> u32 {
        let history = self.history();
        history.wrong_shards += 1;
        history.wrong_shards
    }

    pub(crate) fn attempt_failed(&mut self, error: &KinesisError, started: Instant, now: Instant) {
        let history = self.history();
        let (code, message) = error.words();
        let delay = started.saturating_duration_since(history.last_ended);
        let attempt = Attempt { delay, duration: now.saturating_duration_since(started), code, message };
        if history.attempts.len() == ATTEMPTS_KEPT {
            history.attempts.remove(1);
        }
        history.attempts.push(attempt);
        history.made += 1;
        history.last_ended = now;
    }

    pub(crate) fn deliver(self, stored: Arc<Stored>, sub_sequence_number: Option<u32>) -> Delivered {
        let history = self.history.filter(|history| history.made > 0);
        let retried = history.map(|history| Retried { attempts: history.made + 1, failed: history.attempts }.into());
        Delivered { stored, sub_sequence_number, retried }
    }

    fn history(&mut self) -> &mut History {
        let last_ended = self.arrived;
        self.history.get_or_insert_with(|| {
            let (attempts, number) = (Vec::new(), None);
            Box::new(History { attempts, made: 0, last_ended, wrong_shards: 0, alone: false, plain: false, number })
        })
    }
}
