//! `kpl` writes, the KCL for Java reads: 3.5.1 by polling and by enhanced fan-out, 2.7.2 by polling.

use std::time::Duration;

use anyhow::ensure;

use super::peers::{ConsumerKind, ConsumerOptions, Peers};
use super::producing::{put, stream};
use super::readers::Readers;

/// Records of the scenario.
const RECORDS: u64 = 100_000;
/// Maximum time of readers to start, and to read everything.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the scenario; the report says what each reader was delivered.
///
/// # Errors
/// A record is not delivered as it was put, or a process fails.
pub async fn kpl_to_java(peers: &Peers) -> anyhow::Result<Vec<String>> {
    let served = peers.serve(false).await?;
    stream(&served, 4).await?;
    let mut readers = Readers::new();
    for (kind, fan_out, name) in [
        (ConsumerKind::Java("3.5.1"), false, "kcl-3.5.1-polling"),
        (ConsumerKind::Java("3.5.1"), true, "kcl-3.5.1-fan-out"),
        (ConsumerKind::Java("2.7.2"), false, "kcl-2.7.2-polling"),
        // Not a peer: to tell duplicates of the producer from those of a reader.
        (ConsumerKind::Rust, false, "kcl"),
    ] {
        let options = ConsumerOptions { fan_out, ..ConsumerOptions::new(name, "worker") };
        readers.add(peers.consumer(kind, &served, &options)?);
    }
    readers.started(PATIENCE).await?;
    let put = put(&served.kinesis()?, 0..RECORDS).await?;
    let mut report = vec![format!("kpl put {} records in {:.1?}", put.records.len(), put.took)];
    report.extend(readers.read_all(&put.records, PATIENCE).await?);
    let complete = readers.stop(&put.records, &mut report).await?;
    ensure!(complete, "not everything was delivered as it was put:\n{}", report.join("\n"));
    Ok(report)
}
