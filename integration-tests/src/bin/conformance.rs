//! `conformance`: the conformance suite against an emulator that listens somewhere, or against AWS itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use integration_tests::conformance::on_aws::{self, Ending, Options};
use integration_tests::conformance::{self, Divergences, Peer};
use integration_tests::service::Prefix;

/// Runs the conformance suite against an emulator, and holds it against the list of its known divergences; or against AWS
/// itself, and shows where the service and kinesis-local differ.
#[derive(Parser)]
struct Arguments {
    /// URL of its Kinesis.
    #[arg(long, required_unless_present_any = ["aws", "clean_up"])]
    kinesis: Option<String>,

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

    /// Checks at a time [default: 16, with --aws 4].
    #[arg(long)]
    side_by_side: Option<usize>,

    #[command(flatten)]
    aws: OnAws,
}

/// Settings for AWS itself. The SDK's variables lead there, AWS_ENDPOINT_URL_KINESIS and the like elsewhere.
#[derive(clap::Args)]
#[command(next_help_heading = "AWS")]
struct OnAws {
    /// Run against AWS itself: shows account, region, what is created and its cost, and has account and region typed back.
    #[arg(long, conflicts_with_all = ["kinesis", "kinesis_with_limits", "dynamodb", "divergences"])]
    aws: bool,

    /// Delete what an earlier run left, whose names begin with this prefix.
    #[arg(long, value_name = "PREFIX", conflicts_with_all = ["aws", "kinesis"])]
    clean_up: Option<Prefix>,

    /// Profile of the AWS configuration [default: AWS_PROFILE, else "default"].
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Region [default: AWS_REGION, else the profile's].
    #[arg(long)]
    region: Option<String>,

    /// Account and region, instead of typing them back: needed where standard input is no terminal.
    #[arg(long, value_name = "ACCOUNT/REGION")]
    confirm: Option<String>,

    /// Stop before more hours of shards, and of consumers on shards, than this [default: 1.5 times those planned].
    #[arg(long, value_name = "N")]
    max_stream_hours: Option<u64>,

    /// Perform the checks alone whose names contain this. May be repeated.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,

    /// File for the report, in Markdown.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if !arguments.aws.aws && arguments.aws.clean_up.is_none() {
        return Box::pin(on_emulator(arguments)).await;
    }
    let OnAws { clean_up, profile, region, confirm, max_stream_hours, only, report, .. } = arguments.aws;
    let side_by_side = arguments.side_by_side.unwrap_or(4);
    let options = Options { profile, region, confirm, max_stream_hours, side_by_side, only, report };
    let ending = match clean_up {
        Some(prefix) => Box::pin(on_aws::delete_leftovers(&options, &prefix)).await?,
        None => Box::pin(on_aws::on_aws(&options)).await?,
    };
    Ok(match ending {
        Ending::Agrees => ExitCode::SUCCESS,
        Ending::Differs => ExitCode::FAILURE,
        Ending::Incomplete => ExitCode::from(2),
    })
}

async fn on_emulator(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut divergences = Divergences::default();
    for path in &arguments.divergences {
        let list = read(path).with_context(|| format!("cannot read {}", path.display()))?;
        divergences = divergences.and(&list)?;
    }
    let config = |url: &str| conformance::config(url, aws_smithy_http_client::Builder::new().build_http());
    let kinesis = arguments.kinesis.context("no --kinesis")?;
    let mut peer = Peer::new(&config(&kinesis));
    if let Some(url) = &arguments.kinesis_with_limits {
        peer = peer.with_limits(&config(url));
    }
    if let Some(url) = &arguments.dynamodb {
        peer = peer.with_dynamodb(&config(url));
    }

    let checks = conformance::checks();
    let side_by_side = arguments.side_by_side.unwrap_or(16);
    let report = conformance::run(&checks, async || peer.clone(), side_by_side, &divergences).await;

    println!("{report}");
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> anyhow::Result<Divergences> {
    Ok(Divergences::parse(&std::fs::read_to_string(path)?)?)
}
