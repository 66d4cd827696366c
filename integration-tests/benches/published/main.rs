//! Metrics that the KPL and KCL for Java publish, side by side with those of `kpl` and `kcl`:
//! `integration-tests/side-by-side/metrics`, which installs the peers and runs this.
//!
//! Each side has an AWS of its own and does the same work with default settings: a producer of 100 records of 100 B a second
//! on two shards, of which one is split half-way, and a worker that checkpoints each batch. Prints what each CloudWatch got,
//! and keeps it beside the logs.

mod java;
mod ours;
mod record;
mod table;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use kinesis_local::LocalAws;
use tokio::time::sleep;

const STREAM: &str = "StockTradeStream";
const APPLICATION: &str = "StockTradesProcessor";
const WORKER: &str = "worker-1";
const SHARDS: u32 = 2;
const RECORDS_PER_SECOND: usize = 100;
/// Time for the start of a worker for Java, until its first record: it looks for leases after its first minute only.
const START: Duration = Duration::from_secs(100);

#[derive(Parser)]
struct Arguments {
    /// Seconds of the work
    #[arg(long, default_value_t = 300)]
    seconds: u64,

    /// Folder in which the peers are installed.
    #[arg(long)]
    peers: PathBuf,

    /// Folder of logs.
    #[arg(long)]
    logs: PathBuf,

    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.logs).context("no folder for logs")?;
    let (for_java, for_ours) = (LocalAws::start().await, LocalAws::start().await);
    for aws in [&for_java, &for_ours] {
        aws.create_stream(STREAM, SHARDS)?;
    }
    let work = START + Duration::from_secs(arguments.seconds);
    let split = async {
        sleep(work / 2).await;
        for aws in [&for_java, &for_ours] {
            split_first_shard(aws).await?;
        }
        anyhow::Ok(())
    };
    let java = java::work(&for_java, &arguments.peers, &arguments.logs, work);
    tokio::try_join!(java, ours::work(&for_ours, work), split)?;
    let (java, ours) = (for_java.metrics(), for_ours.metrics());
    record::write(&java, &arguments.logs.join("java.jsonl"))?;
    record::write(&ours, &arguments.logs.join("ours.jsonl"))?;
    table::print(&java, &ours);
    Ok(())
}

async fn split_first_shard(aws: &LocalAws) -> anyhow::Result<()> {
    let kinesis = aws_sdk_kinesis::Client::new(&aws.sdk_config());
    let half = (u128::MAX / u128::from(SHARDS) / 2).to_string();
    let split = kinesis.split_shard().stream_name(STREAM).shard_to_split("shardId-000000000000");
    split.new_starting_hash_key(half).send().await?;
    Ok(())
}
