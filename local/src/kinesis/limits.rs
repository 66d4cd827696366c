//! Limits of the account: calls of the control plane, and the bytes that are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::Error;
use crate::meter::Meter;
use crate::timestamp::Millis;

/// Default maximum of bytes that are kept: 4 GiB.
pub(crate) const DEFAULT_RETAINED_BYTES: u64 = 4 << 30;

/// Default limit of an account's open shards, which the service raises on request.
/// docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html, for us-east-1.
const ACCOUNT_SHARDS: usize = 20_000;

/// Maximum number of on-demand streams of an account; reported but not enforced. Same source.
pub(super) const MAX_ON_DEMAND_STREAMS: usize = 50;

const DAY: Duration = Duration::from_secs(86_400);

/// Streams of an account that are CREATING at once.
/// docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
pub(super) const MAX_CREATING_STREAMS: usize = 5;

/// Switches of the capacity mode of a stream in 24 hours.
/// docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamMode.html
pub(super) const MAX_MODE_SWITCHES: usize = 2;

/// Calls of the control plane in a second, as their API references say. Those that are per stream at the service
/// (ListShards, DescribeStreamConsumer, ListStreamConsumers, UpdateShardCount) are counted for the account here.
const CALLS: [(&str, u64); 32] = [
    ("AddTagsToStream", 5),
    ("CreateStream", 5),
    ("DecreaseStreamRetentionPeriod", 5),
    ("DeleteResourcePolicy", 5),
    ("DeleteStream", 5),
    ("DeregisterStreamConsumer", 5),
    ("DescribeLimits", 1),
    ("DescribeStream", 10),
    ("DescribeStreamConsumer", 20),
    ("DescribeStreamSummary", 20),
    ("DisableEnhancedMonitoring", 5),
    ("EnableEnhancedMonitoring", 5),
    ("GetResourcePolicy", 5),
    ("IncreaseStreamRetentionPeriod", 5),
    ("ListShards", 1000),
    ("ListStreamConsumers", 5),
    ("ListStreams", 5),
    ("ListTagsForResource", 5),
    ("ListTagsForStream", 5),
    ("MergeShards", 5),
    ("PutResourcePolicy", 5),
    ("RegisterStreamConsumer", 5),
    ("RemoveTagsFromStream", 5),
    ("SplitShard", 5),
    ("StartStreamEncryption", 5),
    ("StopStreamEncryption", 5),
    ("TagResource", 5),
    ("UntagResource", 5),
    ("UpdateMaxRecordSize", 5),
    ("UpdateShardCount", 5),
    ("UpdateStreamMode", 5),
    ("UpdateStreamRecordDistributionStrategy", 5),
];

/// The limits in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// True if throughput and calls are limited as at the service.
    pub(crate) are_enforced: bool,
    /// Bytes of records that are kept at most, their overhead included. What is beyond is throttled.
    pub(crate) retained_bytes: u64,
    /// Maximum number of open shards of the account.
    pub(crate) account_shards: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { are_enforced: false, retained_bytes: DEFAULT_RETAINED_BYTES, account_shards: ACCOUNT_SHARDS }
    }
}

/// The use of the calls of the control plane.
#[derive(Debug, Default)]
pub(super) struct CallMeters(BTreeMap<&'static str, Meter>);

impl CallMeters {
    /// Uses a call of the operation, if one is left.
    pub(super) fn admit(&mut self, operation: &str, now: Millis) -> Result<(), Error> {
        let Ok(at) = CALLS.binary_search_by_key(&operation, |(name, _)| name) else { return Ok(()) };
        let (name, limit) = CALLS[at];
        if self.0.entry(name).or_default().admit(1, limit, now) {
            return Ok(());
        }
        Err(Error::limit_exceeded(format!("Rate exceeded for operation {name} of account {}.", crate::ACCOUNT_ID)))
    }
}

/// Passes if something was done fewer times than the limit in 24 hours, and counts this time.
pub(super) fn require_rare(times: &mut VecDeque<Millis>, limit: usize, done: &str, now: Millis) -> Result<(), Error> {
    while times.pop_front_if(|at| now.since(*at) >= DAY).is_some() {}
    if times.len() >= limit {
        return Err(Error::limit_exceeded(format!("{done} {limit} times in the last 24 hours.")));
    }
    times.push_back(now);
    Ok(())
}

/// Counts the bytes that all shards keep. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Retained(Arc<AtomicU64>);

impl Retained {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_calls_is_in_order() {
        assert!(CALLS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn calls_of_an_operation_are_counted_by_themselves() {
        let mut meters = CallMeters::default();
        for _ in 0..5 {
            meters.admit("ListStreams", Millis(1_000)).unwrap();
        }

        assert_eq!(meters.admit("ListStreams", Millis(1_999)).unwrap_err().code(), "LimitExceededException");
        meters.admit("DescribeStream", Millis(1_999)).unwrap();
        meters.admit("PutRecords", Millis(1_999)).unwrap();
        meters.admit("ListStreams", Millis(2_000)).unwrap();
    }
}
