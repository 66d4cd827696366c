//! All decisions of the producer. Pure: no tasks, clock, service or global randomness. Time is the parameter `now`, randomness
//! a seed; results are [`Action`]s. The way of a record is in `docs/architecture.md`.

pub(crate) mod aggregator;
pub(crate) mod collector;
pub(crate) mod compress;
pub(crate) mod description;
pub(crate) mod engine;
pub(crate) mod fill;
pub(crate) mod flow;
pub(crate) mod kinesis_record;
pub(crate) mod lanes;
pub(crate) mod limiter;
pub(crate) mod numbers;
pub(crate) mod packed;
pub(crate) mod pending;
pub(crate) mod retrier;
pub(crate) mod shard_map;
pub(crate) mod unresolved;

use std::time::Duration;

use self::{kinesis_record::KinesisRecord, pending::Detach};
use crate::{
    delivered::Stored,
    error::Failure,
    event::Event,
    hash_key::HashKey,
    id::ShardId,
    kinesis::{Entry, EntryResult, KinesisError, Shard, StreamSummary},
};

/// An input of the engine.
#[derive(Debug)]
pub(crate) enum Input<T> {
    /// A record, with its hash key.
    Put {
        ticket: T,
        hash_key: HashKey,
    },
    /// Have buffered records sent at once.
    Hurry,
    /// The same, with a short wait for unknown shards.
    Flush,
    /// The last input: all records are sent at once, whenever possible.
    Drain,
    /// The answer to [`Action::Send`].
    Responded {
        id: BatchId,
        result: Result<Vec<EntryResult>, KinesisError>,
    },
    /// The answer to [`Action::ListShards`], with the description if requested.
    ShardsListed {
        shards: Result<Vec<Shard>, KinesisError>,
        summary: Option<Result<StreamSummary, KinesisError>>,
    },
    Tick,
}

/// An action for the pipeline.
#[derive(Debug)]
pub(crate) enum Action<T: Detach> {
    /// Call PutRecords, answer with [`Input::Responded`].
    Send {
        id: BatchId,
        entries: Vec<Entry>,
        shapes: Vec<Shape>,
    },
    /// Call ListShards and, to `describe` the stream, DescribeStreamSummary; answer with [`Input::ShardsListed`].
    ListShards {
        describe: bool,
    },
    /// Refuse records with more bytes, data and partition key together.
    LimitRecords {
        max_bytes: usize,
    },
    /// Resolve the user records of a stored Kinesis record.
    Deliver {
        record: KinesisRecord<T>,
        stored: Stored,
    },
    /// Resolve a user record that has failed.
    Fail {
        ticket: T,
        failure: Box<Failure>,
    },
    Emit(Event),
}

/// Properties of an entry, for metrics.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The predicted shard, if known.
    pub(crate) shard_id: Option<ShardId>,
    pub(crate) user_records: usize,
    pub(crate) bytes: usize,
    /// Bytes without the partition key.
    pub(crate) data_bytes: usize,
    /// Time that its first record waited, since the put or the previous attempt.
    pub(crate) buffered: Duration,
}

/// Id of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

#[cfg(test)]
mod tests;
