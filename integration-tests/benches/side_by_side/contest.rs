//! Runs of candidates that do the same work in turn, and what comes of them.

use std::time::Duration;

use integration_tests::bench;
use tokio::process::Command;

use super::candidate::{Candidate, Done};
use super::server::Server;
use super::table::{Table, median};
use super::work::Work;

/// Columns after the candidate's name.
const HEADS: [&str; 10] = [
    "",
    "CPU per record, µs",
    "over Java's",
    "after the start, µs",
    "over Java's",
    "first record after, s",
    "last record after, s",
    "peak memory, MiB",
    "requests to Kinesis",
    "CPU of the services, % of a core",
];

/// A run of one candidate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    done: Done,
    /// CPU time of the services meanwhile, and PutRecords and GetRecords that were made.
    served: Duration,
    requests: u64,
}

impl Run {
    /// Starts a candidate, and waits until it has done its work.
    pub(crate) async fn of(
        (name, command): (&str, Command),
        server: &mut Server,
        sum: u64,
        logs: &std::path::Path,
    ) -> anyhow::Result<Self> {
        let (served, requests) = (server.usage()?.cpu, server.counts().await?.kinesis);
        let mut candidate = Candidate::start(name, command, logs)?;
        let done = candidate.done().await?;
        let served = server.usage()?.cpu.saturating_sub(served);
        let requests = server.counts().await?.kinesis - requests;
        anyhow::ensure!(done.sum == sum, "{name} has read other bytes than were written: {done:?}, not {sum}");
        candidate.end().await?;
        Ok(Self { done, served, requests })
    }

    fn micros_per_record(&self) -> f64 {
        micros(self.done.by_last.cpu) / self.done.records as f64
    }

    fn micros_after_the_start(&self) -> f64 {
        micros(self.done.by_last.cpu.saturating_sub(self.done.by_start.cpu)) / self.done.records as f64
    }

    fn peak_mib(&self) -> f64 {
        self.done.by_last.peak_bytes as f64 / f64::from(1 << 20)
    }

    fn served_percent(&self) -> f64 {
        self.served.as_secs_f64() / self.done.whole.as_secs_f64() * 100.0
    }
}

/// Candidates with the same work. The first is Java's.
pub(crate) struct Contest {
    work: Work,
    entries: Vec<(&'static str, Vec<Run>)>,
}

impl Contest {
    pub(crate) fn new(work: Work, names: &[&'static str]) -> Self {
        Self { work, entries: names.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// Takes the run of a candidate, and prints it.
    pub(crate) fn add(&mut self, name: &str, run: Run) -> anyhow::Result<()> {
        let records = self.work.records as u64;
        anyhow::ensure!(run.done.records == records, "{name}: {} records, not {records}", run.done.records);
        let what = format!("{}, {name}", self.work.name());
        bench::report(&format!("{what}: CPU per record"), run.micros_per_record(), "µs");
        bench::report(&format!("{what}: CPU per record after the start"), run.micros_after_the_start(), "µs");
        bench::report(&format!("{what}: time to first record"), run.done.first.as_secs_f64(), "s");
        bench::report(&format!("{what}: time to last record"), run.done.whole.as_secs_f64(), "s");
        bench::report(&format!("{what}: peak memory"), run.peak_mib(), "MiB");
        bench::report(&format!("{what}: requests to Kinesis"), run.requests as f64, "requests");
        bench::report(&format!("{what}: CPU of the services"), run.served_percent(), "% of a core");
        if let Some((_, runs)) = self.entries.iter_mut().find(|(entry, _)| *entry == name) {
            runs.push(run);
        }
        Ok(())
    }

    /// Prints the medians.
    pub(crate) fn report(&self, part: &str) {
        let runs = self.entries.first().map_or(0, |(_, runs)| runs.len());
        let title = format!("{part}, {} records of {}, medians of {runs}:", self.work.records, self.work.name());
        let mut table = Table::new(&title, &HEADS);
        let medians = |runs: &[Run], measure: fn(&Run) -> f64| median(runs.iter().map(measure));
        let java = self.entries.first().map(|(_, runs)| runs.as_slice()).unwrap_or_default();
        for (name, runs) in &self.entries {
            let of = |measure| medians(runs, measure);
            let over_java = |measure| format!("1/{:.1}", medians(java, measure) / medians(runs, measure));
            table.row([
                (*name).to_owned(),
                format!("{:.2}", of(Run::micros_per_record)),
                over_java(Run::micros_per_record),
                format!("{:.2}", of(Run::micros_after_the_start)),
                over_java(Run::micros_after_the_start),
                format!("{:.2}", of(|run| run.done.first.as_secs_f64())),
                format!("{:.1}", of(|run| run.done.whole.as_secs_f64())),
                format!("{:.0}", of(Run::peak_mib)),
                format!("{:.0}", of(|run| run.requests as f64)),
                format!("{:.0}", of(Run::served_percent)),
            ]);
        }
        table.print();
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
