//! Groups the user records of one shard into Kinesis records.
//!
//! - (A) Records leave in the order of their numbers, whatever the order in which they came.
//! - (B) An aggregate holds at least two records and is not longer than the limit.
//! - (C) A record that goes alone, or is too long for company, is sent as it is; what was put before goes before.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::pending::{KinesisRecord, Pending};
use crate::{Aggregation, UserRecord, aggregated::Aggregate, config::Config};

/// How records share Kinesis records, and for how long they wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Most bytes and most records of an aggregate; `None` for no aggregates.
    pub(crate) limits: Option<(usize, usize)>,
    /// How long a record waits for others.
    pub(crate) buffered: Duration,
    /// How long a Kinesis record waits for those of other shards, on top.
    pub(crate) linger: Duration,
}

impl Packing {
    /// For Kinesis records of up to `max_record_bytes`.
    pub(crate) fn of(config: &Config, max_record_bytes: usize) -> Self {
        let limits = match config.aggregation {
            Aggregation::Off => None,
            // One byte of the Kinesis record is its partition key.
            Aggregation::On { max_bytes, max_records } => Some((max_bytes.min(max_record_bytes - 1), max_records)),
        };
        Self { limits, buffered: config.record_max_buffered_time, linger: config.linger() }
    }

    /// For records of unknown shards.
    pub(crate) fn plain(self) -> Self {
        Self { limits: None, linger: Duration::ZERO, ..self }
    }
}

/// The user records that wait for one shard.
#[derive(Debug)]
pub(crate) struct Aggregator<T> {
    packing: Packing,
    open: Aggregate<Pending<T>>,
    ready: VecDeque<KinesisRecord<T>>,
    ready_bytes: usize,
    ready_aggregates: usize,
}

impl<T: AsRef<UserRecord>> Aggregator<T> {
    pub(crate) fn new(packing: Packing) -> Self {
        Self { packing, open: Aggregate::new(), ready: VecDeque::new(), ready_bytes: 0, ready_aggregates: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.is_empty()
    }

    /// Whether there is but one record, and it may yet get company.
    pub(crate) fn has_just_opened(&self) -> bool {
        self.ready.is_empty() && self.open.len() == 1
    }

    /// Number of Kinesis records that are complete.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Bytes of the Kinesis records that are complete, partition keys included.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Number of aggregates that are complete.
    pub(crate) fn ready_aggregates(&self) -> usize {
        self.ready_aggregates
    }

    /// The first Kinesis record that is complete.
    pub(crate) fn front(&self) -> Option<&KinesisRecord<T>> {
        self.ready.front()
    }

    /// The record that has waited longest.
    pub(crate) fn first(&self) -> Option<&Pending<T>> {
        self.front().map(KinesisRecord::first).or_else(|| self.open.records().first())
    }

    /// When the first complete Kinesis record is to be sent at the latest.
    pub(crate) fn front_due(&self) -> Option<Instant> {
        let first = self.front()?.first();
        Some(first.arrived + self.packing.buffered + self.packing.linger)
    }

    /// When the open aggregate is to be completed at the latest.
    pub(crate) fn open_due(&self) -> Option<Instant> {
        self.open.records().first().map(|first| first.arrived + self.packing.buffered)
    }

    /// Number of the first record in the open aggregate.
    pub(crate) fn open_number(&self) -> Option<u64> {
        self.open.records().first().map(|first| first.number)
    }

    /// Adds a record that is later than all others.
    pub(crate) fn push(&mut self, record: Pending<T>) {
        let Some((max_bytes, max_records)) = self.packing.limits.filter(|_| !record.is_alone()) else {
            return self.push_plain(record);
        };
        if let Err(record) = self.open.try_push(record, max_bytes) {
            self.complete();
            if let Err(record) = self.open.try_push(record, max_bytes) {
                return self.push_plain(record);
            }
        }
        if self.open.len() >= max_records || self.open.size_bytes() == max_bytes {
            self.complete();
        }
    }

    fn push_plain(&mut self, record: Pending<T>) {
        self.complete();
        self.insert(self.ready.len(), KinesisRecord::Plain(record));
    }

    /// Completes the open aggregate: no record joins it any more.
    pub(crate) fn complete(&mut self) {
        if let Some(record) = KinesisRecord::of(std::mem::take(&mut self.open)) {
            self.insert(self.ready.len(), record);
        }
    }

    /// Puts a Kinesis record back that was not stored.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>) {
        let number = record.first().number;
        let later = self.ready.iter().position(|other| other.first().number > number);
        self.insert(later.unwrap_or(self.ready.len()), record);
    }

    /// Adds records of any order and packs everything anew.
    pub(crate) fn merge(&mut self, records: Vec<Pending<T>>) {
        let mut all = self.take_all();
        all.extend(records);
        all.sort_by_key(|record| record.number);
        all.into_iter().for_each(|record| self.push(record));
    }

    /// The first complete Kinesis record.
    pub(crate) fn pop(&mut self) -> Option<KinesisRecord<T>> {
        let record = self.ready.pop_front()?;
        self.ready_bytes -= record.size_bytes();
        self.ready_aggregates -= usize::from(record.is_aggregate());
        Some(record)
    }

    /// Everything, in order.
    pub(crate) fn take_all(&mut self) -> Vec<Pending<T>> {
        self.complete();
        (self.ready_bytes, self.ready_aggregates) = (0, 0);
        self.ready.drain(..).flat_map(KinesisRecord::into_records).collect()
    }

