//! Meters of a pipeline, with the KPL's names, through the `metrics` facade.
//! Source: `docs/metrics.md` of `awslabs/amazon-kinesis-producer`.

use std::collections::HashMap;

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};
use tokio::time::Instant;

use crate::{
    config::MetricsGranularity,
    error::{DeliveryErrorKind, Failure},
    id::ShardId,
    kinesis::{EntryResult, KinesisError},
    logic::{BatchId, Shape},
    stream::Stream,
};

pub(super) struct Metering {
    granularity: MetricsGranularity,
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
}

pub(super) struct ShardMeters {
    user_records_put: Counter,
    user_records_failed: Counter,
    user_records_data_put: Counter,
    user_record_expired: Counter,
    kinesis_records_put: Counter,
    kinesis_records_data_put: Counter,
    all_errors: Counter,
    retries_per_record: Histogram,
    buffering_time: Histogram,
    user_records_per_kinesis_record: Histogram,
}

/// Outcomes of user records not recorded yet: of one shard and one number of retries.
#[derive(Default)]
struct Outcomes {
    shard_id: Option<ShardId>,
    retries: u32,
    put: u64,
    data_put: u64,
    failed: u64,
    expired: u64,
}

fn describe() {
    let counters = [
        ("UserRecordsReceived", Unit::Count, "user records that were accepted"),
        ("UserRecordsPut", Unit::Count, "user records that were stored"),
        ("UserRecordsFailed", Unit::Count, "user records that were given up"),
        ("UserRecordsDataPut", Unit::Bytes, "data of the user records that were stored"),
        ("UserRecordExpired", Unit::Count, "user records that were given up at the end of their time to live"),
        ("KinesisRecordsPut", Unit::Count, "Kinesis records that were stored"),
        ("KinesisRecordsDataPut", Unit::Bytes, "data of the Kinesis records that were stored"),
        ("ErrorsByCode", Unit::Count, "Kinesis records, and requests as a whole, that failed, by error code"),
        ("AllErrors", Unit::Count, "Kinesis records, and requests as a whole, that failed"),
    ];
    for (name, unit, text) in counters {
        metrics::describe_counter!(name, unit, text);
    }
    let histograms = [
        ("RetriesPerRecord", Unit::Count, "attempts after the first one, of each user record"),
        ("BufferingTime", Unit::Milliseconds, "time that a Kinesis record's first user record waited for an attempt"),
        ("RequestTime", Unit::Milliseconds, "time that PutRecords took"),
        ("UserRecordsPerKinesisRecord", Unit::Count, "user records of each Kinesis record sent"),
        ("KinesisRecordsPerPutRecordsRequest", Unit::Count, "Kinesis records of each request"),
        ("UserRecordsPerPutRecordsRequest", Unit::Count, "user records of each request"),
    ];
    for (name, unit, text) in histograms {
        metrics::describe_histogram!(name, unit, text);
    }
    metrics::describe_gauge!("UserRecordsPending", Unit::Count, "user records that are accepted and not resolved");
}

impl Metering {
    /// Meters of the recorder installed by now. `None` if metrics are off.
    pub(super) fn new(stream: &Stream, granularity: MetricsGranularity) -> Option<Self> {
        if granularity == MetricsGranularity::Off {
            return None;
        }
        describe();
        let labels = || labels(stream, None);
        Some(Self {
            granularity,
            received: counter!("UserRecordsReceived", labels()),
            pending: gauge!("UserRecordsPending", labels()),
            request_time: histogram!("RequestTime", labels()),
            kinesis_records_per_request: histogram!("KinesisRecordsPerPutRecordsRequest", labels()),
            user_records_per_request: histogram!("UserRecordsPerPutRecordsRequest", labels()),
            stream: stream.clone(),
            shards: HashMap::new(),
            calls: HashMap::new(),
            outcomes: Outcomes::default(),
        })
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
            match answer {
                Ok(_) => {
                    let meters = self.meters(shape.shard_id.as_ref());
                    meters.kinesis_records_put.increment(1);
                    meters.kinesis_records_data_put.increment(shape.bytes as u64);
                }
                Err(error) => self.failed(error, shape.shard_id.as_ref()),
            }
        }
    }

    fn failed(&mut self, error: &KinesisError, shard_id: Option<&ShardId>) {
        self.meters(shard_id).all_errors.increment(1);
        let shard_id = shard_id.filter(|_| self.granularity == MetricsGranularity::Shard);
        let mut labels = labels(&self.stream, shard_id);
        labels.push(Label::new("ErrorCode", error.code().to_string()));
        counter!("ErrorsByCode", labels).increment(1);
    }

    pub(super) fn stored(&mut self, shard_id: &ShardId, retries: u32, data_bytes: u64) {
        let outcomes = self.outcomes(Some(shard_id), retries);
        outcomes.put += 1;
        outcomes.data_put += data_bytes;
    }

    fn outcomes(&mut self, shard_id: Option<&ShardId>, retries: u32) -> &mut Outcomes {
        let shard_id = shard_id.filter(|_| self.granularity == MetricsGranularity::Shard);
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
        let Outcomes { shard_id, retries, put, data_put, failed, expired } = std::mem::take(&mut self.outcomes);
        if put + failed == 0 {
            return;
        }
        let meters = self.meters(shard_id.as_ref());
        meters.user_records_put.increment(put);
        meters.user_records_data_put.increment(data_put);
        meters.user_records_failed.increment(failed);
        meters.user_record_expired.increment(expired);
        meters.retries_per_record.record_many(f64::from(retries), (put + failed) as usize);
    }

    fn meters(&mut self, shard_id: Option<&ShardId>) -> &ShardMeters {
        let shard_id = shard_id.filter(|_| self.granularity == MetricsGranularity::Shard).cloned();
        let entry = self.shards.entry(shard_id.clone());
        entry.or_insert_with(|| ShardMeters::new(&labels(&self.stream, shard_id.as_ref())))
    }
}

fn labels(stream: &Stream, shard_id: Option<&ShardId>) -> Vec<Label> {
    let shard = shard_id.map(|shard_id| Label::new("ShardId", shard_id.to_string()));
    [Label::new("StreamName", stream.name().to_owned())].into_iter().chain(shard).collect()
}

/// Counts abandoned user records of a stream; none is pending.
pub(crate) fn count_abandoned(stream: &Stream, granularity: MetricsGranularity, user_records: usize) {
    if granularity == MetricsGranularity::Off || user_records == 0 {
        return;
    }
    counter!("UserRecordsFailed", labels(stream, None)).increment(user_records as u64);
    gauge!("UserRecordsPending", labels(stream, None)).set(0.0);
}

impl ShardMeters {
    fn new(labels: &[Label]) -> Self {
        let labels = || labels.to_vec();
        Self {
            user_records_put: counter!("UserRecordsPut", labels()),
            user_records_failed: counter!("UserRecordsFailed", labels()),
            user_records_data_put: counter!("UserRecordsDataPut", labels()),
            user_record_expired: counter!("UserRecordExpired", labels()),
            kinesis_records_put: counter!("KinesisRecordsPut", labels()),
            kinesis_records_data_put: counter!("KinesisRecordsDataPut", labels()),
            all_errors: counter!("AllErrors", labels()),
            retries_per_record: histogram!("RetriesPerRecord", labels()),
            buffering_time: histogram!("BufferingTime", labels()),
            user_records_per_kinesis_record: histogram!("UserRecordsPerKinesisRecord", labels()),
        }
    }
}
