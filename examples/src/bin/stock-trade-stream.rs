//! Runs the StockTradeStream tutorial end to end, by default on an AWS embedded in this process.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use examples::{
    metrics::Exporter,
    setup,
    stock_trade_stream::{self, Options, console::Console},
};
use tokio_util::sync::CancellationToken;

/// Puts stock trades into a Kinesis stream, reads them back, and checks that none is lost, doubled or out of order.
///
/// Without options everything runs in this process: no AWS account, no servers, no ports. The exit code is 0 if every
/// trade arrived and every row of a file was understood, else 1.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Random trades to put
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    trades: u64,
    /// Shards of the stream, if it has to be created
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(i32).range(1..))]
    shards: i32,
    /// Workers to read with
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    workers: u16,
    /// Leave the shards as they are; by default one is split half-way
    #[arg(long)]
    no_reshard: bool,
    /// Seed of the random trades, to get the same ones again
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Use the AWS configuration of the environment (credentials, region, AWS_ENDPOINT_URL_*) instead of the embedded AWS.
    /// The stream and the lease table are created if they do not exist, and kept
    #[arg(long)]
    aws: bool,
    /// Name of the stream
    #[arg(long, value_name = "NAME", default_value = "StockTradeStream")]
    stream: String,
    /// Name of the application, also of its lease table
    #[arg(long, value_name = "NAME", default_value = "StockTradesProcessor")]
    application: String,
    /// Put the trades of a file of daily bars instead: CSV, plain or gzip, with the columns Ticker, Open, Close, Volume
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Print statistics and a summary for people (text), or only the summary as one line of JSON (json)
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    summary: Format,
    /// Exporter of the metrics
    #[arg(long, value_enum, default_value_t = Exporter::None)]
    metrics: Exporter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    setup::exit_code(run(arguments).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let options = Options {
        trades: arguments.trades,
        shards: arguments.shards,
        workers: usize::from(arguments.workers),
        reshard: !arguments.no_reshard,
        seed: arguments.seed,
        aws: arguments.aws,
        stream: arguments.stream,
        application: arguments.application,
        replay: arguments.replay,
        metrics: arguments.metrics,
    };
    let console = match arguments.summary {
        Format::Text => Console::new(),
        Format::Json => Console::new().without_reports(),
    };
    setup::log_to(console.clone(), console.log_filter());
    let stop = CancellationToken::new();
    let signal = setup::stop_signal()?;
    tokio::spawn({
        let stop = stop.clone();
        async move {
            signal.await;
            stop.cancel();
        }
    });
    let summary = stock_trade_stream::run(&options, &console, stop).await?;
    match arguments.summary {
        Format::Text => console.print(&summary.to_string()),
        Format::Json => console.print(&summary.to_json()),
    }
    Ok(summary.is_success())
}
