//! A batch of Kinesis records that is processed user record by user record, up to the first that fails. Pure.
//!
//! (A) Each user record is returned once, in order, but for those that an earlier invocation has done.
//! (B) The unfinished Kinesis record is that of the first user record which was returned and not done.
//! (C) A batch that begins with its progress begins with that user record.
//! (D) A Kinesis record is completed once each of its user records is done, by this invocation or an earlier one.

use std::{fmt, sync::Arc, vec};

use bytes::Bytes;
use kpl::{
    HashKey, HashKeyRange, SequenceNumber, ShardId, SharedText,
    aggregated::{DeaggregateError, Deaggregated, DeaggregatedRecord, Deaggregator},
    compressed::FrameReader,
};

/// A Kinesis record of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisRecord {
    /// ARN of its event source: its stream, or a consumer with enhanced fan-out.
    pub source_arn: Arc<str>,
    /// The shard that it was read from.
    pub shard_id: ShardId,
    /// Hash keys of the shard, if known. Events do not have them.
    pub range: Option<HashKeyRange>,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// Its partition key, which is not the user's if it is an aggregate.
    pub partition_key: String,
    /// Its data, as stored.
    pub data: Bytes,
}

impl KinesisRecord {
    /// ARN of its stream, without the consumer's.
    pub fn stream_arn(&self) -> &str {
        stream_of(&self.source_arn)
    }
}

/// The ARN of a stream, of its own or of one of its consumers, `stream/name/consumer/name:123`.
fn stream_of(source_arn: &str) -> &str {
    source_arn.split_once("/consumer/").map_or(source_arn, |(stream_arn, _)| stream_arn)
}

/// Progress within a Kinesis record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Number of its user records that are done.
    pub done: u64,
    /// Number of times that the next one has failed.
    pub failures: u32,
}

/// A Kinesis record that is delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The record.
    pub record: KinesisRecord,
    /// Its user records that are done.
    pub progress: Progress,
}

/// A user record, as a function processes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRecord {
    /// ARN of its event source: its stream, or a consumer with enhanced fan-out.
    pub source_arn: Arc<str>,
    /// The shard that it was read from.
    pub shard_id: ShardId,
    /// Sequence number of its Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Place in its aggregate, from 0; `None` without one.
    pub sub_sequence_number: Option<u64>,
    /// The user's partition key.
    pub partition_key: SharedText,
    /// The user's explicit hash key, which is known of a record from an aggregate only.
    pub explicit_hash_key: Option<HashKey>,
    /// The user's data.
    pub data: Bytes,
    /// Number of this attempt, from 1. Attempts before the first one that failed are not known without a table for progress.
    pub attempt: u32,
    /// Reason why the Kinesis record could not be opened, or not all of it: then the data may be those of the Kinesis record as it is
    /// stored, and the partition key the Kinesis record's.
    pub damage: Option<DeaggregateError>,
}

impl FunctionRecord {
    /// Name of its stream.
    pub fn stream(&self) -> &str {
        let stream_arn = stream_of(&self.source_arn);
        stream_arn.split_once(":stream/").map_or(stream_arn, |(_, name)| name)
    }
}

impl fmt::Display for FunctionRecord {
    /// Shard, sequence number, and place in the aggregate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.shard_id, self.sequence_number)?;
        self.sub_sequence_number.map_or(Ok(()), |number| write!(f, "/{number}"))
    }
}

/// The batch of an invocation.
#[derive(Debug)]
pub struct Batch {
    left: vec::IntoIter<KinesisRecord>,
    known: Vec<(SequenceNumber, Progress)>,
    frames: FrameReader,
    open: Option<Open>,
    outlived: Vec<KinesisRecord>,
}

/// The Kinesis record that is being processed. At most one at a time is unfolded.
#[derive(Debug)]
struct Open {
    record: KinesisRecord,
    damage: Option<DeaggregateError>,
    users: vec::IntoIter<DeaggregatedRecord>,
    progress: Progress,
}

impl Batch {
    /// The batch of these records, with the progress of earlier invocations.
    pub fn new(records: Vec<KinesisRecord>, known: Vec<(SequenceNumber, Progress)>, frames: FrameReader) -> Self {
        Self { left: records.into_iter(), known, frames, open: None, outlived: Vec::new() }
    }

    /// The next user record. The one before must be [done](Self::done).
    #[expect(clippy::should_implement_trait, reason = "no iterator: each record is done, or the last")]
    pub fn next(&mut self) -> Option<FunctionRecord> {
        loop {
            if let Some(record) = self.open.as_mut().and_then(Open::next) {
                return Some(record);
            }
            self.complete();
            let record = self.left.next()?;
            self.open = Some(self.open(record));
        }
    }

    /// Notes that the last record is done.
    pub fn done(&mut self) {
        if let Some(open) = &mut self.open {
            open.progress = Progress { done: open.progress.done + 1, failures: 0 };
        }
    }

    /// Takes the Kinesis records that are completed and have progress of earlier invocations, which is needed no more.
    pub fn take_outlived(&mut self) -> Vec<KinesisRecord> {
        std::mem::take(&mut self.outlived)
    }

    /// Ends the batch with the last record, which failed.
    pub fn failed(self) -> Option<Unfinished> {
        let mut unfinished = self.not_begun()?;
        unfinished.progress.failures = unfinished.progress.failures.saturating_add(1);
        Some(unfinished)
    }

    /// Ends the batch with the last record, which was not begun.
    pub fn not_begun(self) -> Option<Unfinished> {
        self.open.map(|Open { record, progress, .. }| Unfinished { record, progress })
    }

    /// Ends the open Kinesis record, all of whose user records are done.
    fn complete(&mut self) {
        let Some(Open { record, .. }) = self.open.take() else { return };
        if self.progress_of(&record).is_some() {
            self.outlived.push(record);
        }
    }

    fn progress_of(&self, record: &KinesisRecord) -> Option<Progress> {
        self.known.iter().find(|(number, _)| *number == record.sequence_number).map(|(_, progress)| *progress)
    }

    fn open(&self, record: KinesisRecord) -> Open {
        let deaggregator = Deaggregator::new().opening_with(self.frames.clone());
        let deaggregator = match record.range {
            Some(range) => deaggregator.within(range),
            None => deaggregator,
        };
        let (partition_key, data) = (&record.partition_key, &record.data);
        let (found, damage) = match deaggregator.deaggregate_strictly(partition_key, data) {
            Ok(found) => (found, None),
            Err(damage) => (deaggregator.deaggregate(partition_key, data), Some(damage)),
        };
        let Deaggregated { mut records, discarded, .. } = found;
        if discarded > 0 {
            let sequence_number = record.sequence_number.as_str();
            tracing::info!(sequence_number, discarded, "aggregate of another shard left out");
        }
        let progress = self.progress_of(&record).unwrap_or_default();
        let done = usize::try_from(progress.done).unwrap_or(usize::MAX).min(records.len());
        let users = records.split_off(done).into_iter();
        Open { record, damage, users, progress }
    }
}

impl Open {
    fn next(&mut self) -> Option<FunctionRecord> {
        let DeaggregatedRecord { partition_key, explicit_hash_key, data, sub_sequence_number, .. } =
            self.users.next()?;
        Some(FunctionRecord {
            source_arn: Arc::clone(&self.record.source_arn),
            shard_id: self.record.shard_id.clone(),
            sequence_number: self.record.sequence_number.clone(),
            sub_sequence_number,
            partition_key,
            explicit_hash_key,
            data,
            attempt: self.progress.failures.saturating_add(1),
            damage: self.damage.clone(),
        })
    }
}
