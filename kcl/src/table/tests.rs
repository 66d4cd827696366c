//! What every lease table must do, checked against the one in DynamoDB and the one in memory.

use std::{sync::Arc, time::Duration};

use kinesis_local::LocalAws;
use kpl::{HashKeyRange, ShardId};

use super::{LeaseStore, dynamodb::DynamoDbLeaseStore, memory::MemoryLeaseStore};
use crate::{
    clock::ServiceClock,
    model::{
        checkpoint::{Checkpoint, PendingCheckpoint},
        checkpoint_write::CheckpointWrite,
        lease::{Conditional, Lease, LeaseKey, WorkerId},
        legacy_tables::LegacyTables,
        lock_item::LockItem,
        stream_id::{StreamId, StreamIdentity},
        table_scan::{Addition, FleetVersion},
        worker_item::{Metric, WorkerItem},
    },
};

pub(crate) const TABLE: &str = "application";

async fn stores() -> Vec<Arc<dyn LeaseStore>> {
    let aws = LocalAws::start().await.sdk_config();
    let dynamodb =
        DynamoDbLeaseStore::new(&aws, ServiceClock::new(&aws), TABLE.to_owned(), LegacyTables::of(TABLE), true);
    dynamodb.prepare().await.unwrap();
    vec![Arc::new(dynamodb), Arc::new(MemoryLeaseStore::default())]
}

pub(crate) fn shard(index: u32) -> Lease {
    Lease::unowned(format!("shardId-{index:012}").into(), Checkpoint::TrimHorizon)
}

pub(crate) fn at(sequence_number: &str) -> CheckpointWrite {
    let checkpoint = Checkpoint::from_wire(sequence_number, 3).unwrap();
    CheckpointWrite::commit(checkpoint)
}

/// Creates the lease, gives it to `owner`, and reads it back.
pub(crate) async fn owned_by(store: &dyn LeaseStore, owner: &str) -> Lease {
    let lease = shard(0);
    assert!(store.create(&lease).await.unwrap().is_applied());
    assert!(store.assign(&lease, &owner.into()).await.unwrap().is_applied());
    read(store).await
}

pub(crate) async fn read(store: &dyn LeaseStore) -> Lease {
    store.get(&shard(0).key).await.unwrap().expect("lease exists")
}

/// What a refused write shows.
fn refused(outcome: Conditional) -> Option<Lease> {
    match outcome {
        Conditional::Applied => panic!("the write should have been refused"),
        Conditional::Conflict(found) => found.map(|lease| *lease),
    }
}

#[tokio::test]
async fn a_lease_is_created_once() {
    for store in stores().await {
        let first = Lease { parents: vec!["shardId-000000000009".into()], ..shard(0) };
        assert!(store.create(&first).await.unwrap().is_applied());

        refused(store.create(&shard(0)).await.unwrap());

        assert_eq!(read(&*store).await, first);
    }
}

#[tokio::test]
async fn raises_the_counter_by_a_renewal_and_refuses_a_stale_one() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;

        assert!(store.renew(&lease).await.unwrap().is_applied());

        assert_eq!(read(&*store).await.counter, lease.counter + 1);
        let found = refused(store.renew(&lease).await.unwrap()).expect("the item is shown");
        assert_eq!(found.counter, lease.counter + 1);
        assert_eq!(refused(store.renew(&shard(7)).await.unwrap()), None, "a missing lease cannot be renewed");
    }
}

#[tokio::test]
async fn a_renewal_learns_of_a_handoff_and_goes_on_with_that_knowledge() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        assert!(store.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());

        let found = refused(store.renew(&lease).await.unwrap()).expect("the item is shown");

        assert_eq!((found.owner.clone(), found.checkpoint_owner.clone()), (Some("w2".into()), Some("w1".into())));
        assert_eq!(found.counter, lease.counter, "a handoff leaves the counter");
        assert!(store.renew(&found).await.unwrap().is_applied());
    }
}

