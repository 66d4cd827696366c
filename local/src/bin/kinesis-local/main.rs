//! `kinesis-local`: the embedded Kinesis, DynamoDB and CloudWatch for other processes, on loopback ports unless asked for others.
//!
//! Two modes: `serve` until a signal, or `run` one command. `environment` is the variables that both of them set. `health` asks
//! one that serves.

mod arguments;
mod environment;
mod health;
mod run;
mod serve;
mod signals;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use kinesis_local::{LocalAws, ServeError, ServeOptions, Server};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use self::arguments::{Arguments, Command, Services};

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, services } = Arguments::parse();
    match command {
        None => {
            log_from("info");
            outcome(serve::serve(services).await.map(|()| ExitCode::SUCCESS), ExitCode::FAILURE)
        }
        Some(Command::Health(health)) => health::ask(&health),
        Some(Command::Run(run)) => {
            log_from("warn");
            outcome(run::run(run).await, ExitCode::from(run::NOT_STARTED))
        }
    }
}

/// Logs to stderr, by RUST_LOG or else from this level on.
fn log_from(level: &str) {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| level.parse().unwrap_or_default());
    let ansi = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(ansi);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

/// The exit code; prints an error with its cause and the way out.
fn outcome(result: Result<ExitCode, Box<dyn Error>>, failure: ExitCode) -> ExitCode {
    result.unwrap_or_else(|error| {
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        eprintln!("kinesis-local: {error}{cause}");
        if let Some(ServeError::Bind { .. }) = error.downcast_ref() {
            eprintln!("--kinesis-port, --dynamodb-port and --cloudwatch-port choose other ports; 0 is any free one.");
        }
        failure
    })
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {file}")]
struct WriteError {
    file: String,
    source: io::Error,
}

/// Starts the services with their streams, each on its port of `ports`: Kinesis, DynamoDB, CloudWatch.
async fn start(services: &Services, ports: [u16; 3]) -> Result<Server, Box<dyn Error>> {
    let mut builder = LocalAws::builder().max_retained_bytes(services.max_retained_mib.saturating_mul(1 << 20));
    if services.enforce_limits {
        builder = builder.enforce_limits();
    }
    let aws = builder.start().await;
    for stream in &services.stream {
        aws.create_stream(&stream.name, stream.shards)?;
    }
    let [kinesis, dynamodb, cloudwatch] = ports;
    let mut options = ServeOptions::default()
        .kinesis_port(services.kinesis_port.unwrap_or(kinesis))
        .dynamodb_port(services.dynamodb_port.unwrap_or(dynamodb))
        .cloudwatch_port(services.cloudwatch_port.unwrap_or(cloudwatch))
        .tls(services.tls || services.tls_certificate.is_some());
    if let Some(address) = services.bind {
        options = options.address(address);
    }
    let server = aws.serve(options).await?;
    if let (Some(path), Some(certificate)) = (&services.tls_certificate, server.certificate_pem()) {
        let failed = |source| WriteError { file: path.display().to_string(), source };
        std::fs::write(path, certificate).map_err(failed)?;
    }
    Ok(server)
}
