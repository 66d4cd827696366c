//! `kinesis-local`: the embedded Kinesis, DynamoDB and CloudWatch on loopback ports.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use kinesis_local::{LocalAws, ServeError, ServeOptions, Server};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// A local Kinesis, DynamoDB and CloudWatch, in memory, on loopback ports.
///
/// Prints the environment that AWS SDKs and the AWS CLI need as `export` lines, then the line `ready`, and serves until
/// Ctrl-C or SIGTERM. Logs go to stderr; RUST_LOG sets what is logged (default: info).
#[derive(Parser)]
#[command(version, after_help = USAGE)]
struct Arguments {
    /// Port for Kinesis; 0 for any free port.
    #[arg(long, default_value_t = 4567)]
    kinesis_port: u16,

    /// Port for DynamoDB; 0 for any free port.
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,

    /// Port for CloudWatch, which takes metrics and keeps them for no one to see; 0 for any free port.
    #[arg(long, default_value_t = 0)]
    cloudwatch_port: u16,

    /// Serve over TLS, with a certificate that is made now and forgotten at the end.
    #[arg(long)]
    tls: bool,

    /// Write the certificate that clients have to trust to this file, in PEM, and export AWS_CA_BUNDLE. Implies --tls.
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,

    /// Enforce the limits on throughput and calls of the service.
    #[arg(long)]
    enforce_limits: bool,

    /// Most MiB of records that Kinesis keeps; puts beyond it are throttled.
    #[arg(long, default_value_t = 4096)]
    max_retained_mib: u64,
}

const USAGE: &str = r#"In bash, start it in the background and take over its environment:

  while read -r line && [ "$line" != ready ]; do eval "$line"; done < <(kinesis-local)
  aws kinesis create-stream --stream-name orders --shard-count 2
  kill $!

In any shell, by way of a file:

  kinesis-local > local.env & until grep -qx ready local.env; do sleep 0.1; done
  eval "$(grep ^export local.env)""#;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(ansi).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("kinesis-local: {error}{cause}");
            if error.is::<ServeError>() {
                eprintln!(
                    "--kinesis-port, --dynamodb-port and --cloudwatch-port choose other ports; 0 is any free one."
                );
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    // Before `ready` is printed, so that no signal is missed after it.
    let stopped = signals()?;
    let mut builder = LocalAws::builder().max_retained_bytes(arguments.max_retained_mib.saturating_mul(1 << 20));
    if arguments.enforce_limits {
        builder = builder.enforce_limits();
    }
    let aws = builder.start().await;
    let options = ServeOptions::default()
        .kinesis_port(arguments.kinesis_port)
        .dynamodb_port(arguments.dynamodb_port)
        .cloudwatch_port(arguments.cloudwatch_port)
        .tls(arguments.tls || arguments.tls_certificate.is_some());
    let server = aws.serve(options).await?;
    if let (Some(path), Some(certificate)) = (&arguments.tls_certificate, server.certificate_pem()) {
        std::fs::write(path, certificate)?;
    }
    announce(&server, arguments.tls_certificate.as_deref())?;
    let (kinesis, dynamodb, cloudwatch) = (server.kinesis_url(), server.dynamodb_url(), server.cloudwatch_url());
    info!(kinesis, dynamodb, cloudwatch, "serving");
    stopped.await;
    info!("stopping");
    server.stop().await;
    Ok(())
}

fn announce(server: &Server, certificate: Option<&Path>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "export AWS_ENDPOINT_URL_KINESIS={}", server.kinesis_url())?;
    writeln!(out, "export AWS_ENDPOINT_URL_DYNAMODB={}", server.dynamodb_url())?;
    writeln!(out, "export AWS_ENDPOINT_URL_CLOUDWATCH={}", server.cloudwatch_url())?;
    if let Some(path) = certificate {
        // Within single quotes a shell takes everything literally but them.
        let quoted = std::path::absolute(path)?.display().to_string().replace('\'', r"'\''");
        writeln!(out, "export AWS_CA_BUNDLE='{quoted}'")?;
    }
    writeln!(out, "export AWS_REGION=us-east-1")?;
    writeln!(out, "export AWS_DEFAULT_REGION=us-east-1")?;
    writeln!(out, "export AWS_ACCESS_KEY_ID=local")?;
    writeln!(out, "export AWS_SECRET_ACCESS_KEY=local")?;
    writeln!(out, "ready")?;
    out.flush()
}

/// Completes with the first Ctrl-C or SIGTERM after this call.
#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Completes with the first Ctrl-C after this call.
#[cfg(not(unix))]
fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