#[tokio::test]
async fn stores_a_checkpoint_during_a_handoff_but_not_with_a_stale_counter() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        assert!(store.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());

        assert!(store.checkpoint(&lease, &at("100")).await.unwrap().is_applied());

        let stored = read(&*store).await;
        assert_eq!((stored.checkpoint, stored.counter), (Checkpoint::from_wire("100", 3).unwrap(), lease.counter + 1));
        refused(store.checkpoint(&lease, &at("200")).await.unwrap());
        assert_eq!(read(&*store).await.checkpoint, Checkpoint::from_wire("100", 3).unwrap());
    }
}

#[tokio::test]
async fn the_end_of_a_shard_is_stored_with_its_children() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        let children = vec!["shardId-000000000001".into(), "shardId-000000000002".into()];

        let end = CheckpointWrite::Commit { checkpoint: Checkpoint::ShardEnd, children: children.clone() };
        assert!(store.checkpoint(&lease, &end).await.unwrap().is_applied());

        let ended = read(&*store).await;
        assert!(ended.is_ended());
        assert_eq!(ended.children, children);
    }
}

#[tokio::test]
async fn keeps_a_prepared_checkpoint_beside_the_stored_until_one_ends_it() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        let prepared = |number: &str, state: Option<&'static [u8]>| PendingCheckpoint {
            checkpoint: Checkpoint::from_wire(number, 5).unwrap(),
            state: state.map(bytes::Bytes::from_static),
        };

        let first = prepared("100", Some(b"state"));
        assert!(store.checkpoint(&lease, &CheckpointWrite::Prepare(first.clone())).await.unwrap().is_applied());
        let found = read(&*store).await;
        assert_eq!((&found.checkpoint, &found.pending), (&lease.checkpoint, &Some(first)));
        assert_eq!((found.counter, found.owner_switches), (lease.counter + 1, lease.owner_switches));

        let second = prepared("200", None);
        assert!(store.checkpoint(&found, &CheckpointWrite::Prepare(second.clone())).await.unwrap().is_applied());
        let found = read(&*store).await;
        assert_eq!(found.pending, Some(second), "a later one replaces the earlier one and its state");
        assert!(store.checkpoint(&found, &at("100")).await.unwrap().is_applied());

        assert_eq!(read(&*store).await.pending, None);
        refused(store.checkpoint(&lease, &CheckpointWrite::Prepare(prepared("300", None))).await.unwrap());
    }
}

#[tokio::test]
async fn stores_the_time_of_latest_until_there_is_a_checkpoint() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;

        let resolve = CheckpointWrite::ResolveLatest { as_of_millis: 7 };
        assert!(store.checkpoint(&lease, &resolve).await.unwrap().is_applied());

        let found = read(&*store).await;
        assert_eq!((&found.checkpoint, found.latest_as_of_millis), (&lease.checkpoint, Some(7)));
        assert!(store.checkpoint(&found, &at("100")).await.unwrap().is_applied());
        assert_eq!(read(&*store).await.latest_as_of_millis, None);
    }
}

#[tokio::test]
async fn an_assignment_fences_the_old_owner() {
    for store in stores().await {
        let old = owned_by(&*store, "w1").await;

        assert!(store.assign(&old, &"w2".into()).await.unwrap().is_applied());

        let new = read(&*store).await;
        assert_eq!((new.owner, new.counter, new.owner_switches), (Some("w2".into()), old.counter + 1, 1));
        refused(store.renew(&old).await.unwrap());
        refused(store.checkpoint(&old, &at("100")).await.unwrap());
        refused(store.assign(&old, &"w3".into()).await.unwrap());
        refused(store.release(&old).await.unwrap());
        refused(store.begin_handoff(&old, &"w3".into()).await.unwrap());
    }
}