    /// Takes out what arrived at `limit` or before.
    pub(crate) fn take_arrived_by(&mut self, limit: Instant) -> Vec<Pending<T>> {
        let mut taken = Vec::new();
        while self.first().is_some_and(|first| first.arrived <= limit) {
            if self.ready.is_empty() {
                self.complete();
            }
            let Some(record) = self.pop() else { break };
            let (late, in_time): (Vec<_>, Vec<_>) =
                record.into_records().into_iter().partition(|record| record.arrived <= limit);
            taken.extend(late);
            if let Some(record) = KinesisRecord::packed(in_time) {
                self.insert(0, record);
            }
        }
        taken
    }

    fn insert(&mut self, position: usize, record: KinesisRecord<T>) {
        self.ready_bytes += record.size_bytes();
        self.ready_aggregates += usize::from(record.is_aggregate());
        self.ready.insert(position, record);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::start;

    fn packing(max_bytes: usize, max_records: usize) -> Packing {
        let (buffered, linger) = (Duration::from_millis(100), Duration::from_millis(20));
        Packing { limits: Some((max_bytes, max_records)), buffered, linger }
    }

    fn pending(number: u64, data_bytes: usize, arrived: Instant) -> Pending<UserRecord> {
        let record = UserRecord::new(format!("k{}", number % 7), vec![0; data_bytes]);
        let hash_key = record.hash_key();
        Pending::new(record, hash_key, number, arrived)
    }

    fn numbers(records: &[Pending<UserRecord>]) -> Vec<u64> {
        records.iter().map(|record| record.number).collect()
    }

    #[test]
    fn the_count_limit_completes_an_aggregate() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(51_200, 3));

        (0..7).for_each(|number| aggregator.push(pending(number, 10, now)));

        assert_eq!(aggregator.ready_len(), 2);
        assert_eq!(numbers(aggregator.pop().unwrap().records()), [0, 1, 2]);
        assert_eq!(numbers(&aggregator.take_all()), [3, 4, 5, 6]);
    }

    #[test]
    fn a_record_beyond_the_limit_goes_plain_between_the_others() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(1000, 100));

        for (number, data_bytes) in [(0, 10), (1, 10), (2, 1000), (3, 10)] {
            aggregator.push(pending(number, data_bytes, now));
        }
        aggregator.complete();

        let sizes: Vec<_> =
            aggregator.ready.iter().map(|record| (record.is_aggregate(), record.records().len())).collect();
        assert_eq!(sizes, [(true, 2), (false, 1), (false, 1)]);
    }

    #[test]
    fn a_single_record_is_never_wrapped() {
        let mut aggregator = Aggregator::new(packing(51_200, 100));

        aggregator.push(pending(0, 10, start()));
        aggregator.complete();

        assert!(!aggregator.front().unwrap().is_aggregate());
        assert_eq!(aggregator.front().unwrap().size_bytes(), 12);
    }

    #[test]
    fn what_comes_back_goes_before_what_is_later() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(51_200, 2));
        (0..6).for_each(|number| aggregator.push(pending(number, 10, now)));
        let (first, second) = (aggregator.pop().unwrap(), aggregator.pop().unwrap());

        aggregator.put_back(second);
        aggregator.put_back(first);

        assert_eq!(numbers(&aggregator.take_all()), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn late_records_are_taken_out_of_their_aggregate() {
        let now = start();
        let later = now + Duration::from_secs(1);
        let mut aggregator = Aggregator::new(packing(51_200, 3));
        for number in 0..5 {
            aggregator.push(pending(number, 10, if number < 2 { now } else { later }));
        }

        assert_eq!(numbers(&aggregator.take_arrived_by(now)), [0, 1]);
        assert_eq!(numbers(aggregator.front().unwrap().records()), [2]);
        assert_eq!(numbers(&aggregator.take_arrived_by(later)), [2, 3, 4]);
        assert!(aggregator.is_empty() && aggregator.ready_bytes() == 0 && aggregator.ready_aggregates() == 0);
    }

    proptest! {
        #[test]
        fn records_leave_in_order_within_limits(
            sizes in prop::collection::vec(0_usize..3000, 1..80),
            mixed in any::<prop::sample::Index>(),
            max_bytes in 64_usize..4000,
        ) {
            let now = start();
            let mut records: Vec<_> = sizes.iter().enumerate().map(|(n, size)| pending(n as u64, *size, now)).collect();
            let late = records.split_off(mixed.index(sizes.len()));
            let mut aggregator = Aggregator::new(packing(max_bytes, 10));
            late.into_iter().for_each(|record| aggregator.push(record));

            aggregator.merge(records);
            aggregator.complete();

            let bytes: usize = aggregator.ready.iter().map(KinesisRecord::size_bytes).sum();
            prop_assert_eq!(aggregator.ready_bytes(), bytes);
            let mut left = Vec::new();
            while let Some(record) = aggregator.pop() {
                if let KinesisRecord::Aggregate(aggregate) = &record {
                    prop_assert!((2..=10).contains(&aggregate.len()) && aggregate.size_bytes() <= max_bytes);
                    prop_assert_eq!(record.entry().data.len() + 1, record.size_bytes());
                }
                left.extend(numbers(record.records()));
            }
            prop_assert_eq!(left, (0..sizes.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!((aggregator.ready_bytes(), aggregator.ready_aggregates()), (0, 0));
        }
    }
}
