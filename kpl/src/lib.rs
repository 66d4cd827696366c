//! A producer for Amazon Kinesis Data Streams, after the Kinesis Producer Library (KPL): it groups small user records
//! into large Kinesis records and these into PutRecords requests, keeps to what the shards take, and retries. The
//! format is the KPL's, so every KCL and every deaggregation module reads it.
//!
//! ```no_run
//! # #[cfg(feature = "producer")]
//! # async fn example(aws: aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use kpl::{Producer, UserRecord};
//!
//! let producer = Producer::builder(&aws, "StockTradeStream").build()?;
//! for price in 1..=10_000 {
//!     let record = UserRecord::new("AAPL", format!("bought at {price}"));
//!     let delivery = producer.put(record).await?; // waits while the buffer is full
//!     tokio::spawn(async move {
//!         match delivery.await {
//!             Ok(stored) => println!("{} {}", stored.shard_id(), stored.sequence_number()),
//!             Err(error) => eprintln!("{error}: {:?}", error.record()),
//!         }
//!     });
//! }
//! producer.shutdown().await; // sends what is left and resolves every delivery
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a record (`=>` crosses a task)
//! ```text
//! put: checks, space in the buffer => queue => pipeline: hash keys, eight at a time => engine
//!   lanes       one for each shard; the shard map predicts which
//!   aggregator  user records are encoded into Kinesis records of up to 51,200 bytes, in up to 100 ms
//!   limiter     150 % of what a shard takes
//!   collector   Kinesis records become requests of up to 500
//! => PutRecords => engine
//!   retrier     stored -> Delivery | again -> lane | shard unknown -> list the shards first | failed -> Delivery
//! ```
//!
//! # Guarantees
//! - **Every record that is accepted resolves its `Delivery` once**, whatever happens: failures, shutdown, a panic, the
//!   end of the runtime. An error always hands the record back, with the true cause.
//! - **At least once.** A request whose answer is lost is made again, and its records may be there twice.
//! - **What is reported as delivered is delivered.** A KCL discards an aggregate that was stored in a shard which does
//!   not own all of its records, as it happens when a shard is split. Such an aggregate is sent again as a whole, and
//!   none that is fine is: other consumers, which do not discard, see the first copy, too. An aggregate that is sent more than
//!   five seconds after the last answer is reported once the shards are listed again: a stream that was deleted and created
//!   again has shards of the same ids with other ranges. This takes Kinesis longer than five seconds.
//! - **Order.** Records of one hash key, which is the explicit one or that of the partition key, that are put one after the
//!   other are stored, and by a KCL delivered, in that order as long as no attempt fails, also while shards are split or
//!   merged. An entry of a request that fails
//!   can be overtaken by the entries behind it in the same request, never by a later request. See `RecordOrder` for
//!   the price, and for an order that holds whatever fails. A shard that opens and closes again between two listings can
//!   cause duplicates.
//! - **Bounded memory.** `put` waits when `max_outstanding_records` or `max_outstanding_bytes` are reached, over all streams;
//!   [`ProducerBuilder::max_outstanding_bytes`] says what that comes to. A stream that is stuck leaves
//!   [a part](ProducerBuilder::stream_shares) of it to the others, unless it took up all of it while it was the only one in
//!   use.
//! - **No surprise on special streams.** What a stream takes, and whether it heeds partition keys at all, is asked with
//!   DescribeStreamSummary; without that permission it is taken for an ordinary one, with one warning.
//! - **Limits in time.** No attempt starts after `record_ttl`; an answer is waited for up to `request_timeout`. What
//!   cannot succeed (access denied, no region, a record that is not accepted) fails at once, and no other record with it.
//!   What may pass within seconds is tried for three seconds, and fails at once from then on: a missing stream, since
//!   Kinesis reports one for about a second after it became ACTIVE; a refused signature, since the SDK corrects a wrong clock
//!   by the refusal; missing credentials. A new stream must be ACTIVE before records are put.
//! - **Few calls in trouble.** While the service is down, one request at a time is sent, after pauses that grow to five
//!   seconds, whatever the number of shards. Bytes in flight start at 64 KiB and a request, and grow with answers that take
//!   less than half of `request_timeout`: a slow network is filled, not flooded.
//!
//! Where that differs from the KPL: it has no limit to its buffer, retries everything until the time to live ends,
//! forgets the cause, judges each user record of an aggregate for itself, and limits nothing without aggregation.
//!
//! # Ways to put
//! - [`Producer::put`] and [`Producer::try_put`]: a record; its [`Delivery`] tells what became of it.
//! - [`Producer::put_all`]: a batch, and all outcomes. What AWS Lambda functions want, besides [`Producer::flush`] at the end
//!   of an invocation, which returns as soon as everything is resolved.
//! - [`Producer::sink`]: a `futures::Sink`.
//! - [`ProducerBuilder::build_blocking`] and [`Producer::blocking`]: threads without a runtime.
//! - [`Producer::to_stream`]: another stream, with the same client, settings and buffer.
//!
//! Consumers that are no KCL take aggregates apart with [`aggregated::Deaggregator`]. Those that route by the Kinesis record's
//! partition key want [`Aggregation::ByPartitionKey`] or another [`AggregateKey`], or no aggregation.
//!
//! # Metrics
//! The KPL's, with its names, units and dimensions, through the `metrics` crate: install a recorder before the first record
//! is put. Without one they cost next to nothing.
//!
//! - Counters: `UserRecordsReceived`, `UserRecordsPut`, `UserRecordsDataPut`, `UserRecordExpired`, `KinesisRecordsPut`,
//!   `KinesisRecordsDataPut`, `ErrorsByCode` and `AllErrors` are the sums of the KPL's metrics. `UserRecordsFailed` is its
//!   number of samples of `UserRecordsPut` less their sum. A request that fails as a whole is one error.
//! - Histograms: `RetriesPerRecord`, `RequestTime`, `UserRecordsPerKinesisRecord`, `KinesisRecordsPerPutRecordsRequest`,
//!   `UserRecordsPerPutRecordsRequest`; `BufferingTime` with one sample for each Kinesis record sent.
//! - Gauge: `UserRecordsPending`.
//!
//! Dimensions: `StreamName`; `ErrorCode` of `ErrorsByCode`; `ShardId` if [asked for](MetricsGranularity::Shard), the actual
//! shard for what concerns user records that are stored, else the predicted one. Programs that want to act on what happens
//! take [`Event`]s and [`Producer::snapshot`].
//!
//! # Features
//! - `producer` (default): the producer. Without it there are ids, hash keys and the format of aggregated records only,
//!   which is what a consumer needs, with neither tokio nor the AWS SDK.
//! - `test-util`: a scriptable Kinesis in memory for tests of what uses a producer.
//!
//! # Where is the code
//! | File | What |
//! | --- | --- |
//! | `id.rs`, `hash_key.rs`, `record.rs` | shard ids, sequence numbers, hash keys and ranges, user records |
//! | `digest.rs` | MD5 of several inputs side by side |
//! | `aggregated.rs`, `aggregated/{encode,decode,deaggregator}.rs` | the format of aggregated records |
//! | `producer.rs`, `builder.rs`, `config.rs` | the handle: put, flush, shutdown; its settings and their bounds |
//! | `sink.rs`, `blocking.rs` | the same as a `Sink`, and for threads without a runtime |
//! | `delivery.rs`, `delivery/ticket.rs`, `error.rs`, `event.rs` | answers and who owes them, errors, and what else happens |
//! | `space.rs` | the bounds of the buffer, the shares of its streams, and who waits for space |
//! | `streams.rs`, `queue.rs` | which streams there are; the way to a stream's task, and when there is one |
//! | `pipeline.rs` | the task that feeds a stream's engine and performs what it decides |
//! | `pipeline/metering.rs`, `pipeline/flushes.rs` | what it counts; who waits for its flushes |
//! | `kinesis.rs`, `kinesis/sdk.rs` | the seam to the service, and the AWS SDK behind it |
//! | `logic.rs` | inputs and actions of the engine; all below it is pure |
//! | `logic/engine.rs` | runs records through the stages |
//! | `logic/lanes.rs`, `logic/aggregator.rs`, `logic/packed.rs`, `logic/pending.rs` | what waits for each shard, grouped and encoded |
//! | `logic/limiter.rs`, `logic/collector.rs`, `logic/flow.rs` | when a request goes out and with what |
//! | `logic/retrier.rs` | what an answer means |
//! | `logic/shard_map.rs`, `logic/description.rs` | which shard owns what; what is special about the stream |
//! | `logic/barrier.rs`, `logic/ages.rs` | when a flush is complete; how old the oldest record is |
//! | `testing.rs`, `testing/stream.rs` | a Kinesis in memory |

// The crate's documentation is about the producer.
#![cfg_attr(not(feature = "producer"), allow(rustdoc::broken_intra_doc_links))]

pub mod aggregated;
mod digest;
pub mod hash_key;
pub mod id;
mod record;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
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
mod intake;
#[cfg(feature = "producer")]
pub mod kinesis;
#[cfg(feature = "producer")]
mod locked;
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
pub use record::UserRecord;
#[cfg(feature = "producer")]
pub use {
    config::{AggregateKey, Aggregation, DEFAULT_MAX_RECORD_BYTES, MAX_RECORD_BYTES, MetricsGranularity, RecordOrder},
    delivered::Delivered,
    delivery::Delivery,
    error::{Attempt, BoxError, ConfigError, DeliveryError, DeliveryErrorKind, PutError, RecordError, ShutdownError},
    event::{Event, Snapshot},
    kinesis::Kinesis,
    producer::{Producer, blocking::BlockingProducer, builder::ProducerBuilder, sink::RecordSink},
    record::PARTITION_KEY_MAX_CHARS,
};
