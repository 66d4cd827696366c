//! Samples whose dependencies are not needed elsewhere in the workspace, and small applications.
//!
//! | sample | |
//! |---|---|
//! | `balances` | trades into balances in PostgreSQL or DynamoDB, each once while worker processes are killed |
//! | `clicks` | [`clicks`]: keywords of a click stream, counted in windows |
//! | `shop` | [`shop`]: monitoring of a shop, with an alert on an anomaly |
//! | `lambda` | [`lambda`]: functions that consume and produce, and what runs them locally |
//! | `rest-proxy` | [`rest_proxy`]: PutRecord and PutRecords over HTTP |
//!
//! `cargo run -p samples --example SAMPLE` runs one; the last two are programs: `--bin`. Shared: [`tally`] (effects in memory),
//! [`picture`] (line charts), [`put_records`] (requests and answers of the proxy and the producer function), [`ambient`] (the AWS
//! around a program).

pub mod ambient;
pub mod clicks;
pub mod lambda;
pub mod picture;
pub mod put_records;
pub mod rest_proxy;
pub mod shop;
pub mod tally;
