//! Samples whose dependencies are not needed elsewhere in the workspace, and small applications.
//!
//! | sample | |
//! |---|---|
//! | `balances` | trades into balances in PostgreSQL or DynamoDB, each once while worker processes are killed |
//! | `archive` | [`archive`]: records as JSON lines or Parquet in a folder or S3, each in one object |
//! | `letters` | [`letters`]: dead letters in SQS, S3 and folders, and their way back from there and from files |
//! | `clicks` | [`clicks`]: keywords of a click stream, counted in windows |
//! | `shop` | [`shop`]: monitoring of a shop, with an alert on an anomaly |
//! | `lambda` | [`lambda`]: functions that consume and produce, and what runs them locally |
//! | `rest-proxy` | [`rest_proxy`]: PutRecord and PutRecords over HTTP |
//!
//! `cargo run -p samples --example SAMPLE` runs one; the last two are programs: `--bin`. Shared: [`objects`] (folders and S3 by
//! their addresses), [`tally`] (effects in memory), [`picture`] (line charts), [`put_records`] (requests and answers of the proxy
//! and the producer function), [`ambient`] (the AWS around a program).

pub mod ambient;
pub mod archive;
pub mod clicks;
pub mod lambda;
pub mod letters;
pub mod objects;
pub mod picture;
pub mod put_records;
pub mod rest_proxy;
pub mod shop;
pub mod tally;

/// The code of the guide's pages that use these samples, compiled with the documentation's tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../docs/archive.md")]
    struct Archive;
    #[doc = include_str!("../../docs/parquet.md")]
    struct Parquet;
    #[doc = include_str!("../../docs/dead-letters.md")]
    struct DeadLetters;
    #[doc = include_str!("../../docs/lambda.md")]
    struct Lambda;
}
