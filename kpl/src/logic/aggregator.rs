//! Groups the user records of one shard into Kinesis records.
//!
//! - (A) Records leave in the order of their numbers, whatever the order in which they came.
//! - (B) An aggregate holds at least two records and is not longer than the limit.
//! - (C) A record that goes alone, or is too long for company, is sent as it is; what was put before goes before.
//! - (D) With aggregation, data that are an aggregate arrive as they were put, with company or without: alone, they are in an
//!   aggregate of one. That may be as long as a record may be.
//!
//! With an aggregate for each partition key, (A) and (C) hold for the records of one key.

mod open;
mod spare;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::open::Open;
pub(crate) use self::spare::Spare;
use super::{
    packed::Packed,
    pending::{Course, Detach, KinesisRecord, Pending},
};
use crate::{
    aggregated::Sealed,
    config::{AGGREGATION_MIN_BYTES, AggregateKey, Aggregation, Config},
    digest::LANES,
};

/// How records share Kinesis records, and for how long they wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packing {
    /// `None` for no aggregates.
    pub(crate) limits: Option<Limits>,
    /// Whether the records of an aggregate have the same partition key and the same hash key.
    pub(crate) by_key: bool,
    pub(crate) key: AggregateKey,
    /// How long a record waits for others.
    pub(crate) buffered: Duration,
    /// How long a Kinesis record waits for those of other shards, on top.
    pub(crate) linger: Duration,
    /// Most bytes of room that all open aggregates together may have left over.
    pub(crate) spare_bytes: usize,
    /// Most bytes of an aggregate of one; 0 without aggregation.
    pub(crate) max_bytes_alone: usize,
}

/// One in so many bytes of the buffer may be left over.
const SPARE_PART: usize = 8;

/// Where an aggregate ends to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_bytes: usize,
    pub(crate) max_records: usize,
}

impl Limits {
    fn are_reached<T: Detach>(self, packed: &Packed<T>) -> bool {
        packed.len() >= self.max_records || packed.content().size_bytes() == self.max_bytes
    }
}

impl Packing {
    /// For Kinesis records of up to `max_record_bytes`.
    pub(crate) fn of(config: &Config, max_record_bytes: usize) -> Self {
        let by_key = matches!(config.aggregation, Aggregation::ByPartitionKey { .. });
        let key = if by_key { AggregateKey::FirstRecord } else { config.aggregate_key };
        let room = max_record_bytes.saturating_sub(key.max_bytes()).max(AGGREGATION_MIN_BYTES);
        let limits = config.aggregation.limits();
        let limits = limits.map(|(max_bytes, max_records)| Limits { max_bytes: max_bytes.min(room), max_records });
        Self {
            limits,
            by_key,
            key,
            buffered: config.record_max_buffered_time,
            linger: config.linger(),
            spare_bytes: config.max_outstanding_bytes / SPARE_PART,
            max_bytes_alone: limits.map_or(0, |_| room),
        }
    }

    /// For records of unknown shards.
    pub(crate) fn plain(self) -> Self {
        Self { limits: None, linger: Duration::ZERO, ..self }
    }
}

/// The user records that wait for one shard.
#[derive(Debug)]
pub(crate) struct Aggregator<T: Detach> {
    packing: Packing,
    open: Open<T>,
    /// In the order of their first records' numbers.
    ready: VecDeque<KinesisRecord<T>>,
    ready_bytes: usize,
    ready_aggregates: usize,
}

