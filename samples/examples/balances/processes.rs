//! Worker processes, which are killed without a word.

use std::{
    io::{self, Read as _},
    process::{ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use aws_types::SdkConfig;
use kcl::{InitialPosition, Worker};
use tokio::{
    process::{Child, Command},
    sync::oneshot,
};

use crate::{chaos::STREAM, store::Store, surroundings::Surroundings};

const WORKERS: usize = 4;

/// Runs one worker until stdin ends, as it does when the first process is gone.
pub(crate) async fn work(aws: &SdkConfig, store: &Store, worker_id: String) -> anyhow::Result<()> {
    let builder = Worker::builder(aws, "Balances", STREAM)
        .worker_id(worker_id)
        // Short: the leases of a worker that died are taken over soon.
        .lease_duration(Duration::from_secs(2))
        .initial_position(InitialPosition::TrimHorizon);
    let (ended, orphaned) = oneshot::channel::<()>();
    // A thread: a read of stdin cannot be given up, and must not keep the runtime when the worker ends by itself.
    thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]); // an error is the end, too
        drop(ended);
    });
    store.work(builder, async { drop(orphaned.await) }).await
}

/// The running workers. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Processes {
    running: Vec<Child>,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    started: usize,
}

impl Processes {
    pub(crate) fn start(store: &Store, surroundings: &Surroundings) -> anyhow::Result<Self> {
        let (arguments, variables) = (store.arguments(), surroundings.variables.clone());
        let mut processes = Self { running: Vec::new(), arguments, variables, started: 0 };
        for _ in 0..WORKERS {
            let worker = processes.spawn()?;
            processes.running.push(worker);
        }
        Ok(processes)
    }

    fn spawn(&mut self) -> anyhow::Result<Child> {
        self.started += 1;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&self.arguments).arg("--worker").arg(format!("worker-{}", self.started));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).kill_on_drop(true).spawn().context("no worker can be started")
    }

    /// Kills one, and starts another in its place.
    pub(crate) async fn kill_one(&mut self, random: &mut fastrand::Rng) -> anyhow::Result<()> {
        let next = self.spawn()?;
        let slot = random.usize(..self.running.len());
        let mut killed = std::mem::replace(&mut self.running[slot], next);
        let ended: Option<ExitStatus> = killed.try_wait()?;
        anyhow::ensure!(ended.is_none(), "a worker ended by itself: {ended:?}");
        Ok(killed.kill().await?)
    }
}
