//! The KPL for Java writes, `kcl` reads; and the KCL for Java beside it, to see what that loses.
//!
//! When a shard is split under an aggregate, the KPL looks at each user record by itself: it sends those again that lie
//! outside of the shard the aggregate landed on, and reports the others as stored. A KCL drops such an aggregate as a
//! whole, so these others are lost. The scenario shows that nothing else is: with [`kcl::Deaggregation::KeepForeign`]
//! `kcl` delivers every record, and without it what the KCL for Java delivers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;

use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::producing::{put_by_java, stream};
use super::readers::Readers;

/// Records of the scenario.
const RECORDS: u64 = 100_000;
/// Maximum time of readers to start, and to read everything.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time given to readers that cannot have everything, after the last record that they were delivered.
const QUIET: Duration = Duration::from_secs(12);

/// Runs the scenario; the report says what each reader was delivered.
///
/// # Errors
/// `kcl` does not deliver a record as it was put, or less than the KCL for Java does, or a process fails.
pub async fn java_to_kcl(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(true).await?;
    stream(&served, 4).await?;
    let mut keeping = Readers::new();
    for (fan_out, name) in [(false, "kcl-polling"), (true, "kcl-fan-out")] {
        let options = ConsumerOptions { fan_out, keep_foreign: true, ..ConsumerOptions::new(name, "worker") };
        keeping.add(peers.consumer(ConsumerKind::Rust, &served, &options)?);
    }
    let mut dropping = Readers::new();
    for (kind, name) in [(ConsumerKind::Java("3.5.1"), "java-kcl-3.5.1"), (ConsumerKind::Rust, "kcl-as-java")] {
        dropping.add(peers.consumer(kind, &served, &ConsumerOptions::new(name, "worker"))?);
    }
    keeping.started(PATIENCE).await?;
    dropping.started(PATIENCE).await?;
    let put = put_by_java(&mut peers.java_producer(&served)?, &served.kinesis()?, 0..RECORDS).await?;
    let mut report = vec![format!("KPL for Java put {} records in {:.1?}", put.records.len(), put.took)];
    report.extend(keeping.read_all(&put.records, PATIENCE).await?);
    report.extend(dropping.read_what_comes(QUIET, PATIENCE).await?);
    let complete = keeping.stop(&put.records, &mut report).await?;
    dropping.stop(&put.records, &mut report).await?;
    let lost: Vec<BTreeSet<u64>> = dropping.lost(&put.records);
    let same = lost.windows(2).all(|pair| pair[0] == pair[1]);
    report.push(format!("the KPL reported {} records as stored that a KCL drops", lost[0].len()));
    ensure!(complete, "not everything was delivered as it was put:\n{}", report.join("\n"));
    ensure!(same, "kcl drops other records than the KCL for Java:\n{}", report.join("\n"));
    Ok(report)
}
