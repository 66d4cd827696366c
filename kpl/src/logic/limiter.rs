//! Rate limit of one shard: token buckets for records and for bytes, both or neither.
//!
//! A throttling shard is sent less: each time, the rate falls by a third, at most once in 100 ms and down to a sixteenth. It
//! rises by a twentieth of the full rate for each second in which something is stored. Several producers thus share a stream.
//!
//! A bucket is kept as the time at which it will be full again, so that [`Limiter::available_at`] is exact.

use std::time::{Duration, Instant};

/// Records that a shard accepts per second.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const SHARD_RECORDS_PER_SECOND: u64 = 1000;
/// Bytes that a shard accepts per second. Source: as above.
const SHARD_BYTES_PER_SECOND: u64 = 1024 * 1024;
/// Burst of records after a pause. Source: KPL (aws/kinesis/core/limiter.h).
const RECORDS_BURST: u64 = 1000;
/// Burst of bytes after a pause: a record of maximum size. Source: as above.
const BYTES_BURST: u64 = 10 * 1024 * 1024;

/// Factor of the rate when the shard throttles.
const SLOWER: f64 = 2.0 / 3.0;
/// Minimum share of the full rate.
const MIN_SHARE: f64 = 1.0 / 16.0;
/// Share of the full rate regained per second.
const RECOVERY_PER_SECOND: f64 = 0.05;
/// Minimum time between two slow-downs: answers to simultaneous requests say the same.
const SLOWER_EVERY: Duration = Duration::from_millis(100);

/// Kinesis records, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    records: Bucket,
    bytes: Bucket,
    changed_at: Instant,
}

impl Limiter {
    /// `percent` of a shard's limit; bursts are not scaled. Source: KPL `RateLimit`.
    pub(crate) fn new(percent: u32, now: Instant) -> Self {
        let scaled = |per_second: u64| (per_second * u64::from(percent)).div_ceil(100);
        Self {
            records: Bucket::new(scaled(SHARD_RECORDS_PER_SECOND), RECORDS_BURST, now),
            bytes: Bucket::new(scaled(SHARD_BYTES_PER_SECOND), BYTES_BURST, now),
            changed_at: now,
        }
    }

    /// Time from which a Kinesis record of `bytes` is allowed; `now` if at once.
    pub(crate) fn available_at(&self, bytes: usize, now: Instant) -> Instant {
        self.records.available_at(1, now).max(self.bytes.available_at(bytes as u64, now))
    }

    /// Time from which `wanted` is allowed, or what flows in within `patience`, but no less than `least`; `now` if at once.
    pub(crate) fn gathered_at(&self, least: Amount, wanted: Amount, patience: Duration, now: Instant) -> Instant {
        let of = |bucket: &Bucket, least: usize, wanted: usize| {
            let cost = bucket.cost(wanted.max(least) as u64);
            bucket.at_cost(if cost <= patience { cost } else { patience.max(bucket.cost(least as u64)) }, now)
        };
        of(&self.records, least.records, wanted.records).max(of(&self.bytes, least.bytes, wanted.bytes))
    }

    pub(crate) fn take(&mut self, bytes: usize, now: Instant) {
        self.records.take(1, now);
        self.bytes.take(bytes as u64, now);
    }

    /// Slows down, and voids the burst.
    pub(crate) fn throttled(&mut self, now: Instant) {
        if self.bytes.share == 1.0 || now.saturating_duration_since(self.changed_at) >= SLOWER_EVERY {
            self.set_share((self.bytes.share * SLOWER).max(MIN_SHARE), now);
        }
        self.records.empty(now);
        self.bytes.empty(now);
    }

    pub(crate) fn stored(&mut self, now: Instant) {
        if self.bytes.share == 1.0 {
            return;
        }
        // A pause counts as a second at the most: it says nothing about what the shard takes.
        let since = now.saturating_duration_since(self.changed_at).min(Duration::from_secs(1));
        if since >= SLOWER_EVERY {
            self.set_share((self.bytes.share + RECOVERY_PER_SECOND * since.as_secs_f64()).min(1.0), now);
        }
    }

    fn set_share(&mut self, share: f64, now: Instant) {
        self.changed_at = now;
        self.records.set_share(share, now);
        self.bytes.set_share(share, now);
    }
}

#[derive(Debug, Clone)]
struct Bucket {
    per_second: u64,
    amount: u64,
    /// Present share of the full rate.
    share: f64,
    /// Time that an empty bucket takes to fill.
    capacity: Duration,
    full_at: Instant,
}

