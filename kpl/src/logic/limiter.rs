//! Decides how soon a shard can take the next Kinesis record: token buckets for records and for bytes, both or neither.
//!
//! A bucket is kept as the instant at which it will be full again, which is exact: what [`Limiter::available_at`] says
//! comes true.

use std::time::{Duration, Instant};

/// Records that a shard takes each second.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const SHARD_RECORDS_PER_SECOND: u64 = 1000;
/// Bytes that a shard takes each second. Source: as above.
const SHARD_BYTES_PER_SECOND: u64 = 1024 * 1024;
/// Records that may go at once after a pause. Source: KPL (aws/kinesis/core/limiter.h).
const RECORDS_BURST: u64 = 1000;
/// Bytes that may go at once after a pause: a record of the greatest size. Source: KPL (aws/kinesis/core/limiter.h).
const BYTES_BURST: u64 = 10 * 1024 * 1024;

/// Limits what goes to one shard.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    records: Bucket,
    bytes: Bucket,
}

impl Limiter {
    /// `percent` of what a shard takes each second; bursts are not scaled. Source: KPL `RateLimit`.
    pub(crate) fn new(percent: u32, now: Instant) -> Self {
        let scaled = |per_second: u64| (per_second * u64::from(percent)).div_ceil(100);
        Self {
            records: Bucket::new(scaled(SHARD_RECORDS_PER_SECOND), RECORDS_BURST, now),
            bytes: Bucket::new(scaled(SHARD_BYTES_PER_SECOND), BYTES_BURST, now),
        }
    }

    /// When a Kinesis record of `bytes` may go; `now` if at once.
    pub(crate) fn available_at(&self, bytes: usize, now: Instant) -> Instant {
        self.records.available_at(1, now).max(self.bytes.available_at(bytes as u64, now))
    }

    /// A Kinesis record of `bytes` goes.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) {
        self.records.take(1, now);
        self.bytes.take(bytes as u64, now);
    }

    /// The shard is full: what was saved up for a burst is void.
    pub(crate) fn empty(&mut self, now: Instant) {
        self.records.empty(now);
        self.bytes.empty(now);
    }
}

#[derive(Debug, Clone)]
struct Bucket {
    per_second: u64,
    /// How long an empty bucket takes to fill.
    capacity: Duration,
    full_at: Instant,
}

impl Bucket {
    fn new(per_second: u64, capacity: u64, now: Instant) -> Self {
        Self { per_second, capacity: time_for(capacity, per_second), full_at: now }
    }

    fn available_at(&self, amount: u64, now: Instant) -> Instant {
        let full_after = self.full_at.max(now) + self.cost(amount);
        if full_after <= now + self.capacity { now } else { full_after - self.capacity }
    }

    fn take(&mut self, amount: u64, now: Instant) {
        self.full_at = self.full_at.max(now) + self.cost(amount);
    }

    fn empty(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now + self.capacity);
    }

    /// Time in which `amount` flows in; never more than a full bucket, or it could not be had at all.
    fn cost(&self, amount: u64) -> Duration {
        time_for(amount, self.per_second).min(self.capacity)
    }
}

fn time_for(amount: u64, per_second: u64) -> Duration {
    let nanos = u128::from(amount) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::start;

    /// Takes `count` records of `bytes` as soon as each is available; returns how long that took.
    fn time_to_take(limiter: &mut Limiter, count: usize, bytes: usize, mut now: Instant) -> Duration {
        let began = now;
        for _ in 0..count {
            now = limiter.available_at(bytes, now);
            limiter.take(bytes, now);
        }
        now - began
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let now = start();
        let mut limiter = Limiter::new(150, now);

        assert_eq!(time_to_take(&mut limiter, 1000, 100, now), Duration::ZERO);
        let after = time_to_take(&mut limiter, 1500, 100, now);
        assert!((after.as_secs_f64() - 1.0).abs() < 0.001, "{after:?}");
    }

    #[test]
    fn bytes_are_limited_besides_records() {
        let now = start();
        let mut limiter = Limiter::new(100, now);

        assert_eq!(time_to_take(&mut limiter, 10, 1 << 20, now), Duration::ZERO);
        assert_eq!(time_to_take(&mut limiter, 2, 1 << 20, now), Duration::from_secs(2));
    }

    #[test]
    fn a_record_of_the_greatest_size_can_be_had() {
        let now = start();
        let mut limiter = Limiter::new(1, now);
        limiter.take(1, now);

        assert!(limiter.available_at(10 << 20, now) > now);
        assert!(limiter.available_at(10 << 20, now) < now + Duration::from_secs(1));
    }

    #[test]
    fn a_full_shard_voids_the_burst() {
        let now = start();
        let mut limiter = Limiter::new(100, now);

        limiter.empty(now);

        assert_eq!(limiter.available_at(1, now), now + Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn what_is_announced_comes_true(percent in 1_u32..1000, sizes in prop::collection::vec(1_usize..2_000_000, 1..100)) {
            let mut now = start();
            let mut limiter = Limiter::new(percent, now);
            for bytes in sizes {
                now = limiter.available_at(bytes, now);
                prop_assert_eq!(limiter.available_at(bytes, now), now);
                limiter.take(bytes, now);
            }
        }
    }
}
