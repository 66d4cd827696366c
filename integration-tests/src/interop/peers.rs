//! Folders of the peers, and their commands.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::STREAM;
use super::daemon;
use super::peer::Peer;
use super::served::Served;

/// Software that consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerKind {
    /// KCL for Java, of the version that a folder of the peers is named after.
    Java(&'static str),
    /// The multi-language daemon of this version of the KCL for Java, with a processor in Python. Its input does not end it.
    Daemon(&'static str),
    /// The workspace's `kcl`.
    Rust,
}

/// Settings of a consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Name of the application and its lease table.
    pub application: String,
    /// Identifies the worker.
    pub worker: String,
    /// By enhanced fan-out rather than by polling.
    pub fan_out: bool,
    /// Duration of a lease without a renewal.
    pub failover_millis: u64,
    /// Records of each shard to process; then a checkpoint, and no more.
    pub limit: Option<u64>,
    /// Deliver the records of aggregates that belong to other shards, too. Rust alone.
    pub keep_foreign: bool,
    /// Renew all leases by one heartbeat where the fleet agrees. Rust alone.
    pub by_heartbeat: bool,
    /// Take over the application if it is one of KCL 1.x or 2.x, whose workers have this failover time. Rust alone.
    pub adopt: bool,
    /// Take part in the migration to one table. Not of KCL 2.7 and 3.4.
    pub to_one_table: bool,
}

impl ConsumerOptions {
    /// A worker of an application, by polling, with a failover time of 4 s.
    pub fn new(application: &str, worker: &str) -> Self {
        Self {
            application: application.to_owned(),
            worker: worker.to_owned(),
            fan_out: false,
            failover_millis: 4_000,
            limit: None,
            keep_foreign: false,
            by_heartbeat: false,
            adopt: false,
            to_one_table: false,
        }
    }
}

/// Folders of what is run.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Installed peers: a folder each, with its libraries and its own classes in `classes`.
    installed: PathBuf,
    /// Binaries of this workspace.
    binaries: PathBuf,
    /// Logs of this scenario.
    logs: PathBuf,
}

impl Peers {
    /// Looks for the peers in `installed`, for binaries beside this one; logs go to `logs`.
    ///
    /// # Errors
    /// The program's own place cannot be found out.
    pub fn new(installed: PathBuf, logs: PathBuf) -> anyhow::Result<Self> {
        let this = std::env::current_exe()?;
        let binaries = this.parent().context("a program is in a folder")?.to_owned();
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(Self { installed, binaries, logs })
    }

    /// Folder of an installed peer.
    pub(super) fn installed(&self, folder: &str) -> anyhow::Result<PathBuf> {
        let path = self.installed.join(folder);
        ensure!(path.exists(), "{} is not installed", path.display());
        Ok(path)
    }

    /// Folder of logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// A program of this workspace.
    pub(super) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// Starts `kinesis-local`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn serve(&self, tls: bool) -> anyhow::Result<Served> {
        Served::start(&self.binary("kinesis-local"), &self.logs, tls).await
    }

    /// Starts a consumer.
    ///
    /// # Errors
    /// It is not installed, or cannot be started.
    pub fn consumer(&self, kind: ConsumerKind, served: &Served, options: &ConsumerOptions) -> anyhow::Result<Peer> {
        let name = format!("{}-{}", options.application, options.worker);
        let mut command = match kind {
            ConsumerKind::Java(version) => self.class(&format!("kcl-{version}"), "Consume")?,
            ConsumerKind::Daemon(version) => daemon::command(self, served, version, &name, options)?,
            ConsumerKind::Rust => Command::new(self.binary("interop-worker")),
        };
        if !matches!(kind, ConsumerKind::Daemon(_)) {
            command.args(arguments(options));
        }
        command.envs(served.environment().iter().cloned());
        Peer::start(name, command, &self.logs)
    }

    /// Starts the KPL for Java.
    ///
    /// # Errors
    /// It is not installed, or cannot be started.
    pub fn java_producer(&self, served: &Served) -> anyhow::Result<Peer> {
        let (host, port) = served.kinesis_address()?;
        let mut command = self.class("kpl", "Produce")?;
        command.args([STREAM, &host, &port]).envs(served.environment().iter().cloned());
        Peer::start("java-kpl", command, &self.logs)
    }

    fn class(&self, folder: &str, class: &str) -> anyhow::Result<Command> {
        let folder = self.installed(folder)?;
        let classes = folder.join("classes");
        ensure!(classes.join(format!("{class}.class")).exists(), "no {class} in {}", classes.display());
        let mut command = Command::new("java");
        command.args(java_arguments(&format!("{}:{}/*", classes.display(), folder.display()))).arg(class);
        Ok(command)
    }
}

/// Arguments of `java` before the class.
pub(super) fn java_arguments(class_path: &str) -> Vec<String> {
    let arguments = [
        // As little work besides the peer's as can be: these run side by side on few cores.
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        "-cp",
        class_path,
    ];
    arguments.map(str::to_owned).to_vec()
}

/// Arguments of a worker of the KCL for Java, or of `interop-worker`.
fn arguments(options: &ConsumerOptions) -> Vec<String> {
    let ConsumerOptions { application, worker, fan_out, failover_millis, limit, .. } = options;
    let mut arguments = vec![
        format!("application={application}"),
        format!("stream={STREAM}"),
        format!("worker={worker}"),
        format!("failover={failover_millis}"),
        format!("retrieval={}", if *fan_out { "fan-out" } else { "polling" }),
    ];
    arguments.extend(limit.map(|limit| format!("limit={limit}")));
    let switches = [
        ("keep-foreign", options.keep_foreign),
        ("by-heartbeat", options.by_heartbeat),
        ("adopt", options.adopt),
        ("one-table", options.to_one_table),
    ];
    arguments.extend(switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| format!("{name}=true")));
    arguments
}