impl<T: Detach> Aggregator<T> {
    pub(crate) fn new(packing: Packing) -> Self {
        let open = Open::new(packing.by_key);
        Self { packing, open, ready: VecDeque::new(), ready_bytes: 0, ready_aggregates: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.open.is_empty()
    }

    /// Whether there is but one record, and it may yet get company.
    pub(crate) fn has_just_opened(&self) -> bool {
        self.ready.is_empty() && self.open.is_single()
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
    pub(crate) fn first(&self) -> Option<&Course> {
        let (ready, open) = (self.front().map(KinesisRecord::first), self.open.first());
        match (ready, open) {
            (Some(ready), Some(open)) if open.number < ready.number => Some(open),
            (ready, open) => ready.or(open),
        }
    }

    /// When the first complete Kinesis record is to be sent at the latest.
    pub(crate) fn front_due(&self) -> Option<Instant> {
        let first = self.front()?.first();
        Some(first.arrived + self.packing.buffered + self.packing.linger)
    }

    /// When an open aggregate is to be completed at the latest.
    pub(crate) fn open_due(&self) -> Option<Instant> {
        self.open.first().map(|first| first.arrived + self.packing.buffered)
    }

    /// Adds a record that is later than all others.
    pub(crate) fn push(&mut self, record: Pending<T>, spare: &mut Spare) {
        let Some(limits) = self.packing.limits.filter(|_| !record.course.is_alone()) else {
            return self.push_plain(record, spare);
        };
        let pushed = self.open.try_push(record, limits, spare).or_else(|record| {
            self.complete_for(&record, spare);
            self.open.try_push(record, limits, spare)
        });
        match pushed {
            Ok(None) => {}
            Ok(Some(complete)) => self.add(complete, spare),
            Err(record) => self.push_plain(record, spare),
        }
    }

    fn push_plain(&mut self, record: Pending<T>, spare: &mut Spare) {
        self.complete_for(&record, spare);
        self.put_back(KinesisRecord::alone(record, self.packing.key, self.packing.max_bytes_alone));
    }

    /// Completes all open aggregates: no record joins them any more.
    pub(crate) fn complete(&mut self) {
        self.complete_if(|_| true, &mut Spare::default());
    }

    /// Completes the open aggregates whose time has come.
    pub(crate) fn complete_due(&mut self, now: Instant, spare: &mut Spare) {
        let buffered = self.packing.buffered;
        self.complete_if(|first| first.arrived + buffered <= now, spare);
    }

    /// Completes the open aggregates that begin with a lower number.
    pub(crate) fn complete_before(&mut self, number: u64, spare: &mut Spare) {
        self.complete_if(|first| first.number < number, spare);
    }

    fn complete_if(&mut self, wanted: impl Fn(&Course) -> bool, spare: &mut Spare) {
        while let Some(packed) = self.open.take_if(&wanted) {
            self.add(packed, spare);
        }
    }

    fn complete_for(&mut self, record: &Pending<T>, spare: &mut Spare) {
        if let Some(packed) = self.open.take_for(record) {
            self.add(packed, spare);
        }
    }

    fn add(&mut self, packed: Packed<T>, spare: &mut Spare) {
        if let Some(record) = KinesisRecord::of(packed, self.packing.key, spare) {
            self.put_back(record);
        }
    }

    /// Adds a complete Kinesis record, or puts one back that was not stored.
    pub(crate) fn put_back(&mut self, record: KinesisRecord<T>) {
        let number = record.first().number;
        let place = match self.ready.back() {
            Some(last) if last.first().number > number => {
                self.ready.partition_point(|other| other.first().number < number)
            }
            _ => self.ready.len(),
        };
        self.ready_bytes += record.size_bytes();
        self.ready_aggregates += usize::from(record.is_aggregate());
        self.ready.insert(place, record);
    }

    /// Adds records of any order and packs everything anew.
    pub(crate) fn merge(&mut self, records: Vec<Pending<T>>) {
        let mut all = self.take_all();
        all.extend(records);
        all.sort_by_key(|record| record.course.number);
        let mut spare = Spare::default();
        all.into_iter().for_each(|record| self.push(record, &mut spare));
    }

    /// Gives the first complete Kinesis records their digests, if there are enough that have none: those of several
    /// together cost little more than that of one.
    pub(crate) fn digest_ahead(&mut self) {
        let next = self.ready.iter_mut().take(LANES).filter_map(KinesisRecord::content_mut);
        let without: Vec<_> = next.filter(|sealed| !sealed.has_digest()).collect();
        if without.len() > LANES / 2 {
            Sealed::digest_all(without.into_iter());
        }
    }

    /// The first complete Kinesis record.
    pub(crate) fn pop(&mut self) -> Option<KinesisRecord<T>> {
        let record = self.ready.pop_front()?;
        self.ready_bytes -= record.size_bytes();
        self.ready_aggregates -= usize::from(record.is_aggregate());
        Some(record)
    }

    /// Everything. Records of a partition key are in order.
    pub(crate) fn take_all(&mut self) -> Vec<Pending<T>> {
        self.complete();
        (self.ready_bytes, self.ready_aggregates) = (0, 0);
        self.ready.drain(..).flat_map(KinesisRecord::into_records).collect()
    }

    /// Takes out what arrived at `limit` or before.
    pub(crate) fn take_arrived_by(&mut self, limit: Instant) -> Vec<Pending<T>> {
        self.complete_if(|first| first.arrived <= limit, &mut Spare::default());
        let mut taken = Vec::new();
        let mut rest = Vec::new();
        while self.front().is_some_and(|front| front.first().arrived <= limit) {
            let Some(record) = self.pop() else { break };
            let (late, in_time): (Vec<_>, Vec<_>) =
                record.into_records().into_iter().partition(|record| record.course.arrived <= limit);
            taken.extend(late);
            rest.extend(KinesisRecord::packed(in_time, self.packing.key));
        }
        rest.into_iter().for_each(|record| self.put_back(record));
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{hash_key::HashKey, record::UserRecord, testing::start};

    fn packing(max_bytes: usize, max_records: usize) -> Packing {
        let (buffered, linger) = (Duration::from_millis(100), Duration::from_millis(20));
        let limits = Some(Limits { max_bytes, max_records });
        let (spare_bytes, max_bytes_alone) = (1 << 20, 1 << 20);
        Packing { limits, by_key: false, key: AggregateKey::Constant, buffered, linger, spare_bytes, max_bytes_alone }
    }

    fn pending(number: u64, data_bytes: usize, arrived: Instant) -> Pending<UserRecord> {
        let record = UserRecord::new(format!("k{}", number % 7), vec![0; data_bytes]);
        let hash_key = record.hash_key();
        Pending::new(record, hash_key, number, arrived)
    }

    fn numbers(courses: &[Course]) -> Vec<u64> {
        courses.iter().map(|course| course.number).collect()
    }

    fn numbers_of(records: &[Pending<UserRecord>]) -> Vec<u64> {
        records.iter().map(|record| record.course.number).collect()
    }

    #[test]
    fn the_count_limit_completes_an_aggregate() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(51_200, 3));

        (0..7).for_each(|number| aggregator.push(pending(number, 10, now), &mut Spare::default()));

        assert_eq!(aggregator.ready_len(), 2);
        assert_eq!(numbers(aggregator.pop().unwrap().courses()), [0, 1, 2]);
        assert_eq!(numbers_of(&aggregator.take_all()), [3, 4, 5, 6]);
    }

    #[test]
    fn a_record_beyond_the_limit_goes_plain_between_the_others() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(1000, 100));

