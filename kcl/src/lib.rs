//! Kinesis consumer: a fleet of workers leases the shards of a stream through a DynamoDB table, reads them, and drives
//! one record processor per shard. The lease table is that of Java KCL 3.x.
//!
//! ```no_run
//! use kcl::{BoxError, Checkpointer, InitialPosition, RecordBatch, RecordProcessor, ShardContext, Worker};
//!
//! struct Printer;
//!
//! impl RecordProcessor for Printer {
//!     type Error = BoxError;
//!
//!     async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
//!         for record in &batch.records {
//!             println!("{} {}", record.partition_key, String::from_utf8_lossy(&record.data));
//!         }
//!         checkpointer.checkpoint().await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
//! Worker::builder(&aws, "printer", "StockTradeStream")
//!     .initial_position(InitialPosition::TrimHorizon)
//!     .build(|_shard: &ShardContext| Printer)?
//!     .run()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **At least once.** Every record of the stream is delivered, again after a crash, a lost lease or an error. A failed
//!   batch is retried from the last checkpoint; it is skipped only if the [`ErrorPolicy`] says so, with an [`Event`]. At
//!   LATEST too: its time is fixed at the first start.
//! - **Exactly once, where effect and progress are one transaction**: of DynamoDB, by [`Checkpointer::checkpoint_with`], or of
//!   another store, by a [`TransactionalSink`].
//! - **Order.** Records of a shard are delivered in order, and before those of the shards it was split or merged into: so
//!   records of one partition key are delivered in the order of the stream.
//! - **One owner.** Only the worker that holds a shard's lease can checkpoint it. Two workers may process the same records
//!   for a moment after a stall, never both move the checkpoint.
//! - **Bounded memory.** All shards of a worker together hold at most 512 MiB of what is read and not finished, answers that
//!   are parsed included; a shard whose processor hangs keeps its share, and the others go on. See
//!   [`WorkerBuilder::memory_budget`] for the cases that exceed it, and [`WorkerBuilder::prefetch_bytes`].
//!
//! It runs on any tokio runtime with timers and I/O, of one thread too.
//!
//! # Four ways to consume
//!
//! | | what the application writes | who checkpoints |
//! |---|---|---|
//! | [`WorkerBuilder::build`] | a [`RecordProcessor`] per shard, with batches and the shard's life | it, or [the worker](WorkerBuilder::build_checkpointing) |
//! | [`WorkerBuilder::build_for_each`] | a closure per record, one or many at a time | the worker |
//! | [`WorkerBuilder::build_shard_streams`] | `while let Some(record) = shard.next().await` | it |
//! | [`WorkerBuilder::build_sink`] | a [`TransactionalSink`], in which each record has its effect exactly once | the sink |
//!
//! The latter three are record processors. [`Worker::run_until`] runs a worker in place, [`Worker::start`] on a task.
//!
//! # Traces
//! A span `kcl.batch` surrounds each call of `process_records`, with the fields `stream`, `shard_id`, `records` and `bytes`, at
//! level DEBUG within `kcl.shard` and `kcl.worker`. [`Record::trace_context`] is the context in which a record was put, if its
//! producer sent one: a processor's spans link to it, as in the sample `traced` of the repository.
//!
//! # Features
//! - `zstd`: opens [compressed records](WorkerBuilder::frames) of zstd, too, and builds a C library for it.
//! - `serde`: [settings](WorkerSettings) from a file or the environment.
//! - `test-util`: processors under test, without a worker.
//!
//! # Glossary of the private code
//! - **assigner**, **auditor**: tasks of the leader: one gives leases to workers, one creates and deletes leases.
//! - **bulletin**: what a leader announces in its lock; **look**: a read of lock and own item; **pace**: pauses that stretch.
//! - **beat**: number of a worker's heartbeat; **mark**: a leader's note in a worker's item; **fence**: a mark that has the
//!   next heartbeat refused; **regime**: how a fleet renews leases; **helm**: what the leader's tasks share about it.
//! - **board**: status of a worker's shards; **catalog**: the streams of a worker; **cursor**: a reader's position.
//! - **doubt**: a sign that a lease is not as its keeper knows it; **pulse**: this worker's heartbeat, and when leases rely
//!   on it; **tenure**: the time until a worker drops every lease.
//! - **fleet**: the workers of an application; **instance**: one run of a worker id; **purpose**: live, or a replay.
//! - **handoff**: change of a lease's owner in agreement with the old one; **orphan**: a lease that nobody keeps alive.
//! - **heir**: a worker that knows the leases because the leader is silent; **lapsed**: let a lease expire.
//! - **keeper**: the task that renews one lease and writes its checkpoints.
//! - **left out**: records that the error policy gave up; **vanished**: a stream that was deleted or created again.
//! - **legacy tables**: those of KCL 3.0 to 3.4; **lineage**: a shard with the shards before and after it.
//! - **nudge**: a signal that wakes a loop before its time; **sighting**: a leader's scan, passed to the auditor.

