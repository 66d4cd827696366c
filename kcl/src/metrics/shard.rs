//! A shard's consumption metrics, through the `metrics` facade: names and dimensions are those of Java KCL, as labels.
//! What is recorded for each batch or read has its handle made once, so nothing is allocated then.
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
//! StreamId is there in applications of several streams. MillisBehindLatest and what ends in Time are histograms in
//! milliseconds, the others counters. MillisBehindLatest also counts the age of the first record of each batch when it is
//! delivered (Java: only how far the reading is behind), so that it shows a processor that is slow.

use std::{future::Future, time::Duration};

use metrics::{Counter, Histogram, Label, counter, histogram};

use super::millis;
use crate::{model::Lease, time::now};

struct Calls {
    success: Counter,
    time: Histogram,
}

impl Calls {
    fn new(success: &'static str, time: &'static str, labels: &[Label]) -> Self {
        Self { success: counter!(success, labels.iter()), time: histogram!(time, labels.iter()) }
    }

    fn record(&self, success: bool, took: Duration) {
        self.success.increment(u64::from(success));
        self.time.record(millis(took));
    }
}

pub(crate) struct ShardRecorder {
    records: Counter,
    bytes: Counter,
    behind: Histogram,
    behind_of_application: Histogram,
    task: Calls,
    process_records: Histogram,
    initialize: Histogram,
    shutdown: Histogram,
    get_records: Calls,
    get_iterator: Calls,
    expired_iterators: Counter,
    checkpoints: Calls,
    end: Calls,
    create_lease: Calls,
    missing_merge_parents: Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    Records,
    Iterator,
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
        const UPDATE: (&str, &str) = ("UpdateLease.Success", "UpdateLease.Time");
        Self {
            records: counter!("RecordsProcessed", process.iter()),
            bytes: counter!("DataBytesProcessed", process.iter()),
            behind: histogram!("MillisBehindLatest", process.iter()),
            behind_of_application: histogram!("MillisBehindLatest", application.iter()),
            task: Calls::new("Success", "Time", &process),
            process_records: histogram!("RecordProcessor.processRecords.Time", process.iter()),
            initialize: histogram!("RecordProcessor.initialize.Time", initialize.iter()),
            shutdown: histogram!("RecordProcessor.shutdown.Time", shutdown.iter()),
            get_records: Calls::new(
                "KinesisDataFetcher.getRecords.Success",
                "KinesisDataFetcher.getRecords.Time",
                &process,
            ),
            get_iterator: Calls::new(
                "KinesisDataFetcher.getShardIterator.Success",
                "KinesisDataFetcher.getShardIterator.Time",
                &process,
            ),
            expired_iterators: counter!("ExpiredIterator", labels("ProcessTask", false).iter()),
            checkpoints: Calls::new(UPDATE.0, UPDATE.1, &process),
            end: Calls::new(UPDATE.0, UPDATE.1, &end),
            create_lease: Calls::new("CreateLease.Success", "CreateLease.Time", &shutdown),
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

    /// A batch that is processed, from its deaggregation to its last record.
    pub(crate) fn task(&self, success: bool, took: Duration) {
        self.task.record(success, took);
    }

    pub(crate) async fn process_records<T>(&self, call: impl Future<Output = T>) -> T {
        timed(&self.process_records, call).await
    }

    pub(crate) async fn initialize<T>(&self, call: impl Future<Output = T>) -> T {
        timed(&self.initialize, call).await
    }

    pub(crate) async fn shutdown<T>(&self, call: impl Future<Output = T>) -> T {
        timed(&self.shutdown, call).await
    }

    pub(crate) async fn fetch<T, E>(&self, fetch: Fetch, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let calls = match fetch {
            Fetch::Records => &self.get_records,
            Fetch::Iterator => &self.get_iterator,
        };
        counted(calls, call).await
    }

    pub(crate) fn iterator_expired(&self) {
        self.expired_iterators.increment(1);
    }

    pub(crate) async fn checkpoint<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        counted(&self.checkpoints, call).await
    }

    pub(crate) async fn end<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        counted(&self.end, call).await
    }

    pub(crate) async fn create_lease<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        counted(&self.create_lease, call).await
    }

    pub(crate) fn missing_merge_parent(&self) {
        self.missing_merge_parents.increment(1);
    }
}

impl std::fmt::Debug for ShardRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardRecorder").finish_non_exhaustive()
    }
}

async fn timed<T>(histogram: &Histogram, call: impl Future<Output = T>) -> T {
    let begun = now();
    let value = call.await;
    histogram.record(millis(now() - begun));
    value
}

async fn counted<T, E>(calls: &Calls, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let begun = now();
    let outcome = call.await;
    calls.record(outcome.is_ok(), now() - begun);
    outcome
}
