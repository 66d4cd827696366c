//! A user record on its way, and the Kinesis record that it travels in.

use std::{sync::Arc, time::Instant};

use crate::{
    AggregateKey, Attempt, DeliveryErrorKind, HashKey, UserRecord,
    aggregated::{AGGREGATE_PARTITION_KEY, Aggregate},
    delivery::{Receipt, Retried},
    error::Failure,
    kinesis::{Entry, KinesisError, Stored},
};

/// Attempts that are remembered of one record: the first, and the last ones.
const ATTEMPTS_KEPT: usize = 16;

/// A user record that is not yet resolved.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    pub(crate) ticket: T,
    pub(crate) hash_key: HashKey,
    /// Order of arrival.
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
        Self { ticket, hash_key, number, arrived, history: None }
    }

    /// The end of the last attempt, else the arrival.
    pub(crate) fn waiting_since(&self) -> Instant {
        self.history.as_ref().map_or(self.arrived, |history| history.last_ended)
    }

    /// Whether the record has to be a Kinesis record of its own.
    pub(crate) fn is_alone(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.alone)
    }

    /// From now on the record goes alone.
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
        let attempt = Attempt {
            delay: started.saturating_duration_since(history.last_ended),
            duration: now.saturating_duration_since(started),
            code: error.code().clone(),
            message: error.message().clone(),
        };
        if history.attempts.len() == ATTEMPTS_KEPT {
            history.attempts.remove(1);
        }
        history.attempts.push(attempt);
        history.made += 1;
        history.last_ended = now;
    }

    pub(crate) fn fail(self, kind: DeliveryErrorKind) -> (T, Result<Receipt, Box<Failure>>) {
        let failure = match self.history {
            Some(history) => Failure { kind, attempts: history.attempts, attempts_made: history.made },
            None => Failure::unattempted(kind),
        };
        (self.ticket, Err(failure.into()))
    }

    fn deliver(self, stored: Arc<Stored>, sub_sequence_number: Option<u32>) -> (T, Result<Receipt, Box<Failure>>) {
        let retried =
            self.history.map(|history| Retried { attempts: history.made + 1, failed: history.attempts }.into());
        (self.ticket, Ok(Receipt { stored, sub_sequence_number, retried }))
    }

    fn history(&mut self) -> &mut History {
        let last_ended = self.arrived;
        self.history.get_or_insert_with(|| {
            Box::new(History { attempts: Vec::new(), made: 0, last_ended, wrong_shards: 0, alone: false })
        })
    }
}

/// One entry of a request to be: a user record as it is, or an aggregate of at least two.
#[derive(Debug)]
pub(crate) enum KinesisRecord<T> {
    Plain(Pending<T>),
    Aggregate(Aggregate<Pending<T>>, AggregateKey),
}

impl<T: AsRef<UserRecord>> KinesisRecord<T> {
    /// An aggregate, unless there is but one record.
    ///
    /// `None` without a record.
    pub(crate) fn of(aggregate: Aggregate<Pending<T>>, key: AggregateKey) -> Option<Self> {
        match aggregate.len() {
            0 => None,
            1 => aggregate.into_records().pop().map(Self::Plain),
            _ => Some(Self::Aggregate(aggregate, key)),
        }
    }

    /// All of `records`, in their order, as one Kinesis record.
    ///
    /// `None` without a record.
    pub(crate) fn packed(records: Vec<Pending<T>>, key: AggregateKey) -> Option<Self> {
        let mut aggregate = Aggregate::new();
        records.into_iter().for_each(|record| aggregate.push(record));
        Self::of(aggregate, key)
    }

    /// All records failed together.
    pub(crate) fn attempt_failed(&mut self, error: &KinesisError, started: Instant, now: Instant) {
        self.records_mut().iter_mut().for_each(|record| record.attempt_failed(error, started, now));
    }

    fn records_mut(&mut self) -> &mut [Pending<T>] {
        match self {
            Self::Plain(record) => std::slice::from_mut(record),
            Self::Aggregate(aggregate, _) => aggregate.records_mut(),
        }
    }

    pub(crate) fn records(&self) -> &[Pending<T>] {
        match self {
            Self::Plain(record) => std::slice::from_ref(record),
            Self::Aggregate(aggregate, _) => aggregate.records(),
        }
    }

    pub(crate) fn into_records(self) -> Vec<Pending<T>> {
        match self {
            Self::Plain(record) => vec![record],
            Self::Aggregate(aggregate, _) => aggregate.into_records(),
        }
    }

    /// The record that arrived first and decides the shard.
    pub(crate) fn first(&self) -> &Pending<T> {
        self.records().first().expect("a Kinesis record holds at least one user record")
    }

    /// What the aggregate's partition key is made from; of no consequence to a plain record.
    pub(crate) fn key(&self) -> AggregateKey {
        match self {
            Self::Plain(_) => AggregateKey::default(),
            Self::Aggregate(_, key) => *key,
        }
    }

    /// Whether there are records of several hash keys.
    pub(crate) fn is_mixed(&self) -> bool {
        let first = self.first().hash_key;
        self.records().iter().any(|record| record.hash_key != first)
    }

    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Self::Aggregate(..))
    }

    /// What Kinesis counts: data and partition key.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::Plain(record) => record.as_ref().size_bytes(),
            Self::Aggregate(aggregate, key) => aggregate.size_bytes() + key.bytes(self.first().as_ref()),
        }
    }

    pub(crate) fn entry(&self) -> Entry {
        let explicit_hash_key = self.first().hash_key;
        match self {
            Self::Plain(record) => Entry {
                partition_key: record.as_ref().partition_key().to_owned(),
                explicit_hash_key,
                data: record.as_ref().data().clone(),
            },
            Self::Aggregate(aggregate, key) => {
                let partition_key = match key {
                    AggregateKey::Constant => AGGREGATE_PARTITION_KEY.to_owned(),
                    AggregateKey::FirstRecord => self.first().as_ref().partition_key().to_owned(),
                    // Neighbours differ, and another attempt has the same.
                    AggregateKey::Spread => format!("{:08x}", self.first().number as u32),
                };
                Entry { partition_key, explicit_hash_key, data: aggregate.encode() }
            }
        }
    }

    /// Outcomes of all records, in order.
    pub(crate) fn deliver(self, stored: Stored) -> impl Iterator<Item = (T, Result<Receipt, Box<Failure>>)> {
        let (aggregate, stored) = (self.is_aggregate(), Arc::new(stored));
        let records = (0..).zip(self.into_records());
        records.map(move |(position, record)| record.deliver(stored.clone(), aggregate.then_some(position)))
    }
}
