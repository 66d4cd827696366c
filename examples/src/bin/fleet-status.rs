//! Prints what the lease table of an application says: leader, workers, leases and their progress.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use examples::setup;
use kcl::FleetStatus;

/// Prints leader, workers, leases and progress of an application. Only reads.
///
/// Credentials and endpoints come from the ambient AWS configuration, AWS_ENDPOINT_URL_DYNAMODB included.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name of the application's lease table
    #[arg(default_value = "StockTradesProcessor")]
    application: String,
    /// AWS region [default: the ambient configuration's]
    region: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    setup::log_to(std::io::stderr, "warn");
    setup::exit_code(run(arguments).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let aws = setup::ambient_aws(arguments.region).await?;
    let status = FleetStatus::read(&aws, arguments.application).await.context("cannot read the fleet's status")?;
    print!("{status}");
    Ok(true)
}
