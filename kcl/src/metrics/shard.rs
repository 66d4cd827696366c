//! A shard's consumption metrics: names and dimensions are Java KCL's. Handles are made once: no allocation.
//!
//! | Operation | metrics | dimensions |
//! |---|---|---|
//! | ProcessTask | RecordsProcessed, DataBytesProcessed, MillisBehindLatest, Success, Time, RecordProcessor.processRecords.Time, KinesisDataFetcher.getRecords.Success and .Time, KinesisDataFetcher.getShardIterator.Success and .Time, UpdateLease.Success and .Time | ShardId, StreamId |
//! | ProcessTask | ExpiredIterator | StreamId |
//! | ApplicationTracker | MillisBehindLatest | |
//! | InitializeTask | RecordProcessor.initialize.Time | |
//! | ShutdownTask | RecordProcessor.shutdown.Time, CreateLease.Success and .Time, MissingMergeParentLease | |
//! | ShutdownTask | UpdateLease.Success and .Time | ShardId, StreamId |
//!
//! StreamId: in applications of several streams. MillisBehindLatest and what ends in Time are histograms in
//! milliseconds, others counters. MillisBehindLatest has also each batch's age at delivery (Java: only the reading's
//! lag).

use std::{future::Future, time::Duration};

use metrics::{Counter, Histogram, Label, counter, histogram};

use super::millis;
use crate::{model::Lease, time::now};

/// Calls of one kind: successes and durations.
#[derive(Debug)]
pub(crate) struct Calls {
    success: Counter,
    time: Histogram,
}

impl Calls {
    /// Named `<call>Success` and `<call>Time`.
    fn new(call: &str, labels: &[Label]) -> Self {
        let success = counter!(format!("{call}Success"), labels.iter());
        Self { success, time: histogram!(format!("{call}Time"), labels.iter()) }
    }

    pub(crate) fn record(&self, success: bool, took: Duration) {
        self.success.increment(u64::from(success));
        self.time.record(millis(took));
    }

    /// Awaits a call and records it.
    pub(crate) async fn counted<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let begun = now();
        let outcome = call.await;
        self.record(outcome.is_ok(), now() - begun);
        outcome
    }
}

#[derive(Debug)]
pub(crate) struct ShardRecorder {
    records: Counter,
    bytes: Counter,
    behind: Histogram,
    behind_of_application: Histogram,
    /// Batches, from deaggregation to the last record.
    pub(crate) task: Calls,
    pub(crate) process_records: Histogram,
    pub(crate) initialize: Histogram,
    pub(crate) shutdown: Histogram,
    pub(crate) get_records: Calls,
    pub(crate) get_iterator: Calls,
    pub(crate) expired_iterators: Counter,
    pub(crate) checkpoints: Calls,
    pub(crate) end: Calls,
    pub(crate) create_lease: Calls,
    pub(crate) missing_merge_parents: Counter,
}

impl ShardRecorder {
    pub(crate) fn new(lease: &Lease) -> Self {
        let stream = lease.stream.as_ref().map(|stream| Label::new("StreamId", stream.as_str().to_owned()));
        let labels = |operation: &'static str, of_shard: bool| -> Vec<Label> {
            let shard = of_shard.then(|| Label::new("ShardId", lease.shard_id.as_str().to_owned()));
            [Label::new("Operation", operation)].into_iter().chain(shard).chain(stream.clone()).collect()
        };
        let plain = |operation| [Label::new("Operation", operation)];
        let (process, end) = (labels("ProcessTask", true), labels("ShutdownTask", true));
        let (initialize, shutdown) = (plain("InitializeTask"), plain("ShutdownTask"));
        let application = plain("ApplicationTracker");
        Self {
            records: counter!("RecordsProcessed", process.iter()),
            bytes: counter!("DataBytesProcessed", process.iter()),
            behind: histogram!("MillisBehindLatest", process.iter()),
            behind_of_application: histogram!("MillisBehindLatest", application.iter()),
            task: Calls::new("", &process),
            process_records: histogram!("RecordProcessor.processRecords.Time", process.iter()),
            initialize: histogram!("RecordProcessor.initialize.Time", initialize.iter()),
            shutdown: histogram!("RecordProcessor.shutdown.Time", shutdown.iter()),
            get_records: Calls::new("KinesisDataFetcher.getRecords.", &process),
            get_iterator: Calls::new("KinesisDataFetcher.getShardIterator.", &process),
            expired_iterators: counter!("ExpiredIterator", labels("ProcessTask", false).iter()),
            checkpoints: Calls::new("UpdateLease.", &process),
            end: Calls::new("UpdateLease.", &end),
            create_lease: Calls::new("CreateLease.", &shutdown),
            missing_merge_parents: counter!("MissingMergeParentLease", shutdown.iter()),
        }
    }

    pub(crate) fn batch(&self, records: usize, bytes: u64, behind: Option<Duration>) {
        self.records.increment(records as u64);
        self.bytes.increment(bytes);
        if let Some(behind) = behind.map(millis) {
            self.behind.record(behind);
            self.behind_of_application.record(behind);
        }
    }
}

/// Awaits a call and records its duration.
pub(crate) async fn timed<T>(histogram: &Histogram, call: impl Future<Output = T>) -> T {
    let begun = now();
    let value = call.await;
    histogram.record(millis(now() - begun));
    value
}
