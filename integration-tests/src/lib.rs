//! The fixture of the end-to-end tests: a [`World`] with an embedded AWS, a stream, workers, and the log of what they did.
//! Beside it the conformance suite, the interop runs with other languages, what both need on AWS itself, and what benches
//! share.

use std::{fmt, time::Duration};

use tokio::time::{Instant, sleep};

pub mod bench;
pub mod conformance;
mod fleet;
pub mod history;
pub mod interop;
mod journal;
mod large_fleet;
mod log;
mod producing;
mod rest;
pub mod seeds;
pub mod service;
mod table;
mod table_requests;
mod world;

pub use fleet::Running;
pub use journal::{Call, Entry, Journal, JournalProcessor, id_of};
pub use large_fleet::{FleetSize, LargeFleet, Phase};
pub use log::{EventLog, Log, Records};
pub use producing::{failures, store, user_record};
pub use rest::MinuteAtRest;
pub use table::{Item, Table, number, text};
pub use table_requests::TableRequests;
pub use world::World;

/// Name of every test's stream.
pub const STREAM: &str = "StockTradeStream";
/// Name of every test's application and lease table.
pub const APPLICATION: &str = "StockTradesProcessor";
/// Id of a stream's first shard.
pub const SHARD: &str = "shardId-000000000000";

/// Waits for a condition, for at most two virtual minutes.
///
/// # Panics
/// The condition does not hold by then.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    until(what, String::new, async || condition()).await;
}

/// Time without a change after which things have settled: more than a takeover takes, and than the longest pause after a
/// processor's failures, 30 s.
const QUIET: Duration = Duration::from_secs(45);
/// Maximum time that things may need to settle.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until this state has not changed for 20 virtual seconds, and returns it.
///
/// # Panics
/// It still changes after ten minutes.
pub async fn settled<T: PartialEq + fmt::Debug>(state: impl Fn() -> T) -> T {
    let deadline = Instant::now() + PATIENCE;
    let (mut last, mut since) = (state(), Instant::now());
    while since.elapsed() < QUIET {
        assert!(Instant::now() < deadline, "it has not settled in {PATIENCE:?}: {last:?}");
        sleep(Duration::from_secs(1)).await;
        let now = state();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Waits for a condition, for at most two virtual minutes; a panic shows the state.
async fn until(what: &str, state: impl Fn() -> String, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited two minutes until {what}{}", state());
        sleep(Duration::from_millis(50)).await;
    }
}
