//! Reads stock trades from a stream until Ctrl-C or SIGTERM.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use examples::{metrics::Exporter, probes, setup, stock_consumer};
use kcl::{InitialPosition, WorkerSettings};

/// Reads stock trades from a Kinesis stream and reports what is traded most, until Ctrl-C or SIGTERM. Start it several
/// times to share the work.
///
/// Credentials and endpoints come from the ambient AWS configuration, AWS_ENDPOINT_URL_KINESIS and
/// AWS_ENDPOINT_URL_DYNAMODB included. Settings of the worker come from the options, then from variables such as
/// KCL_LEASE_DURATION=20s, then from the file, and else are the defaults.
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
    /// Position at which shards start that the application has not processed yet [default: latest]
    #[arg(long, value_enum)]
    start: Option<Start>,
    /// File of JSON with settings of the worker, such as {"lease_duration": "20s"}
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Exporter of the metrics
    #[arg(long, value_enum, default_value_t = Exporter::None)]
    metrics: Exporter,
    /// Address that answers /livez and /readyz over HTTP, such as 0.0.0.0:8080 [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    probes: Option<String>,
    /// Only ask a consumer that runs for its health: 0 if it is live, else 1 [default: http://127.0.0.1:8080/livez]
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "http://127.0.0.1:8080/livez"
    )]
    health: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Start {
    Latest,
    TrimHorizon,
}

impl From<Start> for InitialPosition {
    fn from(start: Start) -> Self {
        match start {
            Start::Latest => Self::Latest,
            Start::TrimHorizon => Self::TrimHorizon,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(url) = &arguments.health {
        return setup::exit_code(probes::ask(url).map(|()| true));
    }
    setup::log_to(std::io::stderr, "info");
    setup::exit_code(run(arguments).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let stop = setup::stop_signal()?;
    let aws = setup::ambient_aws(arguments.region).await?;
    let file = setup::settings_of(arguments.settings.as_deref())?;
    let mut settings = WorkerSettings::from_variables("KCL_", env::vars())?.or(file);
    settings.worker_id = arguments.worker_id.or(settings.worker_id);
    settings.initial_position = arguments.start.map(InitialPosition::from).or(settings.initial_position);
    let options = stock_consumer::Options {
        application: arguments.application,
        stream: arguments.stream,
        settings,
        prefixed_metrics: arguments.metrics.needs_prefix(),
        probes: arguments.probes,
    };
    let exporting = arguments.metrics.install(&aws)?;
    let ended = stock_consumer::run(&aws, options, stop).await;
    exporting.shutdown().await;
    ended.map(|()| true)
}
