//! Workers that are stopped at any moment, on a lease table in memory that takes its time.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::simulation::{Idle, QuietStream};
use crate::{
    ShardContext, Worker,
    coordination::{leader::LockItem, membership::WorkerItem},
    kinesis::StreamIdentity,
    lease::{
        Conditional, Lease, LeaseKey, WorkerId,
        memory::MemoryLeaseStore,
        store::{Addition, CheckpointWrite, FleetVersion, LeaseStore, StoreError, TableScan},
    },
};

/// What each call to the table takes, half of it before it takes effect.
const LATENCY: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct SlowStore(Arc<MemoryLeaseStore>);

macro_rules! slow {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl LeaseStore for SlowStore {
            $(fn $name<'a>(&'a self, $($argument: $type),*) -> BoxFuture<'a, Result<$answer, StoreError>> {
                async move {
                    sleep(LATENCY / 2).await;
                    let answer = self.0.$name($($argument),*).await;
                    sleep(LATENCY / 2).await;
                    answer
                }
                .boxed()
            })*
        }
    };
}

slow! {
    prepare() -> ();
    fleet_version() -> FleetVersion;
    find_layout() -> ();
    follow_migration() -> bool;
    declare_v3(me: &'a WorkerId, now_millis: u64) -> bool;
    claim_stream(stream: &'a StreamIdentity) -> StreamIdentity;
    sample() -> Vec<Lease>;
    scan() -> TableScan;
    get(key: &'a LeaseKey) -> Option<Lease>;
    keys_owned_by(owner: &'a WorkerId) -> Vec<LeaseKey>;
    create(lease: &'a Lease) -> Conditional;
    renew(lease: &'a Lease) -> Conditional;
    checkpoint(lease: &'a Lease, write: &'a CheckpointWrite) -> Conditional;
    assign(lease: &'a Lease, to: &'a WorkerId) -> Conditional;
    begin_handoff(lease: &'a Lease, to: &'a WorkerId) -> Conditional;
    release(lease: &'a Lease) -> Conditional;
    add_to(key: &'a LeaseKey, addition: &'a Addition) -> ();
    delete_ended(key: &'a LeaseKey) -> Conditional;
    delete(key: &'a LeaseKey) -> ();
    report_worker(worker: &'a WorkerItem) -> Option<WorkerItem>;
    get_worker(id: &'a WorkerId) -> Option<WorkerItem>;
    delete_worker(worker: &'a WorkerItem) -> bool;
    get_lock() -> Option<LockItem>;
    put_lock(lock: &'a LockItem, seen: Option<&'a LockItem>) -> bool;
    delete_lock(lock: &'a LockItem) -> bool;
}

#[tokio::test(start_paused = true)]
async fn releases_every_lease_wherever_a_stop_meets_the_start() {
    let (stream, table) = (Arc::new(QuietStream::new(300)), Arc::new(MemoryLeaseStore::default()));
    let (aws, mut most_owned) = (super::without_services(), 0);
    for moment in 0..100 {
        let builder = Worker::builder(&aws, "application", "stream").worker_id("w1");
        let (settings, events, catalog) = builder.into_parts_on(stream.clone());
        let store = Arc::new(SlowStore(Arc::clone(&table)));
        let worker = Worker::new(settings, events, catalog, store, |_: &ShardContext| Idle);
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
