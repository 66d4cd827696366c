//! Trades into an archive, each in exactly one object: `cargo run -p samples --example archive -- [PLACE] [--parquet]`.
//!
//! Puts trades on an AWS embedded in this process, and archives them by workers of which two crash. PLACE is a folder,
//! by default a temporary one, or `s3://bucket/path`. `--parquet` has columns as the first trades have them,
//! `--parquet=price:double,quantity:int64` those of a schema. Prints the objects; the exit code is 1 if they have not as
//! many records as trades were put.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use examples::{generator::Generator, setup, trade::Trade};
use kcl::{InitialPosition, ShardContext, Worker};
use kinesis_local::LocalAws;
use kpl::{Delivery, Producer, UserRecord};
use samples::{
    archive::{Archive, Format, Schema},
    objects::Objects,
};
use tokio::time::sleep;

const STREAM: &str = "StockTradeStream";
const TRADES: usize = 3_000;

/// An archive of trades.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder, or s3://bucket/path
    place: Option<String>,
    /// Parquet rather than JSON lines, with the columns of a schema if it is given
    #[arg(long, value_name = "SCHEMA", num_args = 0..=1, require_equals = true)]
    parquet: Option<Option<Schema>>,
    /// File for the trades as they are put, as JSON lines
    #[arg(long, value_name = "FILE")]
    put: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    setup::log_to(std::io::stderr, "error,samples=warn");
    setup::exit_code(run(Arguments::parse()).await.map_err(anyhow::Error::from_boxed))
}

async fn run(arguments: Arguments) -> Result<bool, kcl::BoxError> {
    let temporary = tempfile::tempdir()?;
    let place = arguments.place.unwrap_or_else(|| temporary.path().display().to_string());
    let format = arguments.parquet.map_or(Format::JsonLines, Format::Parquet);
    let archive = Archive::new(Objects::open(&place)?).format(format);
    let archive = archive.max_bytes(64 * 1024).max_age(Duration::from_secs(2));
    let local = LocalAws::start().await;
    local.create_stream(STREAM, 2)?;
    let aws = local.sdk_config();
    let start = |id: usize| -> Result<_, kcl::BoxError> {
        let archive = archive.clone();
        let worker = Worker::builder(&aws, "archive", STREAM)
            .worker_id(format!("worker-{id}"))
            .lease_duration(Duration::from_secs(2))
            .initial_position(InitialPosition::TrimHorizon)
            .build(move |shard: &ShardContext| archive.processor(shard))?;
        Ok(tokio::spawn(worker.run()))
    };

    let producer = Producer::builder(&aws, STREAM).build()?;
    let trades: Vec<_> = Generator::new(1).take(TRADES).collect();
    if let Some(put) = arguments.put {
        note(&put, &trades)?;
    }
    let before = archive.contents().await?.iter().map(|(_, records)| records).sum::<usize>();
    for (crash, trades) in trades.chunks(TRADES / 2).enumerate() {
        let worker = start(crash)?;
        let mut deliveries: Vec<Delivery> = Vec::new();
        for trade in trades {
            deliveries.push(producer.put(UserRecord::new(&*trade.ticker_symbol, trade.to_json())).await?);
        }
        for delivery in deliveries {
            delivery.await?;
        }
        sleep(Duration::from_millis(2_500)).await;
        worker.abort(); // no last object, no last checkpoint
    }
    producer.shutdown().await;

    let last = start(2)?;
    sleep(Duration::from_secs(8)).await;
    last.abort();
    let contents = archive.contents().await?;
    for (path, records) in &contents {
        println!("{records:6} records in {path}");
    }
    let archived = contents.iter().map(|(_, records)| records).sum::<usize>() - before;
    println!("{archived} of {TRADES} trades archived");
    Ok(archived == TRADES)
}

/// Writes the trades as they are put.
fn note(put: &Path, trades: &[Trade]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(put)?);
    for trade in trades {
        let data = trade.to_json();
        let line = serde_json::json!({ "partitionKey": trade.ticker_symbol, "data": String::from_utf8_lossy(&data) });
        writeln!(file, "{line}")?;
    }
    file.flush()
}
