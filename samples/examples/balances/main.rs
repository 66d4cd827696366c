//! Trades into balances, each exactly once while everything dies.
//!
//! ```sh
//! cargo run -p samples --example balances -- postgres
//! cargo run -p samples --example balances -- dynamodb
//! ```
//!
//! Puts trades on an AWS embedded in this process and served to others, and processes them by four worker processes.
//! Each second one of these is killed as `kill -9` does; shards are split and merged; the database is shut down at
//! once and started again. At the end the balances of all symbols are those of an independent count, or the exit code
//! is 1.
//!
//! | store | effect and progress are one transaction by |
//! |---|---|
//! | `postgres` | a `TransactionalSink`, which keeps the position in the database |
//! | `dynamodb` | `Checkpointer::checkpoint_with`, which writes the balances with the lease |
//!
//! Guarantees: each trade counts once, whatever dies when. Not so for trades that a producer puts twice. While the
//! database is gone, batches fail and are delivered again: nothing is lost. The guide is `docs/exactly-once.md`.
//!
//! `postgres` starts a PostgreSQL of its own in a temporary folder, whose programs must be installed (Debian's package
//! `postgresql`), or uses that at `--database`, which it does not restart.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use examples::setup;

use crate::{chaos::Chaos, store::Store, surroundings::Surroundings};

mod chaos;
#[path = "../../../examples/examples/positions/ledger.rs"]
mod ledger;
mod postgres;
mod processes;
mod server;
mod shards;
mod store;
mod surroundings;

/// Trades into balances, exactly once.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    store: StoreArguments,
    /// Seconds for which workers die
    #[arg(long, global = true, default_value_t = 60)]
    seconds: u64,
    /// Use the Kinesis and the DynamoDB of the environment instead of embedded ones
    #[arg(long, global = true)]
    aws: bool,
    /// Be one worker, with this id, until stdin ends
    #[arg(long, global = true, hide = true)]
    worker: Option<String>,
}

#[derive(Debug, Subcommand)]
enum StoreArguments {
    /// Balances in PostgreSQL
    Postgres {
        /// Address of an existing database, as postgres://user@host/name
        #[arg(long)]
        database: Option<String>,
    },
    /// Balances in DynamoDB, in the lease table's account
    Dynamodb,
}

#[tokio::main]
async fn main() -> ExitCode {
    setup::log_to(std::io::stderr, "error");
    setup::exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { store, seconds, aws, worker } = arguments;
    let stop = setup::stop_signal()?;
    let surroundings =
        if aws || worker.is_some() { Surroundings::given().await? } else { Surroundings::embedded().await? };
    if let Some(worker_id) = worker {
        let store = match store {
            StoreArguments::Postgres { database } => Store::postgres(database, false).await?,
            StoreArguments::Dynamodb => Store::dynamodb(&surroundings.aws),
        };
        return processes::work(&surroundings.aws, &store, worker_id).await.map(|()| true);
    }
    let store = match store {
        StoreArguments::Postgres { database } => Store::postgres(database, true).await?,
        StoreArguments::Dynamodb => Store::dynamodb(&surroundings.aws),
    };
    let chaos = Chaos { surroundings, store, length: Duration::from_secs(seconds) };
    tokio::select! {
        outcome = chaos.run() => outcome,
        () = stop => anyhow::bail!("stopped before the end"),
    }
}
