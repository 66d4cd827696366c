//! Samples whose dependencies are not needed elsewhere in the workspace.
//!
//! | sample | |
//! |---|---|
//! | `balances` | trades into balances in PostgreSQL or DynamoDB, each once while worker processes are killed |
//!
//! `cargo run -p samples --example SAMPLE` runs one.
