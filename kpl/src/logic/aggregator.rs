//! Grouping of the user records of one shard into Kinesis records.
//!
//! - (A) Records leave in the order of their numbers, whatever the order in which they were added.
//! - (B) An aggregate holds at least two records, but for (D), and is not longer than the limit.
//! - (C) A record sent alone, or too long for an aggregate, is sent as it is, after earlier records.
//! - (D) With aggregation, data that are an aggregate or a compressed frame arrive as they were put, and a trace context and a number
//!   arrive with their record: alone, they are in an aggregate of one, which may be as long as a record.
//! - (E) With compression, (B) holds for what is compressed.
//!
//! With an aggregate for each partition key, (A) and (C) hold for the records of one key.

mod open;
mod ready;

use std::time::{Duration, Instant};

use self::{open::Open, ready::Ready};
use super::{
    compress::{Compressing, packed},
    fill::Fill,
    kinesis_record::KinesisRecord,
    numbers::Numbers,
    pending::{Course, Detach, Pending},
};
use crate::{
    config::{AGGREGATION_MIN_BYTES, AggregateKey, Aggregation, Config, Limits, RecordOrder},
    record_number::RecordNumber,
};

/// Rules for the grouping of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packing {
    /// `None` without aggregates.
    pub(crate) limits: Option<Limits>,
    /// The records of an aggregate share partition key and hash key.
    pub(crate) by_key: bool,
    pub(crate) key: AggregateKey,
    /// Maximum time that a record waits for others.
    pub(crate) buffered: Duration,
    /// Additional time that a Kinesis record waits for those of other shards.
    pub(crate) linger: Duration,
    /// Maximum room that full aggregates of all lanes together leave to the next ones.
    pub(crate) room_bytes: usize,
    /// Maximum bytes of an aggregate of one; 0 without aggregation.
    pub(crate) max_bytes_alone: usize,
    /// Maximum number of aggregates of a shard that are under way side by side, without a common hash key.
    pub(crate) max_stripes: usize,
    pub(crate) compressing: Option<Compressing>,
    /// First series of the producer, if records are numbered.
    pub(crate) series: Option<u64>,
}

/// Bytes that a small record takes in an aggregate besides its own, about.
const RECORD_OVERHEAD_BYTES: usize = 16;
/// Maximum stripes of a lane: at a round trip of 20 ms they carry 400 aggregates a second, eight times what a shard accepts.
const MAX_STRIPES: usize = 8;

/// Part of the buffer that may be room for records.
const ROOM_PART: usize = 8;

impl Packing {
    pub(crate) fn of(config: &Config, max_record_bytes: usize) -> Self {
        let by_key = matches!(config.aggregation, Aggregation::ByPartitionKey { .. });
        let key = if by_key { AggregateKey::FirstRecord } else { config.aggregate_key };
        let room = max_record_bytes.saturating_sub(key.max_bytes()).max(AGGREGATION_MIN_BYTES);
        let limits = config.aggregation.limits();
        let striped = limits.is_some() && !by_key && config.record_order == RecordOrder::PerPartitionKey;
        let limits = limits.map(|limits| Limits { max_bytes: limits.max_bytes.min(room), ..limits });
        let max_bytes_alone = limits.map_or(0, |_| room);
        Self {
            compressing: Compressing::of(config, limits.map_or(0, |limits| limits.max_bytes), max_bytes_alone),
            limits,
            by_key,
            key,
            buffered: config.record_max_buffered_time,
            linger: config.linger(),
            room_bytes: config.max_outstanding_bytes / ROOM_PART,
            max_bytes_alone,
            max_stripes: if striped { MAX_STRIPES } else { 1 },
            series: None,
        }
    }

    /// Rules for records of unknown shards.
    pub(crate) fn plain(self) -> Self {
        Self { limits: None, linger: Duration::ZERO, max_stripes: 1, ..self }
    }
}