#[tokio::test]
async fn the_old_owner_ends_a_handoff_by_assigning_to_the_new_one() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        assert!(store.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());
        refused(store.begin_handoff(&lease, &"w3".into()).await.unwrap());
        let handing_over = read(&*store).await;
        refused(store.begin_handoff(&handing_over, &"w3".into()).await.unwrap());
        refused(store.assign(&lease, &"w3".into()).await.unwrap());

        assert!(store.assign(&handing_over, &"w2".into()).await.unwrap().is_applied());

        let handed_over = read(&*store).await;
        assert_eq!((handed_over.owner, handed_over.checkpoint_owner), (Some("w2".into()), None));
        assert_eq!((handed_over.counter, handed_over.owner_switches), (lease.counter + 1, 0));
    }
}

#[tokio::test]
async fn a_released_lease_has_no_owner_and_a_handoff_survives_the_release() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        assert!(store.release(&lease).await.unwrap().is_applied());
        let free = read(&*store).await;
        assert_eq!((free.owner.clone(), free.counter), (None, lease.counter + 1));

        assert!(store.assign(&free, &"w1".into()).await.unwrap().is_applied());
        assert!(store.begin_handoff(&read(&*store).await, &"w2".into()).await.unwrap().is_applied());
        assert!(store.release(&read(&*store).await).await.unwrap().is_applied());
        let passed_on = read(&*store).await;
        assert_eq!((passed_on.owner, passed_on.checkpoint_owner), (Some("w2".into()), None));
    }
}

#[tokio::test]
async fn deleted_leases_are_gone_and_cannot_be_written() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;

        store.delete(&lease.key).await.unwrap();
        store.delete(&lease.key).await.unwrap();

        assert_eq!(store.get(&lease.key).await.unwrap(), None);
        assert_eq!(refused(store.renew(&lease).await.unwrap()), None);
        assert_eq!(refused(store.checkpoint(&lease, &at("1")).await.unwrap()), None);
        assert_eq!(refused(store.assign(&lease, &"w2".into()).await.unwrap()), None);
        assert_eq!(refused(store.release(&lease).await.unwrap()), None);
    }
}

#[tokio::test]
async fn a_scan_shows_leases_and_workers_and_the_index_what_is_owned() {
    for store in stores().await {
        for index in 0..30 {
            assert!(store.create(&shard(index)).await.unwrap().is_applied());
        }
        for index in 0..10 {
            assert!(store.assign(&shard(index), &"w1".into()).await.unwrap().is_applied());
        }
        store.report_worker(&worker("w1", 5)).await.unwrap();

        let scan = store.scan().await.unwrap();

        assert_eq!((scan.leases.len(), scan.workers, scan.malformed.len()), (30, vec![worker("w1", 5)], 0));
        assert_eq!(store.keys_owned_by(&"w1".into()).await.unwrap().len(), 10);
        assert_eq!(store.keys_owned_by(&"w2".into()).await.unwrap(), []);
    }
}

fn worker(id: &str, last_update_seconds: u64) -> WorkerItem {
    let instance = Some(format!("run of {id}"));
    let cpu = Metric { recent: vec![12.5, -1.0, 30.0], limit: 100.0 };
    let metrics = std::collections::BTreeMap::from([("C".to_owned(), cpu)]);
    WorkerItem { id: id.into(), last_update_seconds, instance, started_at_millis: 7, leaving: false, metrics }
}

