//! Processes of this program that serve or are measured. They report by lines, end when their input does, and fail as a
//! whole when anything does.

mod by_hand;
mod kcl_worker;
mod kpl_producer;
mod serve;

use clap::{Args, Subcommand};

use super::clients::Services;
use super::work::Work;

/// A process.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Serves Kinesis and DynamoDB; prints their URLs, and counts at the line `counts`.
    #[command(hide = true)]
    Serve(serve::Serve),
    /// Produces by kpl.
    #[command(hide = true)]
    Kpl(Produce),
    /// Produces by a loop over PutRecords.
    #[command(hide = true)]
    ByHand(Produce),
    /// Consumes by kcl.
    #[command(hide = true)]
    Kcl(kcl_worker::Consume),
}

/// Arguments of a producer.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    #[command(flatten)]
    services: Services,
    #[arg(long)]
    records: usize,
    #[arg(long)]
    bytes: usize,
    #[arg(long)]
    aggregated: bool,
}

impl Produce {
    fn work(&self) -> Work {
        Work { records: self.records, bytes: self.bytes, aggregated: self.aggregated }
    }
}

/// Plays a role on the runtime that an application has by default.
pub(crate) fn play(role: Role) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            Role::Serve(serve) => serve::run(serve).await,
            Role::Kpl(produce) => kpl_producer::run(&produce).await,
            Role::ByHand(produce) => by_hand::run(&produce).await,
            Role::Kcl(consume) => kcl_worker::run(consume).await,
        }
    })?;
    // What still runs is of no use.
    std::process::exit(0)
}

/// Waits until the input ends.
async fn dismissed() -> anyhow::Result<()> {
    let input = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(input).await??;
    Ok(())
}
