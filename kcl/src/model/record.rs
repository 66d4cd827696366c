//! A record: as it is stored, and as it is delivered.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kpl::{HashKey, RecordNumber, SequenceNumber, SharedText, TraceContext};

use super::checkpoint::Position;

/// One user record, taken out of its aggregate if it came in one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The producer's partition key. Kept for long, it keeps others: see [`SharedText`].
    pub partition_key: SharedText,
    /// The producer's explicit hash key; Kinesis returns it only for aggregated records.
    pub explicit_hash_key: Option<HashKey>,
    /// The producer's bytes.
    pub data: Bytes,
    /// Sequence number of the Kinesis record, shared by all user records of an aggregate.
    pub sequence_number: SequenceNumber,
    /// Place inside the aggregate from 0; 0 if not aggregated; of an undivided aggregate that of its last user record.
    pub sub_sequence_number: u64,
    /// True if the record came in an aggregate.
    pub aggregated: bool,
    /// Arrival in Kinesis, in milliseconds.
    pub approximate_arrival: Option<SystemTime>,
    /// Boxed, because most have none.
    pub(crate) trace_context: Option<Box<TraceContext>>,
    pub(crate) number: Option<RecordNumber>,
}

impl Record {
    /// A record that is not aggregated, without an arrival time.
    pub fn new(partition_key: impl Into<SharedText>, data: impl Into<Bytes>, sequence_number: SequenceNumber) -> Self {
        Self {
            partition_key: partition_key.into(),
            explicit_hash_key: None,
            data: data.into(),
            sequence_number,
            sub_sequence_number: 0,
            aggregated: false,
            approximate_arrival: None,
            trace_context: None,
            number: None,
        }
    }

    /// The record with a trace context, for tests of processors.
    #[must_use = "the record is returned with the trace context set"]
    pub fn with_trace_context(mut self, context: TraceContext) -> Self {
        self.trace_context = Some(Box::new(context));
        self
    }

    /// The record with a number, for tests of processors.
    #[must_use = "the record is returned with the number set"]
    pub fn with_number(self, number: RecordNumber) -> Self {
        Self { number: Some(number), ..self }
    }

    /// The number that its producer gave it, if it numbers its records: the same in what it wrote twice.
    pub fn number(&self) -> Option<RecordNumber> {
        self.number
    }

    /// Trace context of the span in which the record was put, if its producer sent one.
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.trace_context.as_deref()
    }

    /// The record's position in its shard.
    pub fn position(&self) -> Position {
        Position { sequence_number: self.sequence_number.clone(), sub_sequence_number: self.sub_sequence_number }
    }
}

/// Records of one shard, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordBatch {
    /// The records; never empty when a processor receives them.
    pub records: Vec<Record>,
    /// Distance from the newest record of the shard to the end of the answer that this batch was read with.
    pub behind_latest: Option<Duration>,
}

impl RecordBatch {
    /// Position of the last record; None if there is none.
    pub fn end_position(&self) -> Option<Position> {
        self.records.last().map(Record::position)
    }
}

/// A Kinesis record as it is stored, aggregated or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KinesisRecord {
    pub(crate) sequence_number: SequenceNumber,
    pub(crate) partition_key: SharedText,
    pub(crate) data: Bytes,
    pub(crate) approximate_arrival: Option<SystemTime>,
}