/// User records that wait for one shard.
pub(crate) struct Aggregator<T: Detach> {
    packing: Packing,
    /// Limits of an open aggregate: with compression, of what is expected to be as long as the packing allows.
    limits: Option<Limits>,
    /// Knowledge of how records compress.
    fill: Fill,
    open: Open<T>,
    pub(crate) ready: Ready<T>,
}

impl<T: Detach> Aggregator<T> {
    pub(crate) fn new(packing: Packing) -> Self {
        let open = Open::new(&packing);
        let limits = packing.limits;
        Self { packing, limits, fill: Fill::default(), open, ready: Ready::default() }
    }

    pub(crate) fn fill(&self) -> Fill {
        self.fill
    }

    pub(crate) fn set_fill(&mut self, fill: Fill) {
        if let (Some(compressing), Some(limits)) = (&self.packing.compressing, self.packing.limits) {
            (self.fill, self.limits) = (fill, Some(compressing.limits(limits, fill)));
        }
    }

    /// Has the records numbered.
    pub(crate) fn set_numbers(&mut self, numbers: Numbers) {
        *self.open.numbers() = Some(numbers);
    }

    pub(crate) fn set_max_room(&mut self, bytes: usize) {
        self.open.set_max_room(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.is_empty()
    }

    /// Latest time to complete an open aggregate, if its record is the only one that waits.
    pub(crate) fn just_opened(&self) -> Option<Instant> {
        if self.ready.is_empty() && self.open.is_single() { self.open_due() } else { None }
    }

    /// Returns whether no open aggregate has room for another record of `bytes`, or hardly.
    pub(crate) fn is_full(&self, bytes: usize) -> bool {
        let max_bytes = self.limits.map_or(0, |limits| limits.max_bytes);
        self.open.is_empty() || self.open.size_bytes() + bytes + RECORD_OVERHEAD_BYTES > max_bytes
    }

    pub(crate) fn front(&self) -> Option<&KinesisRecord<T>> {
        self.ready.front()
    }

    /// The record that arrived first.
    pub(crate) fn first(&self) -> Option<&Course> {
        let ready = self.front().map(KinesisRecord::first);
        ready.into_iter().chain(self.open.first()).min_by_key(|first| first.number)
    }

    /// Latest time to send the first complete Kinesis record.
    pub(crate) fn front_due(&self) -> Option<Instant> {
        self.front().map(|front| front.first().arrived + self.packing.buffered + self.packing.linger)
    }

    /// Latest time to complete an open aggregate, if it is not behind another one.
    pub(crate) fn open_due(&self) -> Option<Instant> {
        let first = self.open.first().filter(|_| self.is_open_next());
        first.map(|first| first.arrived + self.packing.buffered)
    }

    /// Adds a record later than all others.
    #[inline]
    pub(crate) fn push(&mut self, record: Pending<T>) {
        let Some(limits) = self.limits.filter(|_| !record.course.is_alone()) else {
            return self.push_plain(record);
        };
        let pushed = self.open.try_push(record, limits).or_else(|record| {
            self.complete_for(&record);
            self.open.try_push(record, limits)
        });
        match pushed {
            Ok(complete) => complete.into_iter().for_each(|record| self.add_complete(record)),
            Err(record) => self.push_plain(record),
        }
    }

    fn push_plain(&mut self, record: Pending<T>) {
        self.complete_for(&record);
        let number = self.number_alone(&record.course);
        self.add_complete(KinesisRecord::alone_numbered(
            record,
            number,
            self.packing.key,
            self.packing.max_bytes_alone,
        ));
    }

    /// Number of a record that is sent alone: the one it was sent with, if at all, else the next one.
    fn number_alone(&mut self, course: &Course) -> Option<RecordNumber> {
        let numbers = self.open.numbers().as_mut()?;
        if course.was_sent() { course.number() } else { Some(numbers.take(1)) }
    }

    /// Completes aggregates that have waited long enough, unless they have to wait behind another one, or begin with a lower
    /// number.
    pub(crate) fn complete_due(&mut self, now: Instant, urgent_before: u64) {
        let (buffered, is_next) = (self.packing.buffered, self.is_open_next());
        let is_due = |first: &Course| is_next && first.arrived + buffered <= now;
        self.complete_if(|first| is_due(first) || first.number < urgent_before);
    }

    /// Returns whether what is open could be sent at once if it were complete: in stripes one aggregate is under way at a time.
    fn is_open_next(&self) -> bool {
        self.packing.max_stripes == 1 || self.ready.aggregates == 0
    }

    /// Completes all aggregates.
    pub(crate) fn complete(&mut self) {
        self.complete_if(|_| true);
    }

    fn complete_if(&mut self, wanted: impl Fn(&Course) -> bool) {
        while let Some(record) = self.open.take_if(&wanted) {
            self.add_complete(record);
        }
    }

    fn complete_for(&mut self, record: &Pending<T>) {
        if let Some(record) = self.open.take_for(record) {
            self.add_complete(record);
        }
    }

    fn add_complete(&mut self, record: KinesisRecord<T>) {
        match &self.packing.compressing {
            None => self.ready.add(record),
            Some(compressing) => {
                let compressing = compressing.clone();
                self.add_compressed(record, &compressing);
            }
        }
    }

    fn add_compressed(&mut self, record: KinesisRecord<T>, compressing: &Compressing) {
        let max_bytes = |limits: Option<Limits>| limits.map_or(0, |limits| limits.max_bytes);
        let (wanted, estimate) = (max_bytes(self.packing.limits), max_bytes(self.limits));
        let (is_aggregate, mut fill) = (record.is_aggregate(), self.fill);
        let learn = |content, compressed| fill.learn(content, compressed, estimate, wanted);
        let complete = compressing.compress(record, wanted, learn);
        complete.into_iter().for_each(|record| self.ready.add(record));
        if is_aggregate {
            self.set_fill(fill);
        }
    }

    /// Adds a failed Kinesis record: whole, unless an aggregate that begins earlier may have later records. Such a one was made
    /// meanwhile, of records that had been those of several stripes.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>) {
        let number = record.first().number;
        let is_open = !self.packing.by_key && self.open.first().is_some_and(|first| first.number < number);
        let may_have_later = |other: &KinesisRecord<T>| other.last().number > number && other.hash_keys().are_mixed();
        if is_open || self.ready.before(number).any(may_have_later) {
            return self.merge(record.into_records());
        }
        self.ready.add(record);
    }

