//! Puts random stock trades into a stream until Ctrl-C or SIGTERM.

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use examples::{metrics::Exporter, setup, stock_producer};
use kpl::settings::ProducerSettings;

/// Puts random stock trades into a Kinesis stream until Ctrl-C or SIGTERM, then sends what is left.
///
/// Credentials and endpoints come from the ambient AWS configuration, AWS_ENDPOINT_URL_KINESIS included. Settings of the
/// producer come from variables such as KPL_RECORD_TTL=1m, then from the file, and else are the defaults.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name or ARN of the stream
    #[arg(default_value = "StockTradeStream")]
    stream: String,
    /// AWS region [default: the ambient configuration's]
    region: Option<String>,
    /// Milliseconds from one trade to the next, such as 0.1
    #[arg(long, value_name = "MS", default_value = "100", value_parser = milliseconds)]
    every: Duration,
    /// Stop after this many trades
    #[arg(long, value_name = "N")]
    trades: Option<usize>,
    /// File of JSON with settings of the producer, such as {"record_ttl": "1m"}
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
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
    let file = setup::settings_of(arguments.settings.as_deref())?;
    let settings = ProducerSettings::from_variables("KPL_", env::vars())?.or(file);
    let aws = setup::ambient_aws(arguments.region).await?;
    stock_producer::check_stream(&aws, &arguments.stream).await?;
    let exporting = arguments.metrics.install(&aws)?;
    let prefixed_metrics = arguments.metrics.needs_prefix();
    let options = stock_producer::Options {
        stream: arguments.stream,
        every: arguments.every,
        trades: arguments.trades,
        settings,
        prefixed_metrics,
    };
    let ended = stock_producer::run(&aws, options, stop).await;
    exporting.shutdown().await;
    ended
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis| *millis > 0.0);
    let duration = millis.and_then(|millis: f64| Duration::try_from_secs_f64(millis / 1000.0).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "a number above 0 is expected".to_owned())
}
