//! The command line: which command, and the exit code of its outcome.

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

#[cfg(unix)]
use crate::agent::{self, AgentArguments};
use crate::{
    aws::AwsArguments,
    cleanup::{self, CleanupArguments},
    copy::{self, CopyArguments},
    decode::{self, DecodeArguments},
    doctor::{self, DoctorArguments},
    explain::{self, ExplainArguments},
    failure::Failure,
    fleet::{self, FleetArguments},
    health::{self, HealthArguments},
    lease_changes::{self, DrainArguments, ReleaseArguments},
    manual::{self, CompletionArguments, ManualArguments},
    migrate::{self, MigrateArguments},
    put::{self, PutArguments},
    redrive::{self, RedriveArguments},
    replay::{self, ReplayArguments},
    reset::{self, ResetArguments},
    serve::{self, ReportArguments, ServeArguments},
    settings::{self, SettingsArguments},
    stream::{self, StreamArguments},
    tail::{self, TailArguments},
    train::{self, TrainArguments},
    watch::{self, WatchArguments},
};

/// Threads of the runtime beside the main one. Commands wait for the network, and an allocator keeps memory for each thread.
const THREADS: usize = 1;

/// One tool for Amazon Kinesis Data Streams.
///
/// Exit codes: 0 if all was done, 1 if not, 2 if the command line cannot be understood.
#[derive(Debug, Parser)]
#[command(name = "kds", version, max_term_width = 120)]
struct Arguments {
    #[command(flatten)]
    aws: AwsArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put lines, JSON lines, CSV rows or records into a stream
    Put(PutArguments),
    /// Print the records of a stream, user records out of aggregates
    Tail(TailArguments),
    /// Take an aggregate apart, and say what a KCL delivers of it
    Decode(DecodeArguments),
    /// Train a dictionary for compressed records
    TrainDictionary(TrainArguments),
    /// Show a stream, its shards and its load, or create, delete, split, merge, scale
    Stream(StreamArguments),
    /// Show a fleet: leader, workers, leases and their lag
    Fleet(FleetArguments),
    /// Show a fleet as a live page on the terminal
    Watch(WatchArguments),
    /// Serve a fleet as a live page to a browser
    Serve(ServeArguments),
    /// Write a fleet as a page to a file
    Report(ReportArguments),
    /// Say why a shard makes no progress
    Explain(ExplainArguments),
    /// Look for what is wrong with a fleet, and say what to do
    Doctor(DoctorArguments),
    /// Set the checkpoints of an application to a position
    Reset(ResetArguments),
    /// Take a lease away from its owner, or hand it over
    Release(ReleaseArguments),
    /// Hand the leases of a worker over to others, and give it none
    Drain(DrainArguments),
    /// Delete items of dead workers and leases of ended shards
    Cleanup(CleanupArguments),
    /// Take a stopped application of KCL 1.x or 2.x over to 3.x, or show the migration to one table
    Migrate(MigrateArguments),
    /// Write a window of a stream's past to files or stdout
    Replay(ReplayArguments),
    /// Put dead letters into their stream again
    Redrive(RedriveArguments),
    /// Copy a stream into another, with checkpoints
    Copy(CopyArguments),
    /// Follow files and put what is written to them, as the Kinesis Agent does
    #[cfg(unix)]
    Agent(AgentArguments),
    /// Ask a program for its health over HTTP: 0 if it is live, else 1
    Health(HealthArguments),
    /// Show the settings that the libraries read from files and variables
    Settings(SettingsArguments),
    /// Print the completions of a shell
    Completions(CompletionArguments),
    /// Print or write man pages
    Man(ManualArguments),
}

/// The definition of the command line, as completions and man pages are made of.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs a command line, whose first argument is the program; returns its exit code. Errors are printed to stderr in one line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments { aws, command } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // without stderr there is nobody to read it
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(crate::failure::USAGE));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(Failure::new("no runtime can be started", error))),
    };
    let outcome = runtime.block_on(dispatch(aws, command));
    // A read of stdin may never end.
    runtime.shutdown_background();
    exit_code(outcome)
}

async fn dispatch(aws: AwsArguments, command: Command) -> Result<(), Failure> {
    match command {
        Command::Decode(arguments) => decode::run(&aws, arguments).await,
        Command::Completions(arguments) => manual::completions(self::command(), &arguments),
        Command::Man(arguments) => manual::pages(self::command(), &arguments),
        Command::TrainDictionary(arguments) => train::run(&arguments),
        Command::Settings(arguments) => settings::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
        Command::Put(arguments) => put::run(&aws.load().await?, arguments).await,
        Command::Stream(arguments) => stream::run(&aws.load().await?, arguments).await,
        Command::Fleet(arguments) => fleet::run(&aws.load().await?, arguments).await,
        Command::Watch(arguments) => watch::run(&aws.load().await?, arguments).await,
        Command::Serve(arguments) => serve::serve(&aws.load().await?, arguments).await,
        Command::Report(arguments) => serve::report(&aws.load().await?, arguments).await,
        Command::Explain(arguments) => explain::run(&aws.load().await?, arguments).await,
        Command::Doctor(arguments) => doctor::run(&aws.load().await?, arguments).await,
        Command::Reset(arguments) => reset::run(&aws.load().await?, arguments).await,
        Command::Release(arguments) => lease_changes::release(&aws.load().await?, arguments).await,
        Command::Drain(arguments) => lease_changes::drain(&aws.load().await?, arguments).await,
        Command::Cleanup(arguments) => cleanup::run(&aws.load().await?, arguments).await,
        Command::Migrate(arguments) => migrate::run(&aws.load().await?, arguments).await,
        Command::Replay(arguments) => replay::run(&aws.load().await?, arguments).await,
        Command::Redrive(arguments) => redrive::run(&aws.load().await?, arguments).await,
        Command::Copy(arguments) => copy::run(&aws, arguments).await,
        #[cfg(unix)]
        Command::Agent(arguments) => agent::run(&aws, arguments).await,
        Command::Tail(arguments) => tail::run(&aws.load().await?, arguments).await,
    }
}

fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    if !failure.to_string().is_empty() {
        eprintln!("kds: {failure}");
    }
    ExitCode::from(failure.code())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_has_no_contradictions() {
        super::command().debug_assert();
    }
}
