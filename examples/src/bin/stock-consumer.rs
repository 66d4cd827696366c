//! Reads stock trades from a stream until Ctrl-C or SIGTERM.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::{metrics::Exporter, setup, stock_consumer};
use kcl::InitialPosition;

/// Reads stock trades from a Kinesis stream and reports what is traded most, until Ctrl-C or SIGTERM. Start it several
/// times to share the work.
///
/// Credentials and endpoints come from the ambient AWS configuration, AWS_ENDPOINT_URL_KINESIS and
/// AWS_ENDPOINT_URL_DYNAMODB included.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name of the application, also of its lease table
    #[arg(default_value = "StockTradesProcessor")]
    application: String,
    /// Name or ARN of the stream
    #[arg(default_value = "StockTradeStream")]
    stream: String,
    /// AWS region [default: the ambient configuration's]
    region: Option<String>,
    /// Identifies this worker; a stable one lets it resume at once after a restart [default: random]
    #[arg(long, value_name = "ID")]
    worker_id: Option<String>,
    /// Position at which shards start that the application has not processed yet
    #[arg(long, value_enum, default_value_t = Start::Latest)]
    start: Start,
    /// Exporter of the metrics
    #[arg(long, value_enum, default_value_t = Exporter::None)]
    metrics: Exporter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Start {
    Latest,
    TrimHorizon,
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
    let options = stock_consumer::Options {
        application: arguments.application,
        stream: arguments.stream,
        worker_id: arguments.worker_id,
        prefixed_metrics: arguments.metrics.needs_prefix(),
        initial_position: match arguments.start {
            Start::Latest => InitialPosition::Latest,
            Start::TrimHorizon => InitialPosition::TrimHorizon,
        },
    };
    let exporting = arguments.metrics.install(&aws)?;
    let ended = stock_consumer::run(&aws, options, stop).await;
    exporting.shutdown().await;
    ended.map(|()| true)
}
