//! A [`Peer`]: a process that consumes or produces and tells about it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::journal::Journal;
use super::told::Told;

/// Maximum time that a worker may take to stop.
pub(super) const STOPPING: Duration = Duration::from_secs(60);

/// A process, killed when this is dropped.
#[derive(Debug)]
pub struct Peer {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    journal: Journal,
    reader: JoinHandle<()>,
    log: PathBuf,
}

impl Peer {
    /// Starts a process. Its standard error goes to a file in `logs`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: impl Into<String>, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        let name = name.into();
        let log = logs.join(format!("{name}.log"));
        let stderr = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        let output = child.stdout.take().context("standard output is piped")?;
        let journal = Journal::default();
        let reader = tokio::spawn(read(output, journal.clone()));
        Ok(Self { name, input: child.stdin.take(), child, journal, reader, log })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its reports.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until it has told something.
    ///
    /// # Errors
    /// It ends before, or does not tell it in time.
    pub async fn tells(
        &mut self,
        what: &str,
        patience: Duration,
        has: impl Fn(&Journal) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        while !has(&self.journal) {
            if let Some(status) = self.child.try_wait()? {
                // What it told last may still be on its way.
                timeout(STOPPING, &mut self.reader).await.context("its output does not end")??;
                ensure!(has(&self.journal), "{} ended with {status} before: {what}", self.name);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}: not within {patience:?}: {what}", self.name);
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// True if it has ended.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Gives it lines to read; the process may be slow to take them.
    ///
    /// # Errors
    /// It reads no more.
    pub async fn feed(&mut self, lines: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().with_context(|| format!("the input of {} is closed", self.name))?;
        input.write_all(lines.as_bytes()).await.with_context(|| format!("{} reads no more", self.name))
    }

    /// Ends its input, which ends it, and waits for its end.
    ///
    /// # Errors
    /// It fails, or does not end in time.
    pub async fn finish(&mut self, patience: Duration) -> anyhow::Result<()> {
        drop(self.input.take());
        let status = self.exited(patience).await?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// Stops a worker in good order. False: it has ended, but says that this was not in good order.
    ///
    /// # Errors
    /// It fails, or does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<bool> {
        self.feed("stop\n").await?;
        self.finish(STOPPING).await?;
        Ok(self.journal.has(|told| *told == Told::Stopped { orderly: true }))
    }

    /// Kills it by SIGKILL: it has no last word.
    ///
    /// # Errors
    /// It has ended by itself before.
    pub async fn kill(&mut self) -> anyhow::Result<Instant> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended with {status} before it could be killed", self.name);
        }
        self.child.start_kill()?;
        let at = Instant::now();
        self.exited(STOPPING).await?;
        Ok(at)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn exited(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let exit = timeout(patience, self.child.wait()).await;
        let status = exit.with_context(|| format!("{} does not end within {patience:?}", self.name))??;
        timeout(STOPPING, &mut self.reader).await.context("its output does not end")??;
        Ok(status)
    }
}

async fn read(output: ChildStdout, journal: Journal) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let told = match lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).unwrap_or_else(|error| Told::Error {
                error: format!("not understood ({error}): {}", line.chars().take(200).collect::<String>()),
            }),
            Ok(None) => return,
            Err(error) => Told::Error { error: error.to_string() },
        };
        journal.add(told);
    }
}
