//! Throughput that a lease's keeper stores, under virtual time.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::simulation::QuietStream;
use crate::{
    context::Context,
    keeper::Keeper,
    model::{Checkpoint, CheckpointWrite, Lease, WorkerId},
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

const SECOND: Duration = Duration::from_secs(1);
/// Just later than a third of a lease duration, when a checkpoint measures; renewals follow within a tenth of it.
const MEASURED: Duration = Duration::from_micros(3_333_400);

#[tokio::test(start_paused = true)]
async fn a_renewal_right_after_a_checkpoint_does_not_measure_the_moment_between() {
    let (table, me) = (MemoryLeaseTable::default(), WorkerId::from("w1"));
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(1)));
    let context = Arc::new(Context::new(settings, events, catalog, table.clone().into()));
    let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
    assert!(table.create(&Lease { owner: Some(me), ..lease.clone() }).await.unwrap().is_applied());
    let found = table.get(&lease.key).await.unwrap().unwrap();
    let (keeper, handle) = Keeper::take(context, "stream".into(), found).await.expect("it is ours");
    let running = tokio::spawn(keeper.run());

    handle.count_delivered(100 * 1024);
    sleep(MEASURED).await;
    let checkpoint = Checkpoint::from_wire("1", 0).unwrap();
    handle.checkpoint(CheckpointWrite::commit(checkpoint)).await.unwrap();
    let stored = async || table.get(&lease.key).await.unwrap().unwrap();
    let (measured, counter) = (stored().await.throughput_kbps, stored().await.counter);
    sleep(SECOND / 2).await;

    assert!(stored().await.counter > counter, "it was renewed");
    assert_eq!(stored().await.throughput_kbps, measured);
    assert!(measured.is_some_and(|kbps| (29.0..31.0).contains(&kbps)), "{measured:?}");
    running.abort();
}
