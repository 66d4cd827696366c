//! Meters of a pipeline, through the `metrics` facade. [`METRICS`] declares them.

mod table;

use std::{collections::HashMap, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Label};
use tokio::time::Instant;

pub use self::table::METRICS;
use self::table::{
    ALL_ERRORS, BUFFERING_TIME, ERRORS_BY_CODE, KINESIS_RECORDS_DATA_PUT, KINESIS_RECORDS_FAILED,
    KINESIS_RECORDS_PER_REQUEST, KINESIS_RECORDS_PUT, REQUEST_TIME, RETRIES_PER_RECORD, USER_RECORD_EXPIRED,
    USER_RECORD_RETRIES, USER_RECORDS_DATA_PUT, USER_RECORDS_FAILED, USER_RECORDS_PENDING,
    USER_RECORDS_PER_KINESIS_RECORD, USER_RECORDS_PER_REQUEST, USER_RECORDS_PUT, USER_RECORDS_RECEIVED,
};
use crate::{
    config::{Metrics, MetricsGranularity},
    error::{DeliveryErrorKind, Failure},
    id::ShardId,
    kinesis::{EntryResult, KinesisError},
    logic::{BatchId, Shape},
    metric::{MetricsLevel, Registry},
    stream::Stream,
};

pub(super) struct Metering {
    registry: Registry,
    by_shard: bool,
    stream: Stream,
    pub(super) received: Counter,
    pending: Gauge,
    request_time: Histogram,
    kinesis_records_per_request: Histogram,
    user_records_per_request: Histogram,
    /// By shard written to since the shards changed; without a shard for all of the stream.
    pub(super) shards: HashMap<Option<ShardId>, ShardMeters>,
    /// Entries and start of each request under way.
    calls: HashMap<BatchId, (Vec<Shape>, Instant)>,
    outcomes: Outcomes,
    /// The next user record is the first of its Kinesis record.
    is_first: bool,
}

pub(super) struct ShardMeters {
    user_records_put: Counter,
    user_records_failed: Counter,
    user_records_data_put: Counter,
    user_record_expired: Counter,
    user_record_retries: Counter,
    kinesis_records_put: Counter,
    kinesis_records_failed: Counter,
    kinesis_records_data_put: Counter,
    all_errors: Counter,
    retries_per_record: Histogram,
    buffering_time: Histogram,
    user_records_per_kinesis_record: Histogram,
    /// A counter for each code met: throttling refuses many entries with one.
    errors_by_code: Vec<(Arc<str>, Counter)>,
}

/// Outcomes of user records not recorded yet: of one shard and one number of retries.
#[derive(Default)]
struct Outcomes {
    shard_id: Option<ShardId>,
    retries: u32,
    /// Kinesis records among them, each a sample of the retries.
    kinesis_records: usize,
    put: u64,
    data_put: u64,
    failed: u64,
    expired: u64,
}

impl Metering {
    /// Meters of the recorder installed by now. `None` if metrics are off.
    pub(super) fn new(stream: &Stream, settings: &Metrics) -> Option<Self> {
        let recording = settings.recording();
        if recording.level == MetricsLevel::None {
            return None;
        }
        let registry = Registry::new(recording);
        registry.describe(METRICS);
        let labels = labels(stream, None);
        let mut metering = Self {
            by_shard: settings.granularity == MetricsGranularity::Shard,
            received: registry.counter(&USER_RECORDS_RECEIVED, &labels),
            pending: registry.gauge(&USER_RECORDS_PENDING, &labels),
            request_time: registry.histogram(&REQUEST_TIME, &labels),
            kinesis_records_per_request: registry.histogram(&KINESIS_RECORDS_PER_REQUEST, &labels),
            user_records_per_request: registry.histogram(&USER_RECORDS_PER_REQUEST, &labels),
            stream: stream.clone(),
            shards: HashMap::new(),
            calls: HashMap::new(),
            outcomes: Outcomes::default(),
            is_first: true,
            registry,
        };
        // A counter that begins at its first failure does not show that one as an increase.
        metering.meters(None);
        Some(metering)
    }

    pub(super) fn sent(&mut self, id: BatchId, shapes: Vec<Shape>) {
        self.kinesis_records_per_request.record(shapes.len() as f64);
        let user_records: usize = shapes.iter().map(|shape| shape.user_records).sum();
        self.user_records_per_request.record(user_records as f64);
        for shape in &shapes {
            let meters = self.meters(shape.shard_id.as_ref());
            meters.buffering_time.record(shape.buffered.as_secs_f64() * 1000.0);
            meters.user_records_per_kinesis_record.record(shape.user_records as f64);
        }
        self.calls.insert(id, (shapes, Instant::now()));
    }

