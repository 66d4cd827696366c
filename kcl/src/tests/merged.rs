//! Checkpoints that come while one is being written.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::join_all};

use super::simulation::QuietStream;
use crate::{
    context::Context,
    keeper::{Keeper, LeaseHandle},
    model::{Checkpoint, CheckpointWrite, Lease, Position, StreamId},
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

fn at(number: u32) -> Checkpoint {
    Checkpoint::At(Position::new(number.to_string().parse().unwrap(), 0))
}

/// A lease that is kept, on a table whose calls take 20 ms.
async fn kept() -> (LeaseHandle, tokio::task::JoinHandle<()>) {
    let table = MemoryLeaseTable::default();
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(1)));
    let slowed = table.slowed(Duration::from_millis(20));
    let context = Arc::new(Context::new(settings, events, catalog, slowed.into()));
    let lease = Lease { owner: Some("w1".into()), ..Lease::unowned("shard".into(), Checkpoint::TrimHorizon) };
    assert!(table.create(&lease).await.unwrap().is_applied());
    let (keeper, handle) = Keeper::take(context, StreamId::from("stream"), lease).await.unwrap();
    (handle, tokio::spawn(keeper.run()))
}

async fn lease(handle: &LeaseHandle) -> Lease {
    handle.lease().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn take_one_write_together_and_are_all_answered() {
    let (handle, keeper) = kept().await;
    let before = lease(&handle).await.counter;
    let checkpoint = |number| handle.checkpoint(CheckpointWrite::commit(at(number)));

    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.checkpoint(CheckpointWrite::commit(at(1))).await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let others = join_all([4, 9, 2, 8].map(checkpoint)).await;

    assert!(first.await.unwrap().is_ok() && others.iter().all(Result::is_ok), "{others:?}");
    let lease = lease(&handle).await;
    assert_eq!((lease.checkpoint, lease.counter - before), (at(9), 2));
    drop(handle);
    keeper.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn are_written_although_their_callers_stop_waiting() {
    let (handle, keeper) = kept().await;

    // Both are queued, and their futures dropped.
    assert!(handle.checkpoint(CheckpointWrite::commit(at(3))).now_or_never().is_none());
    assert!(handle.checkpoint(CheckpointWrite::commit(at(7))).now_or_never().is_none());
    let later = handle.checkpoint(CheckpointWrite::commit(at(5))).await;

    assert!(later.is_ok(), "{later:?}");
    assert_eq!(lease(&handle).await.checkpoint, at(7));
    drop(handle);
    keeper.await.unwrap();
}
