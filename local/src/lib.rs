//! Amazon Kinesis Data Streams and DynamoDB, and CloudWatch as far as it takes metrics, in your process, for tests and for
//! trying things out: without containers, Java or ports.
//!
//! ```
//! use aws_sdk_kinesis::{Client, primitives::Blob};
//! use kinesis_local::LocalAws;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let aws = LocalAws::start().await;
//! aws.create_stream("orders", 2)?;
//! let kinesis = Client::new(&aws.sdk_config());
//!
//! let put = kinesis.put_record().stream_name("orders").partition_key("customer-7").data(Blob::new("tea"));
//! println!("stored in {}", put.send().await?.shard_id());
//! # Ok(())
//! # }
//! ```
//!
//! The clients are those of the AWS SDK, and one configuration serves all services; only the HTTP client is replaced, by
//! one that answers in the process. Two [`LocalAws`] share nothing, and one starts in less than a millisecond, so every
//! test starts its own.
//!
//! **Time is tokio's.** Under `#[tokio::test(start_paused = true)]` the services' timestamps, expiries and retention
//! follow virtual time, a day passes in an instant, and calls take no time, so no timeout fires early.
//!
//! **Metrics** that clients put to CloudWatch are kept for tests: [`LocalAws::metrics`].
//!
//! **Other processes and languages** use the services over HTTP: `LocalAws::serve`, or the command `kinesis-local`, which
//! runs a program in an environment from which nothing reaches the real AWS:
//!
//! ```bash
//! kinesis-local run --stream orders:2 -- python consumer.py
//! ```
//!
//! Both are in the feature `serve`, which is on by default; tests in one process build faster without it. It speaks
//! HTTP/1.1 and HTTP/2, in clear text or over TLS with a certificate of its own, and besides JSON the CBOR that
//! the Java SDK sends to Kinesis.
//!
//! **Faults** are injected by rules, at any time: [`LocalAws::faults`]. Delays of DynamoDB's eventually consistent reads
//! and new indexes are set by [`Builder::dynamodb_reads_lag`], [`Builder::indexes_take`] and [`Builder::indexes_lag`],
//! clocks that differ by [`LocalAws::set_clock_ahead`], slow networks by [`Link`].
//!
//! **Limits** on throughput and calls are enforced on request: [`Builder::enforce_limits`]. Memory is always bounded:
//! [`Builder::max_retained_bytes`].
//!
//! # Fidelity
//! Lineage of shards through splits, merges and uniform scaling; the end of a closed shard with its child shards; all
//! iterator types and shard filters; pages and tokens; lag; millisecond arrival times and positions; expiry of
//! iterators and tokens after five minutes; retention; limits of requests and records; sequence numbers that grow
//! along the lineage; names and ARNs; error codes, and messages where they are known. Consumers with enhanced fan-out:
//! events the moment records are put, an empty one every five seconds, sessions of five minutes, takeover after five
//! seconds, child shards at the end of a shard, exceptions when the consumer or its stream is deleted. Tags, capacity modes,
//! automatic distribution of records, records of up to 10 MiB. Resource policies, kept but not enforced.
//!
//! # Limitations
//! Missing are channels, account settings, warm throughput, and the scaling of on-demand streams. Encryption is only
//! flags. `dynamodb.rs` lists what DynamoDB lacks. Data is kept in memory until the process ends. Signatures are checked
//! for their time only.
//!
//! # Where is the code
//! | File | What |
//! | --- | --- |
//! | `local.rs` | [`LocalAws`] and its builder |
//! | `services.rs` | the services behind one entrance: request in, answer out, faults in between |
//! | `wire.rs`, `query.rs` | the formats of requests and answers: JSON, CBOR, and the Query protocol |
//! | `connector.rs`, `link.rs` | the entrance as an HTTP client of the SDK; links of limited bandwidth |
//! | `subscription.rs`, `event_stream.rs` | subscriptions as event streams; frames |
//! | `serve.rs` and below, `bin/kinesis-local/` | the entrance on loopback ports, TLS; the command |
//! | `access.rs`, `faults.rs` and below | denied actions; injected faults |
//! | `refusal.rs` | refusals as they go over the wire |
//! | `clock.rs`, `timestamp.rs` | the virtual clocks of the process and of the services; times on the wire |
//! | `signature.rs` | the age of signatures |
//! | `kinesis.rs` | Kinesis: the account's streams. Pure, like all below it |
//! | `kinesis/stream.rs`, `shard.rs`, `reshard.rs` | the state of a stream, and how its shards change |
//! | `meter.rs`, `kinesis/limits.rs`, `kinesis/shard_meters.rs` | limits: on one use, of the account, of shards |
//! | `kinesis/consumer.rs`, `tags.rs` | registered consumers and their subscriptions; tags |
//! | `kinesis/sequence.rs`, `hash_key.rs`, `iterator.rs` | sequence numbers; hash keys and ranges; iterators and tokens |
//! | `kinesis/operations.rs` and below | the operations, by theme |
//! | `kinesis/request.rs`, `response.rs`, `check.rs`, `error.rs` | the wire: requests, answers, checks, refusals |
//! | `cloudwatch.rs`, `cloudwatch/metric.rs` | the metrics that were put |
//! | `dynamodb.rs` and below | DynamoDB: its core in `dynamodb/core/`, lagging reads, indexes that take time; its peer dynoxide |

mod access;
mod clock;
mod cloudwatch;
mod connector;
mod dynamodb;
mod event_stream;
mod faults;
#[doc(hidden)]
pub mod fuzz;
mod kinesis;
mod link;
mod local;
mod meter;
mod query;
mod refusal;
#[cfg(feature = "serve")]
mod serve;
mod services;
mod signature;
mod subscription;
mod timestamp;
mod wire;

pub use self::cloudwatch::{Metric, MetricForm};
pub use self::dynamodb::ConsumedCapacity;
pub use self::faults::{Fault, FaultRule, Faults};
pub use self::link::Link;
pub use self::local::{Builder, CreateStreamError, LocalAws};
#[cfg(feature = "serve")]
pub use self::serve::{ServeError, ServeOptions, Server};

/// The account that everything belongs to.
const ACCOUNT_ID: &str = "000000000000";

/// The region that everything is in.
const REGION: &str = "us-east-1";
