//! Samples whose dependencies are not needed elsewhere in the workspace, and small applications.
//!
//! | sample | |
//! |---|---|
//! | `balances` | trades into balances in PostgreSQL or DynamoDB, each once while worker processes are killed |
//! | `clicks` | [`clicks`]: keywords of a click stream, counted in windows |
//! | `shop` | [`shop`]: monitoring of a shop, with an alert on an anomaly |
//!
//! `cargo run -p samples --example SAMPLE` runs one. Shared: [`tally`] (effects in memory), [`picture`] (line charts).

pub mod clicks;
pub mod picture;
pub mod shop;
pub mod tally;