    /// Adds records of any order and groups all records anew.
    pub(crate) fn merge(&mut self, records: Vec<Pending<T>>) {
        let mut all = self.take_all();
        all.extend(records);
        all.sort_by_key(|record| record.course.number);
        all.into_iter().for_each(|record| self.push(record));
    }

    /// Takes out the first complete Kinesis record. Those behind it may be given their digests with it.
    pub(crate) fn pop(&mut self) -> Option<KinesisRecord<T>> {
        self.ready.digest_ahead();
        self.ready.pop()
    }

    /// Takes out all records. Those of a partition key are in order.
    pub(crate) fn take_all(&mut self) -> Vec<Pending<T>> {
        self.complete();
        self.ready.take_all()
    }

    pub(crate) fn take_arrived_by(&mut self, limit: Instant) -> Vec<Pending<T>> {
        self.complete_if(|first| first.arrived <= limit);
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        while self.front().is_some_and(|front| front.first().arrived <= limit) {
            let Some(record) = self.ready.pop() else { break };
            let (late, in_time): (Vec<_>, Vec<_>) =
                record.into_records().into_iter().partition(|record| record.course.arrived <= limit);
            taken.extend(late);
            rest.extend(packed(in_time, self.packing.key, self.packing.compressing.as_ref()));
        }
        rest.into_iter().for_each(|record| self.ready.add(record));
        taken
    }
}

#[cfg(test)]
mod tests;
