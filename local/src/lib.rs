//! Amazon Kinesis Data Streams and DynamoDB, and CloudWatch as far as it takes metrics, in your process, for tests and for trying things out: no containers, no
//! Java, no ports unless asked for.
//!
//! ```
//! use aws_sdk_kinesis::{Client, primitives::Blob};
//! use kinesis_local::LocalAws;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let aws = LocalAws::start().await;
//! let kinesis = Client::new(&aws.sdk_config());
//!
//! kinesis.create_stream().stream_name("orders").shard_count(2).send().await?;
//! let put = kinesis.put_record().stream_name("orders").partition_key("customer-7").data(Blob::new("tea"));
//! println!("stored in {}", put.send().await?.shard_id());
//! # Ok(())
//! # }
//! ```
//!
//! The clients are those of the AWS SDK, and the configuration serves for all services; only the HTTP client is
//! replaced, by one that answers in process. Nothing is shared between two [`LocalAws`], so every test starts its own
//! in less than a millisecond.
//!
//! **Time is tokio's.** Under `#[tokio::test(start_paused = true)]` the services' timestamps, expiries and retention
//! move with virtual time, a day passes in an instant, and calls take no time, so no timeout fires early.
//!
//! **Metrics** that clients put to CloudWatch are kept for tests to look at: [`LocalAws::metrics`].
//!
//! **Other processes and languages** reach the same over HTTP: [`LocalAws::serve`], or the binary `kinesis-local`, which
//! prints the environment that SDKs and the AWS CLI need. In bash:
//!
//! ```bash
//! while read -r line && [ "$line" != ready ]; do eval "$line"; done < <(kinesis-local)
//! aws kinesis create-stream --stream-name orders --shard-count 2
//! kill $!
//! ```
//!
//! It speaks HTTP/1.1 and HTTP/2, in clear text or over TLS with a certificate of its own, and besides JSON the CBOR that
//! the Java SDK sends to Kinesis.
//!
//! **Faults** are set by rules, at any time: [`LocalAws::faults`]. What DynamoDB does late, eventually consistent reads
//! and new indexes, is set by [`Builder::dynamodb_reads_lag`], [`Builder::indexes_take`] and [`Builder::indexes_lag`].
//! Clocks that differ are set by [`LocalAws::set_clock_ahead`], slow networks by [`Link`].
//!
//! **Limits** on throughput and calls are lifted unless asked for: [`Builder::enforce_limits`]. Memory is bounded always:
//! [`Builder::max_retained_bytes`].
//!
//! # What is faithful
//! Lineage of shards through splits, merges and uniform scaling; the end of a closed shard with its child shards; all
//! iterator types and shard filters; pages and tokens; lag; millisecond arrival times and positions; expiry of
//! iterators and tokens after five minutes; retention; limits of requests and records; sequence numbers that grow
//! along the lineage; names and ARNs; error codes, and messages where they are known. Consumers with enhanced fan-out:
//! events the moment records are put, an empty one every five seconds, sessions of five minutes, takeover after five
//! seconds, child shards at the end of a shard, exceptions when the consumer or its stream goes. Tags, capacity modes,
//! automatic distribution of records, records of up to 10 MiB. Resource policies, kept but not enforced.
//!
//! # What is not here
//! Channels, account settings, warm throughput, and on-demand streams that scale by themselves. Of
//! encryption there are only the flags. What DynamoDB lacks is listed in `dynamodb.rs`. Data lives in memory and goes
//! with the process; of signatures only the time is checked.
//!
//! # Where is the code
//! | File | What |
//! | --- | --- |
//! | `local.rs` | [`LocalAws`] and its builder |
//! | `services.rs` | the services behind one door: request in, answer out, faults in between |
//! | `wire.rs` | the formats of requests and answers: JSON and CBOR |
//! | `connector.rs`, `link.rs` | the door as an HTTP client of the SDK; links of limited bandwidth |
//! | `subscription.rs`, `event_stream.rs` | subscriptions as event streams; frames |
//! | `serve.rs` and below, `bin/kinesis-local/` | the door on loopback ports, TLS; the binary |
//! | `access.rs`, `faults.rs` and below | denied actions; injected faults |
//! | `refusal.rs` | refusals as they go over the wire |
//! | `clock.rs`, `timestamp.rs` | the virtual clocks of the process and of the services; times on the wire |
//! | `signature.rs` | the age of signatures |
//! | `kinesis.rs` | Kinesis: the account's streams. Pure, like all below it |
//! | `kinesis/stream.rs`, `shard.rs`, `reshard.rs` | the state of a stream, and how its shards change |
//! | `kinesis/limits.rs`, `meter.rs` | limits of the account and of shards |
//! | `kinesis/consumer.rs`, `tags.rs` | registered consumers and their subscriptions; tags |
//! | `kinesis/sequence.rs`, `hash_key.rs`, `iterator.rs` | sequence numbers; hash keys and ranges; iterators and tokens |
//! | `kinesis/operations.rs` and below | the operations, by theme |
//! | `kinesis/request.rs`, `response.rs`, `check.rs`, `error.rs` | the wire: requests, answers, checks, refusals |
//! | `cloudwatch.rs`, `cloudwatch/metric.rs` | the metrics that were put |
//! | `dynamodb.rs` and below | DynamoDB by dynoxide, and what it lacks: backups, lagging reads, indexes that take time |

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
mod refusal;
mod serve;
mod services;
mod signature;
mod subscription;
mod timestamp;
mod wire;

pub use self::cloudwatch::Metric;
pub use self::faults::{Fault, FaultRule, Faults};
pub use self::link::Link;
pub use self::local::{Builder, CreateStreamError, LocalAws};
pub use self::serve::{ServeError, ServeOptions, Server};

/// The account that everything belongs to.
const ACCOUNT_ID: &str = "000000000000";

/// The region that everything is in.
const REGION: &str = "us-east-1";