mod admin;
#[cfg(bench_internals)]
#[doc(hidden)]
pub mod bench;
mod calls;
mod checkpointer;
mod clock;
mod consume;
mod contained;
mod context;
mod coordination;
mod cpu;
mod dead_letters;
mod error;
mod event;
mod keeper;
mod kinesis;
mod locked;
mod logic;
mod metrics;
mod model;
mod processor;
mod retrieval;
mod settings;
mod shard;
mod stream;
mod table;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod time;
mod worker;

pub use admin::{
    adopt::{Adoption, AdoptionError, OldFleet},
    change::{Fleet, FleetChange},
    fleet::{FleetStatus, LeaseStatus, WorkerStatus},
    reset::{Reset, ResetError, ResetReport, ShardReset},
    table_migration::TableMigration,
};
pub use checkpointer::{Checkpointer, PreparedCheckpoint};
pub use clock::ServiceClock;
pub use consume::{
    for_each::{ForEach, ForEachProcessor},
    shard_streams::{ShardStream, ShardStreams, Stopper},
    sink::{SinkProcessor, SinkTransaction, Sinks, TransactionalSink},
};
pub use dead_letters::{file::DeadLetterFile, letter::DeadLetter, stream::DeadLetterStream};
pub use error::{
    BoxError, CheckpointError, ConfigError, KinesisError, KinesisErrorKind, TableError, TransactionError, WorkerError,
};
pub use event::Event;
pub use kpl::compressed::{Dictionary, DictionaryError, FrameError, FrameReader};
pub use kpl::metric::{Metric, MetricKind, MetricUnit, MetricsLevel, Origin, Samples};
pub use kpl::{HashKey, HashKeyRange, SequenceNumber, ShardId, SharedText, TraceContext};
pub use metrics::METRICS;
pub use model::{
    Assignment, Checkpoint, CheckpointEvery, Copies, Deaggregation, FanOut, FormerStreams, Health, HealthProblem,
    InitialPosition, ParseSinkMarkError, PendingCheckpoint, Polling, Position, Record, RecordBatch, Renewals,
    Retrieval, ShardHealth, ShardPhase, ShardStatus, SinkKey, SinkMark, Stall, StreamId, StreamShard, TableUsage,
    UsageRate, WorkerId,
};
pub use processor::{ProcessorFactory, RecordProcessor, Redeliver, ShardContext};
#[cfg(feature = "serde")]
pub use settings::outside::{Dimensions, GiveUp, Reading, Start, WorkerSettings};
pub use settings::{
    error_policy::{ErrorPolicy, FailedRecords},
    metrics::{Metrics, MetricsDimension},
    streams::{StreamConfig, StreamSource, Streams},
};
pub use worker::{Worker, builder::WorkerBuilder, handle::WorkerHandle};
