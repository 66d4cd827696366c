//! Puts random stock trades into a stream until Ctrl-C or SIGTERM.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use examples::{metrics::Exporter, setup, stock_producer};

/// Puts random stock trades into a Kinesis stream until Ctrl-C or SIGTERM, then sends what is left.
///
/// Credentials and endpoints come from the ambient AWS configuration, AWS_ENDPOINT_URL_KINESIS included.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name or ARN of the stream
    #[arg(default_value = "StockTradeStream")]
    stream: String,
    /// AWS region [default: the ambient configuration's]
    region: Option<String>,
    /// Milliseconds from one trade to the next
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Stop after this many trades
    #[arg(long, value_name = "N")]
    trades: Option<usize>,
    /// Exporter of the metrics
    #[arg(long, value_enum, default_value_t = Exporter::None)]
    metrics: Exporter,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    setup::log_to(std::io::stderr, "info");
    setup::exit_code(run(arguments).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let stop = setup::stop_signal()?;
    let aws = setup::ambient_aws(arguments.region).await?;
    stock_producer::check_stream(&aws, &arguments.stream).await?;
    let every = Duration::from_millis(arguments.every);
    let exporting = arguments.metrics.install(&aws)?;
    let prefixed_metrics = arguments.metrics.needs_prefix();
    let options =
        stock_producer::Options { stream: arguments.stream, every, trades: arguments.trades, prefixed_metrics };
    let ended = stock_producer::run(&aws, options, stop).await;
    exporting.shutdown().await;
    ended
}
