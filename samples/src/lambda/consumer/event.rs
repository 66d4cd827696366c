//! Lambda's Kinesis events: what is known of their records.

use aws_lambda_events::kinesis::{KinesisEvent, KinesisEventRecord};
use kpl::{ShardId, id::ParseSequenceNumberError};

use super::KinesisRecord;

/// Reason why an event is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// `eventID` is not a shard id and a sequence number.
    #[error("eventID {event_id:?} is not like shardId-000000000006:4959...")]
    #[non_exhaustive]
    EventId {
        /// The id.
        event_id: String,
    },
    /// `eventSourceARN` is missing.
    #[error("a record has no eventSourceARN")]
    NoSource,
    /// `sequenceNumber` is not one.
    #[error(transparent)]
    SequenceNumber(#[from] ParseSequenceNumberError),
}

/// The Kinesis records of an event, without the ranges of their shards.
pub(super) fn kinesis_records(event: KinesisEvent) -> Result<Vec<KinesisRecord>, EventError> {
    event.records.into_iter().map(kinesis_record).collect()
}

fn kinesis_record(record: KinesisEventRecord) -> Result<KinesisRecord, EventError> {
    let event_id = record.event_id.unwrap_or_default();
    let Some((shard_id, _)) = event_id.split_once(':').filter(|(shard_id, _)| !shard_id.is_empty()) else {
        return Err(EventError::EventId { event_id });
    };
    Ok(KinesisRecord {
        source_arn: record.event_source_arn.filter(|arn| !arn.is_empty()).ok_or(EventError::NoSource)?.into(),
        shard_id: ShardId::from(shard_id),
        range: None,
        sequence_number: record.kinesis.sequence_number.parse()?,
        partition_key: record.kinesis.partition_key,
        data: record.kinesis.data.0.into(),
    })
}
