//! Interoperability with software of others: it runs in processes of its own, beside the served `kinesis-local`.
//!
//! Every process that consumes or produces prints what happens as lines of JSON ([`Told`]), whatever its language. The
//! scenarios start them, disturb them, and compare what was put with what was delivered. Time is real here, since sockets
//! do not wait for a virtual clock; all waiting is for a condition.

mod adopted;
mod daemon;
mod expected;
mod fleet;
mod java_to_kcl;
mod journal;
mod kds;
mod kpl_to_java;
mod log_check;
mod mixed_fleet;
mod one_table;
mod peer;
mod peers;
mod producing;
mod readers;
mod refused;
mod resharding;
mod roads;
mod samples;
mod served;
mod source;
mod told;
pub mod worker;

pub use adopted::adopted;
pub use expected::{Comparison, Expected};
pub use java_to_kcl::java_to_kcl;
pub use journal::Journal;
pub use kpl_to_java::kpl_to_java;
pub use mixed_fleet::{Layout, heartbeats, mixed_fleet};
pub use peer::Peer;
pub use peers::{ConsumerKind, ConsumerOptions, Peers};
pub use refused::refused;
pub use roads::upgrade_roads;
pub use samples::samples;
pub use served::Served;
pub use told::{Read, Told};

/// Name of every scenario's stream.
pub const STREAM: &str = "StockTradeStream";