        for (number, data_bytes) in [(0, 10), (1, 10), (2, 1000), (3, 10)] {
            aggregator.push(pending(number, data_bytes, now), &mut Spare::default());
        }
        aggregator.complete();

        let sizes: Vec<_> =
            aggregator.ready.iter().map(|record| (record.is_aggregate(), record.courses().len())).collect();
        assert_eq!(sizes, [(true, 2), (false, 1), (false, 1)]);
    }

    #[test]
    fn a_single_record_is_never_wrapped() {
        let mut aggregator = Aggregator::new(packing(51_200, 100));

        aggregator.push(pending(0, 10, start()), &mut Spare::default());
        aggregator.complete();

        assert!(!aggregator.front().unwrap().is_aggregate());
        assert_eq!(aggregator.front().unwrap().size_bytes(), 12);
    }

    #[test]
    fn places_returned_records_before_later_ones() {
        let now = start();
        let mut aggregator = Aggregator::new(packing(51_200, 2));
        (0..6).for_each(|number| aggregator.push(pending(number, 10, now), &mut Spare::default()));
        let (first, second) = (aggregator.pop().unwrap(), aggregator.pop().unwrap());

        aggregator.put_back(second);
        aggregator.put_back(first);

        assert_eq!(numbers_of(&aggregator.take_all()), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn late_records_are_taken_out_of_their_aggregate() {
        let now = start();
        let later = now + Duration::from_secs(1);
        let mut aggregator = Aggregator::new(packing(51_200, 3));
        for number in 0..5 {
            aggregator.push(pending(number, 10, if number < 2 { now } else { later }), &mut Spare::default());
        }

        assert_eq!(numbers_of(&aggregator.take_arrived_by(now)), [0, 1]);
        assert_eq!(numbers(aggregator.front().unwrap().courses()), [2]);
        assert_eq!(numbers_of(&aggregator.take_arrived_by(later)), [2, 3, 4]);
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
            late.into_iter().for_each(|record| aggregator.push(record, &mut Spare::default()));

            aggregator.merge(records);
            aggregator.complete();

            let bytes: usize = aggregator.ready.iter().map(KinesisRecord::size_bytes).sum();
            prop_assert_eq!(aggregator.ready_bytes(), bytes);
            let mut left = Vec::new();
            while let Some(mut record) = aggregator.pop() {
                aggregator.digest_ahead();
                if let KinesisRecord::Aggregate(packed, _) = &mut record {
                    prop_assert!((2..=10).contains(&packed.len()) && packed.content().size_bytes() <= max_bytes);
                    Sealed::digest_all([packed.content_mut()].into_iter());
                    prop_assert_eq!(record.entry().data.len() + 1, record.size_bytes());
                }
                left.extend(numbers(record.courses()));
            }
            prop_assert_eq!(left, (0..sizes.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!((aggregator.ready_bytes(), aggregator.ready_aggregates()), (0, 0));
        }

        #[test]
        fn mixes_no_keys_and_keeps_order_with_an_aggregate_for_each_key(
            records in prop::collection::vec((0..4_u8, 0..3_u8, 0_usize..300), 1..80),
            max_bytes in 64_usize..1000,
            due in 0..80_u64,
        ) {
            let now = start();
            let mut aggregator = Aggregator::new(Packing { by_key: true, ..packing(max_bytes, 10) });
            for (number, (key, hash_key, bytes)) in (0..).zip(&records) {
                let hash_key = HashKey((*hash_key).into());
                let record = UserRecord::new(format!("k{key}"), vec![0; *bytes]).with_explicit_hash_key(hash_key);
                aggregator.push(Pending::new(record, hash_key, number, now), &mut Spare::default());
                if number == due {
                    aggregator.complete_before(due / 2, &mut Spare::default());
                }
            }
            aggregator.complete();

            let mut last = std::collections::HashMap::new();
            let mut left = 0;
            while let Some(record) = aggregator.pop() {
                let group =
                    |record: &Pending<UserRecord>| (record.as_ref().partition_key().to_owned(), record.hash_key);
                let records = record.into_records();
                let key = group(&records[0]);
                for record in &records {
                    let number = record.course.number;
                    prop_assert_eq!(&group(record), &key);
                    prop_assert!(last.insert(key.clone(), number).is_none_or(|before| before < number));
                    left += 1;
                }
            }
            prop_assert_eq!(left, records.len());
        }
    }
}
