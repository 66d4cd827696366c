//! What the producer decides. Everything below is pure: no tasks, no clock, no service, no global randomness. Time comes
//! in as `now`, chance as a seed; what is to be done comes out as [`Action`]s.
//!
//! ```text
//! Put -> lanes (shard_map predicts the shard) -> aggregator -> collector (limiter permitting) -> Send
//! Responded -> retrier -> Deliver | Fail | back to the lane | wait for the shard map
//! ```
//!
//! A *lane* is what waits for one shard. A lane whose records are in flight sends nothing more until the answer is
//! there, which is what keeps the records of a partition key in order.

pub(crate) mod ages;
pub(crate) mod aggregator;
pub(crate) mod barrier;
pub(crate) mod collector;
pub(crate) mod description;
pub(crate) mod engine;
pub(crate) mod flow;
pub(crate) mod lanes;
pub(crate) mod limiter;
pub(crate) mod packed;
pub(crate) mod pending;
pub(crate) mod retrier;
pub(crate) mod shard_map;

use std::time::Duration;

use self::pending::{Detach, KinesisRecord};
use crate::{
    delivered::Stored,
    error::Failure,
    event::Event,
    hash_key::HashKey,
    id::ShardId,
    kinesis::{Entry, EntryResult, KinesisError, Shard, StreamSummary},
};

/// What happens to the engine.
#[derive(Debug)]
pub(crate) enum Input<T> {
    /// A record to be stored. `hash_key` is the record's, computed by the caller.
    Put { ticket: T, hash_key: HashKey },
    /// Send what is there, do not wait for company.
    Hurry,
    /// The same, and wait but shortly for shards that are unknown.
    SendNow,
    /// The same; tell when all of it is resolved.
    Flush,
    /// No more records will come: send everything, whenever it becomes possible, without waiting for company.
    Drain,
    /// The answer to [`Action::Send`].
    Responded { id: BatchId, result: Result<Vec<EntryResult>, KinesisError> },
    /// The answer to [`Action::ListShards`]; with what is special about the stream, if that was asked.
    ShardsListed { shards: Result<Vec<Shard>, KinesisError>, summary: Option<Result<StreamSummary, KinesisError>> },
    /// The engine's deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action<T: Detach> {
    /// Call PutRecords, answer with [`Input::Responded`].
    Send { id: BatchId, entries: Vec<Entry>, shapes: Vec<Shape> },
    /// Call ListShards and, to `describe` the stream, DescribeStreamSummary; answer with [`Input::ShardsListed`].
    ListShards { describe: bool },
    /// Accept no records that are longer, data and partition key together.
    LimitRecords { max_bytes: usize },
    /// Tell the callers that a Kinesis record is stored, and all its user records.
    Deliver { record: KinesisRecord<T>, stored: Stored },
    /// Tell the caller that a user record is not stored, and is not going to be.
    Fail { ticket: T, failure: Box<Failure> },
    /// Every record below number `below` is resolved, which completes the flushes that came before the record of that number.
    Flushed { below: u64 },
    /// Tell the application.
    Notify(Event),
}

/// What an entry of a request is like, for metrics.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The shard it is meant for, if known.
    pub(crate) shard_id: Option<ShardId>,
    pub(crate) user_records: usize,
    pub(crate) bytes: usize,
    /// How long its first record waited, since the put or since the attempt before.
    pub(crate) buffered: Duration,
}

/// Tells requests in flight apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BatchId(pub(crate) u64);
