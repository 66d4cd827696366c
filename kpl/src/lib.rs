//! A producer for Amazon Kinesis Data Streams, after the Kinesis Producer Library (KPL): groups small user records into
//! large Kinesis records and these into PutRecords requests, limits its rate to what shards accept, and retries. The
//! format is the KPL's, so every KCL and every deaggregation module reads it.
//!
//! ```no_run
//! # #[cfg(feature = "producer")]
//! # async fn example(aws: aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use kpl::{Producer, UserRecord};
//!
//! let producer = Producer::builder(&aws, "StockTradeStream").build()?;
//! let delivery = producer.put(UserRecord::new("AAPL", "bought")).await?; // waits while the buffer is full
//! producer.shutdown().await; // sends what is left and resolves every delivery
//! match delivery.await {
//!     Ok(stored) => println!("{} {}", stored.shard_id(), stored.sequence_number()),
//!     Err(error) => eprintln!("{error}: {:?}", error.record()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//! - **Every accepted record resolves its `Delivery` once**, also at failures, shutdown, a panic, and the end of the
//!   runtime. An error returns the record with the true cause.
//! - **At least once.** A request whose answer is lost is sent again, and its records may be stored twice.
//! - **A record reported as delivered is delivered.** A KCL discards an aggregate stored in a shard that does not own all
//!   of its records, as happens when a shard is split. Such an aggregate, and no other, is sent again as a whole.
//! - **Order.** Records of one hash key (the explicit one, else that of the partition key), put one after the other, are
//!   stored in that order while no attempt fails, also while shards are split or merged: see [`RecordOrder`].
//! - **Bounded memory.** `put` waits at `max_outstanding_records` or [`max_outstanding_bytes`], over all streams. A stuck
//!   stream leaves [a share](ProducerBuilder::stream_shares) to the others.
//! - **Bounded time.** No attempt starts after `record_ttl`; an answer is awaited for up to `request_timeout`. Permanent
//!   errors fail at once, and no other record with them; a missing stream, a refused signature and missing credentials
//!   after three seconds.
//! - **Few calls in trouble.** While the service is down, one request at a time is sent, after pauses of up to five seconds.
//!
//! Details and the way of a record are in the repository's `docs/architecture.md`.
//!
//! # Ways to put
//! - [`Producer::put`] and [`Producer::try_put`]: one record, with its [`Delivery`].
//! - [`Producer::put_many`]: records taken together, which costs less for each. Dropped, it leaves those not accepted.
//! - [`Producer::put_all`]: a batch with all outcomes, for AWS Lambda functions; or [`Producer::flush`] at their end.
//! - [`Producer::sink`]: a `futures::Sink`.
//! - [`ProducerBuilder::build_blocking`] and [`Producer::blocking`]: threads without a runtime.
//! - [`Producer::to_stream`]: another stream, with the same client, settings and buffer.
//!
//! [`ProducerBuilder::compression`] sends each Kinesis record as one frame, see [`compressed`]. **Other readers see an opaque
//! record.**
//!
//! Consumers other than a KCL read aggregates with [`aggregated::Deaggregator`]; those that route by the Kinesis record's
//! partition key need [`Aggregation::ByPartitionKey`], another [`AggregateKey`], or no aggregation.
//!
//! # Metrics
//! The KPL's names, units and dimensions, through the `metrics` crate: install a recorder before the first record is put.
//! [`METRICS`] has all of them, `docs/metrics.md` of the repository what each means, and [`Metrics`] the settings. The crate
//! `kinesis-cloudwatch` publishes them to CloudWatch as the KPL does. See also [`Event`].
//!
//! # Traces
//! Each PutRecords is a span `kpl.send`, with the fields `stream`, `kinesis_records`, `user_records` and `bytes`, at level
//! DEBUG. [`UserRecord::with_trace_context`] sends the trace context of a span with a record, in W3C's format, to be linked to
//! by the spans that process it. Consumers that know nothing of it get the same records. A span of `tracing` has links within
//! the process alone: those across come from `tracing-opentelemetry`, as in the sample `traced` of the repository.
//!
//! # Features
//! - `producer` (default): the producer. Without it: ids, hash keys and the format of aggregated records, which is what a
//!   consumer needs, with neither tokio nor the AWS SDK.
//! - `zstd`: [compressed records](compressed) of zstd, which builds a C library; those of gzip and LZ4 need no feature.
//! - `serde`: settings from a file or the environment, see [`settings`].
//! - `metrics`: part of `producer`; what other crates of this workspace record metrics with.
//! - `test-util`: a scriptable Kinesis in memory for tests of applications.
//!
//! # Glossary of the private code
//! - **engine**: all decisions about one stream, pure; **pipeline**: the task that runs it.
//! - **intake**: the way into a pipeline; **queue**: its commands; **space**: the bounds of the buffer; **share**: the part
//!   of it that one stream takes up.
//! - **ticket**: a record and the duty to resolve its delivery; **stub**: a ticket whose record is encoded.
//! - **lane**: the records that wait for one shard; **stripe**: those of some of its hash keys; **generation**: stripes that
//!   divide the keys in the same way; **gate**: closed while earlier records of a stripe or lane are under way, or held.
//! - **packed**: encoded in an aggregate; **sealed**: takes no more records.
//! - **course**: the attempts of a user record so far; **retrier**: the meaning of answers.
//! - **flight**: a request under way; **flow**: the number and bytes of these.
//! - **unjudged**: stored in a shard whose range is not known; **listing**: a call of ListShards.
//!
//! [`max_outstanding_bytes`]: ProducerBuilder::max_outstanding_bytes

