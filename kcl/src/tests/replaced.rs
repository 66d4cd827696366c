//! A stream deleted and created again since it was described, for which a leader writes nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::simulation::QuietStream;
use crate::{
    context::Context,
    coordination::shard_sync::{SyncError, sync},
    model::{Checkpoint, Lease},
    stream::Catalog,
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

/// Ages of a description at which a leader describes a stream again in any case, and only before it makes leases.
const LONG_AGO: Duration = Duration::from_secs(120);
const NOT_LONG_AGO: Duration = Duration::from_secs(20);

/// Leases of the first shards, which somebody has read already.
fn leases(shards: usize) -> Vec<Lease> {
    let lease = |shard| Lease::unowned(format!("shardId-{shard:012}").into(), Checkpoint::TrimHorizon);
    (0..shards).map(|shard| Lease { counter: 1, ..lease(shard) }).collect()
}

/// Leases of a stream of two shards after a leader synced these, so long after the stream was described.
async fn synced(leases: &[Lease], described: Duration) -> (Result<bool, SyncError>, Vec<Lease>) {
    let (kinesis, table) = (Arc::new(QuietStream::new(2)), MemoryLeaseTable::default());
    let builder = Worker::builder(&super::without_services(), "application", "stream");
    let (settings, events, catalog) = builder.into_parts_on(kinesis.clone());
    let context = Context::new(settings, events, catalog, table.clone().into());
    let Catalog::Single(stream) = &context.catalog else { unreachable!("one stream is configured") };
    stream.describe().await.unwrap();
    for lease in leases {
        assert!(table.create(lease).await.unwrap().is_applied());
    }

    kinesis.create_again();
    sleep(described).await;
    let outcome = sync(&context, stream, &leases.iter().collect::<Vec<_>>()).await;
    (outcome, table.scan().await.unwrap().leases)
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_made_for_a_shard_of_another_stream_of_the_same_name() {
    for (leases, described) in [(leases(0), NOT_LONG_AGO), (leases(1), NOT_LONG_AGO), (leases(1), LONG_AGO)] {
        let (outcome, left) = synced(&leases, described).await;

        assert!(matches!(outcome, Err(SyncError::Replaced)), "{outcome:?} after {described:?}");
        assert_eq!(left, leases, "after {described:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_lease_is_completed_by_a_shard_of_another_stream_of_the_same_name() {
    let leases = leases(2);

    let (outcome, left) = synced(&leases, LONG_AGO).await;

    assert!(matches!(outcome, Err(SyncError::Replaced)), "{outcome:?}");
    assert_eq!(left, leases);
}
