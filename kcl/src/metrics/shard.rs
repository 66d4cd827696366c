//! A shard's metrics. Handles are made once: no allocation.

use std::time::Duration;

use kpl::metric::Registry;
use metrics::{Counter, Gauge, Histogram, Label};

use super::{calls::Calls, millis, table};
use crate::model::Lease;

#[derive(Debug)]
pub(crate) struct ShardRecorder {
    records: Counter,
    bytes: Counter,
    pub(crate) unopened: Counter,
    pub(crate) copies: Counter,
    pub(crate) undecided: Counter,
    /// Batches, from deaggregation to the last record.
    pub(crate) task: Calls,
    pub(crate) process_records: Histogram,
    pub(crate) initialize: Calls,
    pub(crate) waited: Calls,
    pub(crate) shutdown: Histogram,
    pub(crate) ended: Calls,
    pub(crate) get_records: Calls,
    pub(crate) get_iterator: Calls,
    pub(crate) expired_iterators: Counter,
    pub(crate) checkpoints: Calls,
    pub(crate) end: Calls,
    create_child: Calls,
    create_child_at_start: Histogram,
    pub(crate) missing_merge_parents: Counter,
    pub(crate) missing_merge_parent_leases: Counter,
    pub(crate) lag: LagRecorder,
}

/// The lag of a shard. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct LagRecorder(Gauge);

impl LagRecorder {
    pub(crate) fn record(&self, lag: Duration) {
        self.0.set(millis(lag));
    }

    /// The shard is not this worker's any more: what it was behind must not look as if it were still so.
    pub(crate) fn end(&self) {
        self.0.set(0.0);
    }
}

impl ShardRecorder {
    pub(crate) fn new(registry: &Registry, lease: &Lease) -> Self {
        let shard = Label::new("ShardId", lease.shard_id.as_str().to_owned());
        let stream = lease.stream.as_ref().map(|stream| Label::new("StreamId", stream.as_str().to_owned()));
        let labels: Vec<Label> = [shard].into_iter().chain(stream).collect();
        let counter = |metric| registry.counter(metric, &labels);
        let histogram = |metric| registry.histogram(metric, &labels);
        let calls = |metrics| Calls::new(registry, metrics, &labels);
        Self {
            records: counter(&table::RECORDS_PROCESSED),
            bytes: counter(&table::DATA_BYTES_PROCESSED),
            unopened: counter(&table::FRAMES_UNOPENED),
            copies: counter(&table::COPIES_DROPPED),
            undecided: counter(&table::RECORDS_UNDECIDED),
            task: calls([&table::PROCESS_SUCCESS, &table::PROCESS_TIME]),
            process_records: histogram(&table::PROCESS_RECORDS_TIME),
            initialize: calls([&table::INITIALIZE_SUCCESS, &table::INITIALIZE_PROCESSOR_TIME]),
            waited: calls([&table::WAIT_SUCCESS, &table::WAIT_TIME]),
            shutdown: histogram(&table::SHUTDOWN_PROCESSOR_TIME),
            ended: calls([&table::SHUTDOWN_SUCCESS, &table::SHUTDOWN_TIME]),
            get_records: calls([&table::GET_RECORDS_SUCCESS, &table::GET_RECORDS_TIME]),
            get_iterator: calls([&table::GET_ITERATOR_SUCCESS, &table::GET_ITERATOR_TIME]),
            expired_iterators: counter(&table::EXPIRED_ITERATOR),
            checkpoints: calls([&table::UPDATE_LEASE_SUCCESS, &table::UPDATE_LEASE_TIME]),
            end: calls([&table::END_LEASE_SUCCESS, &table::END_LEASE_TIME]),
            create_child: calls([&table::CREATE_CHILD_SUCCESS, &table::CREATE_CHILD_TIME]),
            create_child_at_start: histogram(&table::CREATE_CHILD_TRIM_HORIZON),
            missing_merge_parents: counter(&table::MISSING_MERGE_PARENT),
            missing_merge_parent_leases: counter(&table::MISSING_MERGE_PARENT_LEASE),
            lag: LagRecorder(registry.gauge(&table::MILLIS_BEHIND_LATEST, &labels)),
        }
    }

    pub(crate) fn batch(&self, records: usize, bytes: u64) {
        self.records.increment(records as u64);
        self.bytes.increment(bytes);
    }

    /// A read returned no records, and the processor has done all before it.
    pub(crate) fn idle(&self) {
        self.batch(0, 0);
        self.task.record(true, Duration::ZERO);
    }

    /// Awaits the creation of a child's lease, at TRIM_HORIZON as all are.
    pub(crate) async fn child_created<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let created = self.create_child.counted(call).await;
        self.create_child_at_start.record(f64::from(u8::from(created.is_ok())));
        created
    }
}
