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
//! # Way of a record (`=>` crosses a task)
//! ```text
//! put: checks, space in the buffer => queue => pipeline: hash keys, eight at a time => engine
//!   lanes       one per shard; the shard map predicts which
//!   aggregator  encodes user records into Kinesis records of up to 51,200 bytes, within 100 ms
//!   limiter     150 % of what a shard accepts
//!   collector   groups Kinesis records into requests of up to 500
//! => PutRecords => engine
//!   retrier     stored -> Delivery | again -> lane | shard unknown -> list the shards first | failed -> Delivery
//! ```
//!
//! # Guarantees
//! - **Every accepted record resolves its `Delivery` once**, also at failures, shutdown, a panic, and the end of the
//!   runtime. An error returns the record with the true cause.
//! - **At least once.** A request whose answer is lost is sent again, and its records may be stored twice.
//! - **A record reported as delivered is delivered.** A KCL discards an aggregate stored in a shard that does not own all
//!   of its records, as happens when a shard is split. Such an aggregate, and no other, is sent again as a whole.
//!   Consumers that do not discard see both copies. An aggregate sent more than five seconds after the last answer is
//!   reported once the shards are listed again: the stream may have been deleted and created again in the meantime.
//! - **Order.** Records of one hash key (the explicit one, else that of the partition key), put one after the other, are
//!   stored and by a KCL delivered in that order while no attempt fails, also while shards are split or merged. A failed
//!   entry can be overtaken by later entries of its request, never by a later request. See [`RecordOrder`] for the price,
//!   and for an order that survives failures. A shard opened and closed between two listings can cause duplicates.
//! - **Bounded memory.** `put` waits at `max_outstanding_records` or `max_outstanding_bytes`, over all streams, see
//!   [`ProducerBuilder::max_outstanding_bytes`]. A stuck stream leaves [a share](ProducerBuilder::stream_shares) to the
//!   others, unless it filled the buffer while it was the only one in use.
//! - **Special streams.** Record limit and distribution strategy are read with DescribeStreamSummary, or defaults assumed.
//! - **Bounded time.** No attempt starts after `record_ttl`; an answer is awaited for up to `request_timeout`. Permanent
//!   errors (access denied, no region, a refused record) fail at once, and no other record with them. A missing stream, a
//!   refused signature and missing credentials may pass within seconds: they are retried for three seconds, then fail at
//!   once. A new stream must be ACTIVE before records are put.
//! - **Few calls in trouble.** While the service is down, one request at a time is sent, after pauses of up to five seconds.
//!   Bytes in flight start at 64 KiB and a request, and grow with answers faster than half of `request_timeout`.
//!
//! The KPL has no buffer limit, retries everything until the time to live ends, loses the cause, judges each user record of
//! an aggregate separately, and limits nothing without aggregation.
//!
//! # Ways to put
//! - [`Producer::put`] and [`Producer::try_put`]: one record, with its [`Delivery`].
//! - [`Producer::put_all`]: a batch with all outcomes, for AWS Lambda functions; or [`Producer::flush`] at their end.
//! - [`Producer::sink`]: a `futures::Sink`.
//! - [`ProducerBuilder::build_blocking`] and [`Producer::blocking`]: threads without a runtime.
//! - [`Producer::to_stream`]: another stream, with the same client, settings and buffer.
//!
//! Consumers other than a KCL read aggregates with [`aggregated::Deaggregator`]. Those that route by the Kinesis record's
//! partition key need [`Aggregation::ByPartitionKey`], another [`AggregateKey`], or no aggregation.
//!
//! # Metrics
//! The KPL's names, units and dimensions, through the `metrics` crate: install a recorder before the first record is put.
//!
//! - Counters: `UserRecordsReceived`, `UserRecordsPut`, `UserRecordsDataPut`, `UserRecordExpired`, `KinesisRecordsPut`,
//!   `KinesisRecordsDataPut`, `ErrorsByCode` and `AllErrors` are the sums of the KPL's metrics. `UserRecordsFailed` is its
//!   number of samples of `UserRecordsPut` less their sum. A request that fails as a whole is one error.
//! - Histograms: `RetriesPerRecord`, `RequestTime`, `UserRecordsPerKinesisRecord`, `KinesisRecordsPerPutRecordsRequest`,
//!   `UserRecordsPerPutRecordsRequest`; `BufferingTime` with one sample for each Kinesis record sent.
//! - Gauge: `UserRecordsPending`.
//!
//! Dimensions: `StreamName`; `ErrorCode` of `ErrorsByCode`; `ShardId` if [enabled](MetricsGranularity::Shard), the actual
//! shard of stored user records, else the predicted one. See [`Event`] and [`Producer::snapshot`] for programs.
//!
//! # Features
//! - `producer` (default): the producer. Without it the crate has ids, hash keys and the format of aggregated records,
//!   which is what a consumer needs, with neither tokio nor the AWS SDK.
//! - `test-util`: a scriptable Kinesis in memory for tests of applications.
//!
//! # Glossary of the private code
//! - **engine**: all decisions about one stream, pure; **pipeline**: the task that runs it.
//! - **intake**: the way into a pipeline; **queue**: its commands; **space**: the bounds of the buffer; **share**: the part of
//!   it that one stream takes up.
//! - **ticket**: a record and the duty to resolve its delivery; **stub**: a ticket whose record is encoded.
//! - **lane**: what waits for one shard; **packed** records are encoded in an aggregate; a **sealed** aggregate takes no more.
//! - **course**: the attempts of a user record so far; **retrier**: the meaning of answers.
//! - **flight**: a request under way; **flow**: the number and bytes of requests under way.
//! - **unjudged** aggregates are stored in a shard whose range is not known; **listing**: a call of ListShards.

// The crate's documentation is about the producer.
#![cfg_attr(not(feature = "producer"), allow(rustdoc::broken_intra_doc_links))]

pub mod aggregated;
mod digest;
pub mod hash_key;
pub mod id;
mod record;

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
pub use record::{PARTITION_KEY_MAX_CHARS, UserRecord};
#[cfg(feature = "producer")]
pub use {
    config::{AggregateKey, Aggregation, DEFAULT_MAX_RECORD_BYTES, MAX_RECORD_BYTES, MetricsGranularity, RecordOrder},
    delivered::Delivered,
    delivery::Delivery,
    error::{Attempt, BoxError, ConfigError, DeliveryError, DeliveryErrorKind, PutError, RecordError, ShutdownError},
    event::{Event, Snapshot},
    kinesis::Kinesis,
    producer::{Producer, blocking::BlockingProducer, builder::ProducerBuilder, sink::RecordSink},
};
