//! A [`Candidate`]: a process that is measured while it works.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use super::process_tree::Usage;

/// Maximum time that a candidate may be silent, and take to end.
const PATIENCE: Duration = Duration::from_secs(600);
const ENDING: Duration = Duration::from_secs(60);

/// A process that reports by lines; it is killed when this is dropped.
pub(crate) struct Candidate {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    begun: Instant,
}

/// Measures of a candidate's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) records: u64,
    /// Sum of all bytes that were read; 0 of a producer.
    pub(crate) sum: u64,
    /// From the start of the process to its first record, and to its last.
    pub(crate) first: Duration,
    pub(crate) whole: Duration,
    /// Usage by the end of its start, which is its first record or, before that, its first processor; and by its last
    /// record.
    pub(crate) by_start: Usage,
    pub(crate) by_last: Usage,
}

impl Candidate {
    /// Starts a process. Its standard error goes to a file in `logs`.
    pub(crate) fn start(name: &str, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        Ok(Self { name: name.to_owned(), child, lines, begun })
    }

    /// Gives it a line to read, and waits for its next.
    pub(crate) async fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        let input = self.child.stdin.as_mut().context("standard input is piped")?;
        input.write_all(format!("{question}\n").as_bytes()).await?;
        self.line().await
    }

    /// Waits for its next line. Dropping the future loses nothing.
    pub(crate) async fn line(&mut self) -> anyhow::Result<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.with_context(|| format!("{} is silent for {PATIENCE:?}", self.name))??;
        line.with_context(|| format!("{} has ended; its log tells why", self.name))
    }

    /// Usage of it and its children.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id().with_context(|| format!("{} has ended", self.name))?)
    }

    /// Waits until it has done its work.
    pub(crate) async fn done(&mut self) -> anyhow::Result<Done> {
        let (mut first, mut by_start) = (None, None);
        loop {
            let line = self.line().await?;
            let words: Vec<&str> = line.split(' ').collect();
            match (words.as_slice(), first) {
                (["shards", "1"], None) if by_start.is_none() => by_start = Some(self.usage()?),
                (["first"], _) => first = Some((self.begun.elapsed(), self.usage()?)),
                (["done", records, rest @ ..], Some((first, by_first))) => {
                    let (whole, by_last) = (self.begun.elapsed(), self.usage()?);
                    let sum = rest.first().map_or(Ok(0), |sum| sum.parse())?;
                    let by_start = by_start.unwrap_or(by_first);
                    return Ok(Done { records: records.parse()?, sum, first, whole, by_start, by_last });
                }
                (["done", ..], None) => bail!("{} has not told of its first record", self.name),
                _ => {}
            }
        }
    }

    /// Ends its input, and waits for its end.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let ended = timeout(ENDING, self.child.wait()).await;
        let status = ended.with_context(|| format!("{} does not end within {ENDING:?}", self.name))??;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}
