//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::roles::Role;

#[derive(Parser)]
pub(crate) struct Arguments {
    /// The process that is measured, where this is one.
    #[command(subcommand)]
    pub(crate) role: Option<Role>,

    /// Parts to measure; all by default.
    #[arg(long = "part")]
    parts: Vec<Part>,

    /// A hundredth of the records and shorter waits, to try it out: the figures say nothing.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Runs of each candidate, in turn.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,

    /// Folder in which the peers are installed.
    #[arg(long)]
    pub(crate) peers: Option<PathBuf>,

    /// Folder of logs.
    #[arg(long)]
    pub(crate) logs: Option<PathBuf>,

    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Part of the comparison.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// KPL for Java, a loop of PutRecords, kpl.
    Producers,
    /// KCL for Java, kcl.
    Consumers,
    /// Fleets of two workers with nothing to read.
    Idle,
}

impl Arguments {
    pub(crate) fn parts(&self) -> Vec<Part> {
        if self.parts.is_empty() { Part::value_variants().to_vec() } else { self.parts.clone() }
    }

    /// Runs of each candidate.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// So many records, or a hundredth.
    pub(crate) fn records(&self, records: usize) -> usize {
        if self.quick { records / 100 } else { records }
    }
}
