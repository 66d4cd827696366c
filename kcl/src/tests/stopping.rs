//! Workers that are stopped at any moment, on a lease table in memory that takes its time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::simulation::{Idle, QuietStream};
use crate::{
    checkpointer::Checkpointer,
    context::Context,
    coordination::discovery::Discovery,
    error::BoxError,
    model::{Checkpoint, Lease, RecordBatch, Renewals, WorkerItem},
    processor::{RecordProcessor, ShardContext},
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

/// Duration of each call to the table, half of it before the call takes effect.
const LATENCY: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn releases_every_lease_wherever_a_stop_meets_the_start() {
    let (stream, table) = (Arc::new(QuietStream::new(300)), MemoryLeaseTable::default());
    let (aws, mut most_owned) = (super::without_services(), 0);
    for moment in 0..100 {
        let builder = Worker::builder(&aws, "application", "stream").worker_id("w1");
        let (settings, events, catalog) = builder.into_parts_on(stream.clone());
        let worker = Worker::new(settings, events, catalog, table.slowed(LATENCY).into(), |_: &ShardContext| Idle);
        let stop = CancellationToken::new();
        let running = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
        let after = moment * Duration::from_millis(50);
        sleep(after).await;
        let owned = async || {
            let leases = table.scan().await.unwrap().leases;
            leases.iter().filter(|lease| lease.owner.is_some() || lease.in_handoff()).count()
        };
        most_owned = most_owned.max(owned().await);

        let begun = Instant::now();
        stop.cancel();
        running.await.unwrap().unwrap();

        assert!(begun.elapsed() <= Duration::from_secs(2), "stopped after {after:?}: takes {:?}", begun.elapsed());
        assert_eq!(owned().await, 0, "stopped after {after:?}");
        assert!(table.scan().await.unwrap().workers.is_empty(), "stopped after {after:?}");
    }
    assert_eq!(most_owned, 300, "the last start came to its end");
}

/// A lease of `shard` that names this worker.
fn ours(shard: &str) -> Lease {
    Lease { owner: Some("w1".into()), ..Lease::unowned(shard.into(), Checkpoint::TrimHorizon) }
}

#[tokio::test(start_paused = true)]
async fn gives_back_what_nobody_holds_and_a_lease_in_handoff_to_its_holder() {
    let table = MemoryLeaseTable::default();
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(4)));
    let context = Arc::new(Context::new(settings, events, catalog, table.clone().into()));
    let leases = [
        ours("given"),
        Lease { checkpoint_owner: Some("w2".into()), ..ours("handed over") },
        ours("held"),
        Lease { owner: Some("w2".into()), ..ours("of another") },
    ];
    for lease in &leases {
        assert!(table.create(lease).await.unwrap().is_applied());
    }
    let (_holder, held) = watch::channel(HashSet::from([leases[2].key.clone()]));

    assert!(Discovery { context, held }.give_back().await);

    let mut owners = Vec::new();
    for lease in &leases {
        let found = table.get(&lease.key).await.unwrap().unwrap();
        owners.push((found.owner.as_ref().map(ToString::to_string), found.in_handoff()));
    }
    let owner = |id: &str| (Some(id.to_owned()), false);
    assert_eq!(owners, [(None, false), owner("w2"), owner("w1"), owner("w2")]);
}

/// Takes its time to stop.
struct Slow;

impl RecordProcessor for Slow {
    type Error = BoxError;

    async fn process_records(&mut self, _batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }

    async fn shutdown_requested(&mut self, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        sleep(Duration::from_secs(20)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn gives_back_what_it_is_given_while_its_processors_take_their_time() {
    let table = MemoryLeaseTable::default();
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(1)));
    let worker = Worker::new(settings, events, catalog, table.clone().into(), |_: &ShardContext| Slow);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    sleep(Duration::from_secs(20)).await;
    stop.cancel();
    sleep(Duration::from_secs(5)).await;

    let late = ours("late");
    assert!(table.create(&late).await.unwrap().is_applied());
    sleep(Duration::from_secs(3)).await;

    assert!(!running.is_finished());
    assert_eq!(table.get(&late.key).await.unwrap().unwrap().owner, None);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn says_that_it_leaves_right_after_a_heartbeat_whose_answer_was_lost() {
    let table = MemoryLeaseTable::default();
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) =
        builder.renewals(Renewals::Automatic).into_parts_on(Arc::new(QuietStream::new(1)));
    let worker = Worker::new(settings, events, catalog, table.clone().into(), |_: &ShardContext| Slow);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    sleep(Duration::from_secs(25)).await;
    let item = async || table.get_worker(&"w1".into()).await.unwrap().unwrap();

    // As the heartbeat leaves it.
    let before = item().await;
    let beaten = WorkerItem { beat: before.beat.map(|beat| beat + 1), ..before };
    assert!(table.put_worker(&beaten).await.unwrap().is_some());
    stop.cancel();
    sleep(Duration::from_millis(100)).await;

    assert!(!running.is_finished());
    assert!(item().await.leaving);
    running.await.unwrap().unwrap();
}