// The crate's documentation is about the producer.
#![cfg_attr(not(feature = "producer"), allow(rustdoc::broken_intra_doc_links))]

pub mod aggregated;
pub mod compressed;
mod digest;
pub mod hash_key;
pub mod id;
mod locked;
pub mod metric;
mod record;
mod record_number;
#[doc(hidden)]
pub mod repeats;
#[cfg(feature = "serde")]
pub mod settings;
mod shared_text;
mod trace_context;

#[cfg(feature = "producer")]
mod config;
#[cfg(feature = "producer")]
mod context;
#[cfg(feature = "producer")]
mod delivered;
#[cfg(feature = "producer")]
mod delivery;
#[cfg(feature = "producer")]
mod error;
#[cfg(feature = "producer")]
mod event;
#[cfg(feature = "producer")]
mod health;
#[cfg(feature = "producer")]
mod intake;
#[cfg(feature = "producer")]
pub mod kinesis;
#[cfg(feature = "producer")]
mod logic;
#[cfg(feature = "producer")]
mod pipeline;
#[cfg(feature = "producer")]
mod producer;
#[cfg(feature = "producer")]
mod stream;
#[cfg(feature = "producer")]
mod streams;
#[cfg(all(feature = "producer", any(test, feature = "test-util")))]
pub mod testing;

pub use hash_key::{HashKey, HashKeyRange};
pub use id::{SequenceNumber, ShardId};
pub use record::{PARTITION_KEY_MAX_CHARS, UserRecord};
pub use record_number::RecordNumber;
pub use shared_text::{SharedText, TextPack};
pub use trace_context::{ParseTraceContextError, TraceContext};
#[cfg(feature = "producer")]
pub use {
    config::{
        AggregateKey, Aggregation, DEFAULT_MAX_RECORD_BYTES, MAX_RECORD_BYTES, Metrics, MetricsGranularity, RecordOrder,
    },
    delivered::Delivered,
    delivery::Delivery,
    error::{Attempt, BoxError, ConfigError, DeliveryError, DeliveryErrorKind, PutError, RecordError, ShutdownError},
    event::{Event, Snapshot},
    health::{Health, HealthProblem, StreamFailure, StreamHealth},
    kinesis::Kinesis,
    pipeline::METRICS,
    producer::{Producer, blocking::BlockingProducer, builder::ProducerBuilder, sink::RecordSink},
};
