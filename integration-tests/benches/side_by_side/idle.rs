//! Fleets of two workers with nothing to read: what they ask of DynamoDB, counted there, and what they cost.
//!
//! All fleets run at the same time, each on services of its own: they are idle, and hardly disturb each other.

use std::time::Duration;

use integration_tests::bench;
use tokio::time::{sleep, timeout};

use super::Places;
use super::arguments::Arguments;
use super::candidate::Candidate;
use super::consumers::worker;
use super::server::{Counts, Server};
use super::table::Table;
use super::work::STREAM;

const SHARDS: [u32; 2] = [4, 64];
const JAVA: &str = "KCL for Java 3.5.1";
const OURS: &str = "kcl";
/// Maximum time until all shards have a processor.
const START: Duration = Duration::from_secs(300);
/// Time that a fleet has to share its leases and to come to rest, and time that is measured.
const PACES: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(240));
const QUICK_PACES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(15));
/// On-demand prices of a million units, us-east-1. aws.amazon.com/dynamodb/pricing/on-demand
const READ_PRICE: f64 = 0.125;
const WRITE_PRICE: f64 = 0.625;
const MINUTES_OF_A_MONTH: f64 = 60.0 * 730.0;
const HEADS: [&str; 9] = [
    "shards",
    "",
    "requests a minute",
    "read units a minute",
    "write units a minute",
    "price a month",
    "CPU, % of a core",
    "resident memory, MiB",
    "leases of each",
];

/// Costs of a fleet at rest.
struct Rest {
    minutes: f64,
    counts: Counts,
    cpu: Duration,
    resident_bytes: u64,
    leases: [u32; 2],
}

pub(super) async fn measure(places: &Places<'_>, arguments: &Arguments) -> anyhow::Result<()> {
    let paces = if arguments.quick { QUICK_PACES } else { PACES };
    let fleets = SHARDS.into_iter().flat_map(|shards| [(shards, JAVA, "java"), (shards, OURS, "kcl")]);
    let fleets: Vec<_> = fleets.collect();
    let rests = fleets.iter().map(|&(shards, _, kind)| rest(places, kind, shards, paces));
    let rests = futures::future::try_join_all(rests).await?;
    let title = format!("Idle fleets of two workers, over {:.0} s:", paces.1.as_secs_f64());
    let mut table = Table::new(&title, &HEADS);
    for (&(shards, name, _), rest) in fleets.iter().zip(&rests) {
        rest.report(&format!("{shards} shards, 2 workers, {name}"));
        table.row(rest.cells(shards, name));
    }
    table.print();
    Ok(())
}

async fn rest(
    places: &Places<'_>,
    kind: &str,
    shards: u32,
    (settle, window): (Duration, Duration),
) -> anyhow::Result<Rest> {
    let name = format!("idle-{kind}-{shards}");
    let mut server = Server::start(&format!("{name}-server"), places.logs).await?;
    server.create_stream(STREAM, shards).await?;
    let start = |id: &str| {
        let command = worker(places, kind, server.services(), (&name, id, 0))?;
        Candidate::start(&format!("{name}-{id}"), command, places.logs)
    };
    let mut fleet = Fleet { workers: [start("w1")?, start("w2")?], leases: [0; 2] };
    timeout(START, fleet.take_all(shards)).await??;
    sleep(settle).await;
    let (before, cpu) = (server.counts().await?, fleet.usage()?.0);
    sleep(window).await;
    let (counts, (cpu_after, resident_bytes)) = (server.counts().await? - &before, fleet.usage()?);
    fleet.listen().await?;
    let cpu = cpu_after.saturating_sub(cpu);
    let held: u32 = fleet.leases.iter().sum();
    anyhow::ensure!(held == shards, "{name}: {held} of {shards} shards have a processor at the end");
    Ok(Rest { minutes: window.as_secs_f64() / 60.0, counts, cpu, resident_bytes, leases: fleet.leases })
}

/// Two workers of one application.
struct Fleet {
    workers: [Candidate; 2],
    leases: [u32; 2],
}

impl Fleet {
    /// Waits until all shards have a processor.
    async fn take_all(&mut self, shards: u32) -> anyhow::Result<()> {
        while self.leases.iter().sum::<u32>() < shards {
            self.hear().await?;
        }
        Ok(())
    }

    /// Takes what the workers have told meanwhile.
    async fn listen(&mut self) -> anyhow::Result<()> {
        while let Ok(heard) = timeout(Duration::from_millis(100), self.hear()).await {
            heard?;
        }
        Ok(())
    }

    /// Waits for a line of either.
    async fn hear(&mut self) -> anyhow::Result<()> {
        let [one, other] = &mut self.workers;
        let (line, leases) = tokio::select! {
            line = one.line() => (line?, &mut self.leases[0]),
            line = other.line() => (line?, &mut self.leases[1]),
        };
        if let Some(shards) = line.strip_prefix("shards ") {
            *leases = shards.parse()?;
        }
        Ok(())
    }

    /// CPU time and resident memory of both.
    fn usage(&self) -> anyhow::Result<(Duration, u64)> {
        let [one, other] = &self.workers;
        let (one, other) = (one.usage()?, other.usage()?);
        Ok((one.cpu + other.cpu, one.resident_bytes + other.resident_bytes))
    }
}

impl Rest {
    fn report(&self, what: &str) {
        let per_minute = |operation: &str, count: u64| {
            bench::report(&format!("{what}: {operation}"), count as f64 / self.minutes, "requests/min");
        };
        per_minute("DynamoDB requests", self.counts.requests());
        self.counts.requests.iter().for_each(|(operation, count)| per_minute(operation, *count));
        bench::report(&format!("{what}: read units"), self.counts.read_units / self.minutes, "units/min");
        bench::report(&format!("{what}: write units"), self.counts.write_units / self.minutes, "units/min");
        bench::report(&format!("{what}: price"), self.price(), "$/month");
        bench::report(&format!("{what}: CPU"), self.cpu_percent(), "% of a core");
    }

    fn cells(&self, shards: u32, name: &str) -> [String; 9] {
        [
            shards.to_string(),
            name.to_owned(),
            format!("{:.0}", self.counts.requests() as f64 / self.minutes),
            format!("{:.0}", self.counts.read_units / self.minutes),
            format!("{:.0}", self.counts.write_units / self.minutes),
            format!("${:.2}", self.price()),
            format!("{:.1}", self.cpu_percent()),
            format!("{:.0}", self.resident_bytes as f64 / f64::from(1 << 20)),
            self.leases.map(|leases| leases.to_string()).join(" and "),
        ]
    }

    fn price(&self) -> f64 {
        let a_minute = self.counts.read_units * READ_PRICE + self.counts.write_units * WRITE_PRICE;
        a_minute / 1e6 / self.minutes * MINUTES_OF_A_MONTH
    }

    fn cpu_percent(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.minutes * 60.0) * 100.0
    }
}
