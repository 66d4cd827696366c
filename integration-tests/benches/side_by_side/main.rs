//! `kpl` and `kcl` side by side with the KPL and KCL for Java: `integration-tests/side-by-side/run`, which installs the
//! peers and runs this.
//!
//! All candidates are processes of their own, with default settings, and do the same work on the same services: a
//! `kinesis-local` in a process of its own, over TLS. CPU time and peak memory are those of a candidate's whole process tree,
//! by /proc, from its start to its last record, the start of its runtime included. Candidates take turns; each figure is a
//! median. Prints a line of JSON for each run and measure, and a table for each part. Linux only.
//!
//! `roles.rs` has the processes that are measured, `candidate.rs` starts and observes one; [`producers`], [`consumers`] and
//! [`idle`] are the parts.

mod arguments;
mod candidate;
mod clients;
mod consumers;
mod contest;
mod idle;
mod java;
mod process_tree;
mod producers;
mod roles;
mod server;
mod table;
mod work;

use std::path::Path;

use anyhow::Context as _;
use clap::Parser as _;

use self::arguments::{Arguments, Part};
use self::java::Java;

/// Folders of what is run.
struct Places<'a> {
    java: Java,
    logs: &'a Path,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.role {
        return roles::play(role);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let peers = arguments.peers.as_deref().context("--peers is missing")?;
    let logs = arguments.logs.as_deref().context("--logs is missing")?;
    std::fs::create_dir_all(logs).with_context(|| format!("cannot create {}", logs.display()))?;
    let places = Places { java: Java::new(peers), logs };
    for part in arguments.parts() {
        match part {
            Part::Producers => producers::measure(&places, arguments).await?,
            Part::Consumers => consumers::measure(&places, arguments).await?,
            Part::Idle => idle::measure(&places, arguments).await?,
        }
    }
    Ok(())
}