    pub(super) fn answered(&mut self, id: BatchId, result: &Result<Vec<EntryResult>, KinesisError>) {
        let Some((shapes, started)) = self.calls.remove(&id) else { return };
        self.request_time.record(started.elapsed().as_secs_f64() * 1000.0);
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => return self.failed(error, None),
        };
        for (shape, answer) in shapes.iter().zip(answers) {
            let meters = self.meters(shape.shard_id.as_ref());
            match answer {
                Ok(_) => {
                    meters.kinesis_records_put.increment(1);
                    meters.kinesis_records_data_put.increment(shape.data_bytes as u64);
                }
                Err(error) => {
                    meters.kinesis_records_failed.increment(1);
                    self.failed(error, shape.shard_id.as_ref());
                }
            }
        }
    }

    fn failed(&mut self, error: &KinesisError, shard_id: Option<&ShardId>) {
        let meters = self.meters(shard_id);
        meters.all_errors.increment(1);
        let is_known = |(code, _): &&(Arc<str>, Counter)| **code == *error.code();
        if let Some((_, counter)) = meters.errors_by_code.iter().find(is_known) {
            return counter.increment(1);
        }
        let mut labels = vec![Label::new("ErrorCode", error.code().to_string())];
        labels.extend(self::labels(&self.stream, shard_id));
        let counter = self.registry.counter(&ERRORS_BY_CODE, &labels);
        counter.increment(1);
        let (code, _) = error.words();
        self.meters(shard_id).errors_by_code.push((code, counter));
    }

    /// The user records that are stored next are those of one Kinesis record.
    pub(super) fn begin_kinesis_record(&mut self) {
        self.is_first = true;
    }

    pub(super) fn stored(&mut self, shard_id: &ShardId, retries: u32, data_bytes: u64) {
        let is_first = std::mem::take(&mut self.is_first);
        let outcomes = self.outcomes(Some(shard_id), retries);
        outcomes.kinesis_records += usize::from(is_first);
        outcomes.put += 1;
        outcomes.data_put += data_bytes;
    }

    fn outcomes(&mut self, shard_id: Option<&ShardId>, retries: u32) -> &mut Outcomes {
        let shard_id = shard_id.filter(|_| self.by_shard);
        if self.outcomes.shard_id.as_ref() != shard_id || self.outcomes.retries != retries {
            let shard_id = shard_id.cloned();
            self.hand_over();
            self.outcomes = Outcomes { shard_id, retries, ..Outcomes::default() };
        }
        &mut self.outcomes
    }

    pub(super) fn failed_for_good(&mut self, failure: &Failure) {
        let outcomes = self.outcomes(None, failure.attempts_made.saturating_sub(1));
        outcomes.failed += 1;
        outcomes.expired += u64::from(failure.kind == DeliveryErrorKind::Expired);
    }

    /// Records all outcomes. Called when no action is left.
    pub(super) fn settle(&mut self, pending: usize) {
        self.pending.set(pending as f64);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Outcomes { shard_id, retries, kinesis_records, put, data_put, failed, expired } =
            std::mem::take(&mut self.outcomes);
        if put + failed == 0 {
            return;
        }
        let meters = self.meters(shard_id.as_ref());
        meters.user_records_put.increment(put);
        meters.user_records_data_put.increment(data_put);
        meters.user_records_failed.increment(failed);
        meters.user_record_expired.increment(expired);
        meters.user_record_retries.increment(u64::from(retries) * (put + failed));
        // Not for each user record: most recorders have no weights, and keep each value.
        meters.retries_per_record.record_many(f64::from(retries), kinesis_records.max(1));
    }

    fn meters(&mut self, shard_id: Option<&ShardId>) -> &mut ShardMeters {
        let shard_id = shard_id.filter(|_| self.by_shard);
        let (registry, stream) = (&self.registry, &self.stream);
        let new = || ShardMeters::new(registry, &labels(stream, shard_id));
        self.shards.entry(shard_id.cloned()).or_insert_with(new)
    }
}

fn labels(stream: &Stream, shard_id: Option<&ShardId>) -> Vec<Label> {
    let shard = shard_id.map(|shard_id| Label::new("ShardId", shard_id.to_string()));
    [Label::new("StreamName", stream.name().to_owned())].into_iter().chain(shard).collect()
}

/// Counts abandoned user records of a stream; none is pending.
pub(crate) fn count_abandoned(stream: &Stream, settings: &Metrics, user_records: usize) {
    if user_records == 0 {
        return;
    }
    let (registry, labels) = (Registry::new(settings.recording()), labels(stream, None));
    registry.counter(&USER_RECORDS_FAILED, &labels).increment(user_records as u64);
    registry.gauge(&USER_RECORDS_PENDING, &labels).set(0.0);
}

impl ShardMeters {
    fn new(registry: &Registry, labels: &[Label]) -> Self {
        Self {
            user_records_put: registry.counter(&USER_RECORDS_PUT, labels),
            user_records_failed: registry.counter(&USER_RECORDS_FAILED, labels),
            user_records_data_put: registry.counter(&USER_RECORDS_DATA_PUT, labels),
            user_record_expired: registry.counter(&USER_RECORD_EXPIRED, labels),
            user_record_retries: registry.counter(&USER_RECORD_RETRIES, labels),
            kinesis_records_put: registry.counter(&KINESIS_RECORDS_PUT, labels),
            kinesis_records_failed: registry.counter(&KINESIS_RECORDS_FAILED, labels),
            kinesis_records_data_put: registry.counter(&KINESIS_RECORDS_DATA_PUT, labels),
            all_errors: registry.counter(&ALL_ERRORS, labels),
            retries_per_record: registry.histogram(&RETRIES_PER_RECORD, labels),
            buffering_time: registry.histogram(&BUFFERING_TIME, labels),
            user_records_per_kinesis_record: registry.histogram(&USER_RECORDS_PER_KINESIS_RECORD, labels),
            errors_by_code: Vec::new(),
        }
    }
}
