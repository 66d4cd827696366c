//! A lease whose owner takes its time to hand it over.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::simulation::QuietStream;
use crate::{
    context::Context,
    keeper::Keeper,
    model::{Checkpoint, Lease},
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

#[tokio::test(start_paused = true)]
async fn a_lease_in_handoff_is_not_renewed_by_each_look_that_misses_it() {
    let table = MemoryLeaseTable::default();
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(1)));
    let context = Arc::new(Context::new(settings, events, catalog, table.clone().into()));
    let lease = Lease { owner: Some("w1".into()), ..Lease::unowned("shard".into(), Checkpoint::TrimHorizon) };
    assert!(table.create(&lease).await.unwrap().is_applied());
    let (keeper, handle) =
        Keeper::take(Arc::clone(&context), "stream".into(), lease.clone()).await.expect("it is ours");
    let running = tokio::spawn(keeper.run());
    let stored = async || table.get(&lease.key).await.unwrap().unwrap();
    assert!(table.begin_handoff(&stored().await, &"w2".into()).await.unwrap().is_applied());
    let doubt = async || {
        // An index that shows the leases of `leaseOwner`.
        context.doubts.compare_keys(&[]);
        sleep(Duration::from_millis(100)).await;
    };
    doubt().await;
    handle.no_longer_held().await;
    let before = stored().await.counter;

    for _ in 0..20 {
        doubt().await;
    }

    assert_eq!(stored().await.counter, before);
    sleep(Duration::from_secs(4)).await;
    assert!(stored().await.counter > before, "it is renewed in its own time");
    running.abort();
}
