//! `conformance`: the conformance suite against an emulator that listens somewhere.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use integration_tests::conformance::{self, Divergences, Peer};

/// Runs the conformance suite against an emulator, and holds it against the list of its known divergences.
#[derive(Parser)]
struct Arguments {
    /// URL of its Kinesis.
    #[arg(long)]
    kinesis: String,

    /// URL of its Kinesis with the service's limits on throughput.
    #[arg(long)]
    kinesis_with_limits: Option<String>,

    /// URL of its DynamoDB.
    #[arg(long)]
    dynamodb: Option<String>,

    /// Its known divergences: lines of `name of the check: reason`, with a `!` before those that would stop it. May be
    /// repeated, with a list for each of two emulators. Without it, none is.
    #[arg(long)]
    divergences: Vec<PathBuf>,

    /// Checks at a time.
    #[arg(long, default_value_t = 16)]
    side_by_side: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut divergences = Divergences::default();
    for path in &arguments.divergences {
        let list = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        divergences = divergences.and(&list)?;
    }
    let config = |url: &str| conformance::config(url, aws_smithy_http_client::Builder::new().build_http());
    let mut peer = Peer::new(&config(&arguments.kinesis));
    if let Some(url) = &arguments.kinesis_with_limits {
        peer = peer.with_limits(&config(url));
    }
    if let Some(url) = &arguments.dynamodb {
        peer = peer.with_dynamodb(&config(url));
    }

    let checks = conformance::checks();
    let report = conformance::run(&checks, async || peer.clone(), arguments.side_by_side, &divergences).await;

    println!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> anyhow::Result<Divergences> {
    Ok(Divergences::parse(&std::fs::read_to_string(path)?)?)
}