impl Bucket {
    fn new(per_second: u64, capacity: u64, now: Instant) -> Self {
        Self { per_second, amount: capacity, share: 1.0, capacity: time_for(capacity, per_second), full_at: now }
    }

    fn available_at(&self, amount: u64, now: Instant) -> Instant {
        self.at_cost(self.cost(amount), now)
    }

    /// Time from which what flows in within `cost` is there.
    fn at_cost(&self, cost: Duration, now: Instant) -> Instant {
        let full_after = self.full_at.max(now) + cost;
        if full_after <= now + self.capacity { now } else { full_after - self.capacity }
    }

    fn take(&mut self, amount: u64, now: Instant) {
        self.full_at = self.full_at.max(now) + self.cost(amount);
    }

    fn empty(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now + self.capacity);
    }

    /// Time in which `amount` flows in; at most that of a full bucket.
    fn cost(&self, amount: u64) -> Duration {
        let full_rate = time_for(amount, self.per_second);
        let cost = if self.share == 1.0 { full_rate } else { full_rate.div_f64(self.share) };
        cost.min(self.capacity)
    }

    /// Changes the rate, not the content.
    fn set_share(&mut self, share: f64, now: Instant) {
        let missing = self.full_at.saturating_duration_since(now).mul_f64(self.share / share);
        self.share = share;
        self.capacity = time_for(self.amount, self.per_second).div_f64(share);
        self.full_at = now + missing.min(self.capacity);
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

        limiter.throttled(now);

        let next = limiter.available_at(1, now) - now;
        assert!((next.as_secs_f64() - 0.0015).abs() < 1e-6, "{next:?}: a third slower");
    }

    #[test]
    fn a_shard_that_throttles_is_sent_less_until_it_recovers() {
        let mut now = start();
        let mut limiter = Limiter::new(100, now);
        let rate = |limiter: &mut Limiter, now| {
            limiter.records.empty(now);
            100.0 / time_to_take(&mut limiter.clone(), 100, 1, now).as_secs_f64()
        };

        limiter.throttled(now);
        limiter.throttled(now);
        assert!((rate(&mut limiter, now) - 667.0).abs() < 1.0, "at the same time counts once");
        for _ in 0..20 {
            now += SLOWER_EVERY;
            limiter.throttled(now);
        }
        assert!((rate(&mut limiter, now) - 62.5).abs() < 1.0, "a sixteenth at the least");
        for _ in 0..10 {
            now += Duration::from_secs(1);
            limiter.stored(now);
        }
        assert!((rate(&mut limiter, now) - 562.5).abs() < 1.0, "half of the rate in ten seconds");
        for _ in 0..100 {
            now += Duration::from_secs(60);
            limiter.stored(now);
        }
        assert!((rate(&mut limiter, now) - 1000.0).abs() < 1.0, "all of it in the end");
    }

    #[test]
    fn gathers_for_as_much_as_is_wanted_and_for_no_longer_than_its_patience() {
        let now = start();
        let mut limiter = Limiter::new(100, now);
        let patience = Duration::from_millis(20);
        let after = |limiter: &Limiter, records: usize, bytes: usize| {
            let least = Amount { records: 1, bytes: 1 };
            limiter.gathered_at(least, Amount { records, bytes }, patience, now) - now
        };

        assert_eq!(after(&limiter, 500, 1), Duration::ZERO, "the burst");
        (0..1000).for_each(|_| limiter.take(1, now));
        assert_eq!([1, 5, 20, 500].map(|records| after(&limiter, records, 1).as_millis()), [1, 5, 20, 20]);
        limiter.bytes.empty(now);
        assert_eq!(after(&limiter, 1, 1 << 20), patience);
        let large = Amount { records: 1, bytes: 1 << 20 };
        let at = limiter.gathered_at(large, large, patience, now);
        assert_eq!(at - now, Duration::from_secs(1), "a record of that size goes in the end");
    }

    proptest! {
        #[test]
        fn keeps_the_announced_times(
            percent in 1_u32..1000,
            takes in prop::collection::vec((1_usize..2_000_000, 0..10_u8), 1..100),
        ) {
            let mut now = start();
            let mut limiter = Limiter::new(percent, now);
            for (bytes, answer) in takes {
                match answer {
                    0 => limiter.throttled(now),
                    1..4 => limiter.stored(now),
                    _ => {}
                }
                now = limiter.available_at(bytes, now);
                prop_assert_eq!(limiter.available_at(bytes, now), now);
                limiter.take(bytes, now);
            }
        }
    }
}