#[tokio::test]
async fn a_workers_item_shows_what_stood_there_and_is_deleted_only_unchanged() {
    for store in stores().await {
        assert_eq!(store.report_worker(&worker("w1", 5)).await.unwrap(), None);
        assert_eq!(store.report_worker(&worker("w1", 6)).await.unwrap(), Some(worker("w1", 5)));

        assert!(!store.delete_worker(&worker("w1", 5)).await.unwrap());
        assert_eq!(store.get_worker(&"w1".into()).await.unwrap(), Some(worker("w1", 6)));
        assert!(store.delete_worker(&worker("w1", 6)).await.unwrap());
        assert_eq!(store.get_worker(&"w1".into()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_lock_has_one_holder_at_a_time() {
    let lock = |owner: &str, version: &str| LockItem {
        owner: WorkerId::from(owner),
        version: version.to_owned(),
        duration: Duration::from_secs(4),
        released: false,
    };
    for store in stores().await {
        let (first, beat, second) = (lock("w1", "a"), lock("w1", "b"), lock("w2", "c"));

        assert!(store.put_lock(&first, None).await.unwrap());
        assert!(!store.put_lock(&second, None).await.unwrap());
        assert!(store.put_lock(&beat, Some(&first)).await.unwrap());
        assert!(!store.put_lock(&second, Some(&first)).await.unwrap(), "seen before the heartbeat");
        assert_eq!(store.get_lock().await.unwrap(), Some(beat.clone()));

        assert!(!store.delete_lock(&first).await.unwrap());
        assert!(store.delete_lock(&beat).await.unwrap());
        assert_eq!(store.get_lock().await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_application_is_declared_once() {
    for store in stores().await {
        assert_eq!(store.fleet_version().await.unwrap(), FleetVersion::Unknown);
        assert!(store.declare_v3(&"w1".into(), 1).await.unwrap());
        assert!(!store.declare_v3(&"w2".into(), 2).await.unwrap());
        assert_eq!(store.fleet_version().await.unwrap(), FleetVersion::V3);
    }
}

#[tokio::test]
async fn the_stream_that_was_noted_first_stays_noted() {
    let stream = |created_seconds| StreamIdentity { arn: "arn:aws:kinesis:::stream/s".to_owned(), created_seconds };
    for store in stores().await {
        assert!(store.declare_v3(&"w1".into(), 1).await.unwrap());

        assert_eq!(store.claim_stream(&stream(1)).await.unwrap(), stream(1));
        assert_eq!(store.claim_stream(&stream(2)).await.unwrap(), stream(1));
    }
}

#[tokio::test]
async fn adds_listed_facts_to_a_lease_without_touching_its_counter() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        let children = vec![ShardId::from("shardId-000000000005")];

        store.add_to(&lease.key, &Addition::HashKeyRange(HashKeyRange::FULL)).await.unwrap();
        store.add_to(&lease.key, &Addition::Children(children.clone())).await.unwrap();
        store.add_to(&shard(9).key, &Addition::Children(children.clone())).await.unwrap();

        assert_eq!(read(&*store).await, Lease { hash_key_range: Some(HashKeyRange::FULL), children, ..lease });
        assert_eq!(store.get(&shard(9).key).await.unwrap(), None, "nothing comes into being");
    }
}

#[tokio::test]
async fn an_ended_lease_is_deleted_unless_it_was_reset() {
    for store in stores().await {
        let lease = owned_by(&*store, "w1").await;
        refused(store.delete_ended(&lease.key).await.unwrap());
        assert_eq!(read(&*store).await, lease);

        let end = CheckpointWrite::commit(Checkpoint::ShardEnd);
        assert!(store.checkpoint(&lease, &end).await.unwrap().is_applied());
        for _ in 0..2 {
            assert!(store.delete_ended(&lease.key).await.unwrap().is_applied(), "also if it is gone already");
            assert_eq!(store.get(&lease.key).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_sample_shows_what_kind_of_leases_a_table_holds() {
    for store in stores().await {
        assert_eq!(store.sample().await.unwrap(), []);
        let stream = StreamId::from("1:orders:7");
        let key = LeaseKey::of(Some(&stream), &shard(0).shard_id);
        let lease = Lease { key, stream: Some(stream), ..shard(0) };
        assert!(store.create(&lease).await.unwrap().is_applied());
        assert_eq!(store.sample().await.unwrap(), [lease]);
    }
}
