//! Applications that each read the whole stream with one worker.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::expected::Expected;
use super::log_check::check_java_log;
use super::peer::{Peer, STOPPING};
use super::told::Told;

/// Independent readers.
#[derive(Debug)]
pub(super) struct Readers {
    readers: Vec<Peer>,
    begun: Instant,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { readers: Vec::new(), begun: Instant::now() }
    }

    pub(super) fn add(&mut self, reader: Peer) {
        self.readers.push(reader);
    }

    /// Waits until each has a processor for a shard.
    pub(super) async fn started(&mut self, patience: Duration) -> anyhow::Result<()> {
        for reader in &mut self.readers {
            let initialized = |told: &Told| matches!(told, Told::Initialized { .. });
            reader.tells("a processor starts", patience, |journal| journal.has(initialized)).await?;
        }
        Ok(())
    }

    /// Waits until each has read all records, or as many as it will.
    pub(super) async fn read_all(&mut self, records: &Expected, patience: Duration) -> anyhow::Result<Vec<String>> {
        let mut report = vec![format!("readers ready {:.1?} after their start", self.begun.elapsed())];
        let begun = Instant::now();
        for reader in &mut self.readers {
            let left = patience.saturating_sub(begun.elapsed());
            let all = reader.tells("all records are read", left, |journal| journal.ids().len() >= records.len()).await;
            report.push(match all {
                Ok(()) => format!("{} has read all {:.1?} after the last put", reader.name(), begun.elapsed()),
                Err(error) => format!("{error:#}"),
            });
        }
        Ok(report)
    }

    /// Waits until nothing more has come for a while.
    pub(super) async fn read_what_comes(&mut self, quiet: Duration, patience: Duration) -> anyhow::Result<Vec<String>> {
        let (begun, mut last) = (Instant::now(), (0, Instant::now()));
        while last.1.elapsed() < quiet && begun.elapsed() < patience {
            let read =
                self.readers.iter().map(|reader| reader.journal().count(|told| matches!(told, Told::Records { .. })));
            let read = read.sum();
            if read != last.0 {
                last = (read, Instant::now());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(vec![format!("the others have read {:.1?} after the last put", last.1.duration_since(begun))])
    }

    /// Records that each was not delivered.
    pub(super) fn lost(&self, records: &Expected) -> Vec<BTreeSet<u64>> {
        let lost = |reader: &Peer| records.compare(reader.journal().reads().iter()).lost.into_iter().collect();
        self.readers.iter().map(lost).collect()
    }

    /// Stops each, and reports what it was delivered. Whether all were delivered everything as it was put.
    pub(super) async fn stop(&mut self, records: &Expected, report: &mut Vec<String>) -> anyhow::Result<bool> {
        let mut complete = true;
        for reader in &mut self.readers {
            reader.finish(STOPPING).await?;
            let comparison = records.compare(reader.journal().reads().iter());
            report.push(format!("{}: {comparison}", reader.name()));
            let mut errors: Vec<String> = reader.journal().errors().iter().map(|told| format!("{told:?}")).collect();
            errors.extend(check_java_log(reader.log())?);
            complete &= comparison.is_complete() && errors.is_empty();
            report.extend(errors);
        }
        Ok(complete)
    }
}
