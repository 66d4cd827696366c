//! An unresolved user record, and the Kinesis record that carries it.

use std::{fmt, sync::Arc, time::Instant};

use super::packed::{HashKeys, Packed};
use crate::{
    aggregated::{AGGREGATE_PARTITION_KEY, Sealed, is_aggregate},
    config::AggregateKey,
    delivered::{Delivered, Retried, Stored},
    error::{Attempt, DeliveryErrorKind, Failure},
    hash_key::HashKey,
    kinesis::{Entry, KinesisError},
    record::UserRecord,
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

/// A user record that is not yet resolved.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    pub(crate) ticket: T,
    pub(crate) hash_key: HashKey,
    pub(crate) course: Course,
}

/// How a user record fares.
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
        let failure = match (self.course.history, obstacle) {
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

    /// Whether the record has to be a Kinesis record of its own.
    pub(crate) fn is_alone(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.alone)
    }

    pub(crate) fn set_alone(&mut self) {
        self.history().alone = true;
    }

    /// How often an aggregate with this record was stored in a wrong shard, this time included.
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

    fn deliver(self, stored: Arc<Stored>, sub_sequence_number: Option<u32>) -> Delivered {
        let retried =
            self.history.map(|history| Retried { attempts: history.made + 1, failed: history.attempts }.into());
        Delivered { stored, sub_sequence_number, retried }
    }

    fn history(&mut self) -> &mut History {
        let last_ended = self.arrived;
        self.history.get_or_insert_with(|| {
            Box::new(History { attempts: Vec::new(), made: 0, last_ended, wrong_shards: 0, alone: false })
        })
    }
}

/// One entry of a request to be: a user record as it is, or an aggregate of at least two, or of one whose data are an
/// aggregate.
#[derive(Debug)]
pub(crate) enum KinesisRecord<T: Detach> {
    Plain(Pending<T>),
    Aggregate(Packed<T, Sealed>, AggregateKey),
}

impl<T: Detach> KinesisRecord<T> {
    /// A record without company: as it is, unless consumers would take its data apart. Then it is an aggregate of one, if
    /// that has no more than `max_bytes`.
    pub(crate) fn alone(record: Pending<T>, key: AggregateKey, max_bytes: usize) -> Self {
        if !is_aggregate(record.as_ref().data()) {
            return Self::Plain(record);
        }
        let mut packed = Packed::new();
        match packed.try_push(record, max_bytes) {
            Ok(()) => Self::Aggregate(packed.seal(), key),
            Err(record) => Self::Plain(record),
        }
    }

    /// All records out of `packed`: an aggregate, unless there is but one record.
    ///
    /// `None` without a record.
    pub(crate) fn of(packed: &mut Packed<T>, key: AggregateKey) -> Option<Self> {
        match packed.len() {
            0 => None,
            1 => packed.unpack().pop().map(|record| Self::alone(record, key, usize::MAX)),
            _ => Some(Self::Aggregate(packed.seal(), key)),
        }
    }

    /// All of `records`, in their order, as one Kinesis record.
    ///
    /// `None` without a record.
    pub(crate) fn packed(records: Vec<Pending<T>>, key: AggregateKey) -> Option<Self> {
        Self::of(&mut Packed::of(records), key)
    }

    pub(crate) fn attempt_failed(&mut self, error: &KinesisError, started: Instant, now: Instant) {
        let courses = match self {
            Self::Plain(record) => std::slice::from_mut(&mut record.course),
            Self::Aggregate(packed, _) => packed.courses_mut(),
        };
        courses.iter_mut().for_each(|course| course.attempt_failed(error, started, now));
    }

    pub(crate) fn courses(&self) -> &[Course] {
        match self {
            Self::Plain(record) => std::slice::from_ref(&record.course),
            Self::Aggregate(packed, _) => packed.courses(),
        }
    }

    pub(crate) fn into_records(self) -> Vec<Pending<T>> {
        match self {
            Self::Plain(record) => vec![record],
            Self::Aggregate(mut packed, _) => packed.unpack(),
        }
    }

    /// The record that arrived first and decides the shard.
    pub(crate) fn first(&self) -> &Course {
        self.courses().first().expect("a Kinesis record holds at least one user record")
    }

    /// What the aggregate's partition key is made from; of no consequence to a plain record.
    pub(crate) fn key(&self) -> AggregateKey {
        match self {
            Self::Plain(_) => AggregateKey::default(),
            Self::Aggregate(_, key) => *key,
        }
    }

    pub(crate) fn hash_keys(&self) -> HashKeys {
        match self {
            Self::Plain(record) => HashKeys::of(record.hash_key),
            Self::Aggregate(packed, _) => packed.hash_keys(),
        }
    }

    pub(crate) fn is_mixed(&self) -> bool {
        self.hash_keys().are_mixed()
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Self::Aggregate(..))
    }

    /// What Kinesis counts: data and partition key.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Plain(record) => record.as_ref().size_bytes(),
            Self::Aggregate(packed, key) => {
                packed.content().size_bytes() + key.bytes(packed.content().first_partition_key())
            }
        }
    }

    /// The record as it is sent. An aggregate must have its digest.
    pub(crate) fn entry(&self) -> Entry {
        let (partition_key, data) = match self {
            Self::Plain(record) => (record.as_ref().partition_key().to_owned(), record.as_ref().data().clone()),
            Self::Aggregate(packed, key) => (self.aggregate_key(packed, *key), packed.content().to_bytes()),
        };
        Entry { partition_key, explicit_hash_key: self.hash_keys().first, data }
    }

    /// The aggregate, to give it its digest.
    pub(crate) fn content_mut(&mut self) -> Option<&mut Sealed> {
        match self {
            Self::Plain(_) => None,
            Self::Aggregate(packed, _) => Some(packed.content_mut()),
        }
    }

    fn aggregate_key(&self, packed: &Packed<T, Sealed>, key: AggregateKey) -> String {
        match key {
            AggregateKey::Constant => AGGREGATE_PARTITION_KEY.to_owned(),
            AggregateKey::FirstRecord => packed.content().first_partition_key().to_owned(),
            // Neighbours differ, and another attempt has the same.
            AggregateKey::Spread => format!("{:08x}", self.first().number as u32),
        }
    }

    /// What each user record's ticket leaves, and its outcome, in order.
    pub(crate) fn deliver(self, stored: &Arc<Stored>) -> impl Iterator<Item = (T::Stub, Delivered)> {
        let (plain, packed) = match self {
            Self::Plain(Pending { ticket, course, .. }) => {
                (Some((ticket.detach(), course.deliver(stored.clone(), None))), None)
            }
            Self::Aggregate(packed, _) => (None, Some(packed.into_stubs())),
        };
        let packed = (0..).zip(packed.into_iter().flatten());
        plain
            .into_iter()
            .chain(packed.map(|(position, (stub, course))| (stub, course.deliver(stored.clone(), Some(position)))))
    }
}
