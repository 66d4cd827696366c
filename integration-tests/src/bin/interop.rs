//! `interop`: the interoperability scenarios, with peers that are installed in a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use integration_tests::interop::{self, Layout, Peers, Served};
use tokio::time::Instant;

/// Runs a scenario with software of others. `.ci/peers` installs the peers.
#[derive(Parser)]
struct Arguments {
    /// Scenario to run.
    scenario: Scenario,

    /// Folder in which the peers are installed.
    #[arg(long)]
    peers: PathBuf,

    /// Folder of logs.
    #[arg(long)]
    logs: PathBuf,

    /// URL of the Kinesis of others, for the samples.
    #[arg(long, default_value = "http://127.0.0.1:4567")]
    kinesis: String,

    /// URL of the DynamoDB of others, for the samples.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    dynamodb: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// kpl writes, the KCL for Java reads.
    KplToJava,
    /// The KPL for Java writes, kcl reads.
    JavaToKcl,
    /// Workers of kcl and of the KCL for Java share an application.
    Fleet,
    /// The same, in a fleet that lives by heartbeats when Java comes.
    FleetHeartbeats,
    /// The same, in a fleet that a KCL 3.4 began.
    FleetLegacy,
    /// An application goes from the KCL for Java to kcl and back.
    Roads,
    /// An application of KCL 2.x is not joined.
    Refused,
    /// Applications of KCL 1.x and 2.x, and of their daemons, are taken over, and given back.
    Adopted,
    /// The samples on emulators of others.
    Samples,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let begun = Instant::now();
    let arguments = Arguments::parse();
    let report = match Peers::new(arguments.peers, arguments.logs) {
        Ok(peers) => match arguments.scenario {
            Scenario::KplToJava => interop::kpl_to_java(&peers).await,
            Scenario::JavaToKcl => interop::java_to_kcl(&peers).await,
            Scenario::Fleet => interop::mixed_fleet(&peers, Layout::Single).await,
            Scenario::FleetHeartbeats => interop::heartbeats(&peers).await,
            Scenario::Samples => {
                interop::samples(&peers, &Served::elsewhere(&arguments.kinesis, &arguments.dynamodb)).await
            }
            Scenario::Refused => interop::refused(&peers).await,
            Scenario::Adopted => interop::adopted(&peers).await,
            Scenario::Roads => interop::upgrade_roads(&peers).await,
            Scenario::FleetLegacy => interop::mixed_fleet(&peers, Layout::Legacy).await,
        },
        Err(error) => Err(error),
    };
    match report {
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            println!("passed in {:.0?}", begun.elapsed());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed after {:.0?}: {error:#}", begun.elapsed());
            ExitCode::FAILURE
        }
    }
}
