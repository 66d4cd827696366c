//! The contract of every lease table, checked against the one in DynamoDB and the one in memory.

use std::time::Duration;

use bytes::Bytes;
use kinesis_local::LocalAws;
use kpl::{HashKeyRange, ShardId};

use super::{LeaseTable, dynamodb::DynamoDbLeaseTable, memory::MemoryLeaseTable};
use crate::{
    clock::ServiceClock,
    model::{
        Addition, Beat, Bulletin, Checkpoint, CheckpointWrite, Conditional, Lease, LeaseKey, LegacyTables, LockItem,
        Look, Mark, Metric, PendingCheckpoint, Regime, StreamId, StreamIdentity, UsageRate, WorkerId, WorkerItem,
    },
};

pub(crate) const TABLE: &str = "application";

async fn tables() -> Vec<LeaseTable> {
    let aws = LocalAws::start().await.sdk_config();
    let dynamodb =
        DynamoDbLeaseTable::new(&aws, ServiceClock::new(&aws), TABLE.to_owned(), LegacyTables::of(TABLE), true);
    dynamodb.prepare().await.unwrap();
    vec![dynamodb.into(), MemoryLeaseTable::default().into()]
}

pub(crate) fn shard(index: u32) -> Lease {
    Lease::unowned(format!("shardId-{index:012}").into(), Checkpoint::TrimHorizon)
}

pub(crate) fn at(sequence_number: &str) -> CheckpointWrite {
    let checkpoint = Checkpoint::from_wire(sequence_number, 3).unwrap();
    CheckpointWrite::commit(checkpoint)
}

/// Creates the lease, gives it to `owner`, and reads it back.
pub(crate) async fn owned_by(table: &LeaseTable, owner: &str) -> Lease {
    let lease = shard(0);
    assert!(table.create(&lease).await.unwrap().is_applied());
    assert!(table.assign(&lease, &owner.into()).await.unwrap().is_applied());
    read(table).await
}

pub(crate) async fn read(table: &LeaseTable) -> Lease {
    table.get(&shard(0).key).await.unwrap().expect("lease exists")
}

/// Lease shown by a refused write.
fn refused(outcome: Conditional) -> Option<Lease> {
    match outcome {
        Conditional::Applied => panic!("the write should have been refused"),
        Conditional::Conflict(found) => found.map(|lease| *lease),
    }
}

#[tokio::test]
async fn a_lease_is_created_once() {
    for table in tables().await {
        let first = Lease { parents: vec!["shardId-000000000009".into()], ..shard(0) };
        assert!(table.create(&first).await.unwrap().is_applied());

        refused(table.create(&shard(0)).await.unwrap());

        assert_eq!(read(&table).await, first);
    }
}

#[tokio::test]
async fn raises_the_counter_by_a_renewal_and_refuses_a_stale_one() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;

        assert!(table.renew(&lease).await.unwrap().is_applied());

        assert_eq!(read(&table).await.counter, lease.counter + 1);
        let found = refused(table.renew(&lease).await.unwrap()).expect("the item is shown");
        assert_eq!(found.counter, lease.counter + 1);
        assert_eq!(refused(table.renew(&shard(7)).await.unwrap()), None, "a missing lease cannot be renewed");
    }
}

#[tokio::test]
async fn a_renewal_learns_of_a_handoff_and_goes_on_with_that_knowledge() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        assert!(table.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());

        let found = refused(table.renew(&lease).await.unwrap()).expect("the item is shown");

        assert_eq!((found.owner.clone(), found.checkpoint_owner.clone()), (Some("w2".into()), Some("w1".into())));
        assert_eq!(found.counter, lease.counter, "a handoff leaves the counter");
        assert!(table.renew(&found).await.unwrap().is_applied());
    }
}

#[tokio::test]
async fn stores_a_checkpoint_during_a_handoff_but_not_with_a_stale_counter() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        assert!(table.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());

        assert!(table.checkpoint(&lease, &at("100")).await.unwrap().is_applied());

        let stored = read(&table).await;
        assert_eq!((stored.checkpoint, stored.counter), (Checkpoint::from_wire("100", 3).unwrap(), lease.counter + 1));
        refused(table.checkpoint(&lease, &at("200")).await.unwrap());
        assert_eq!(read(&table).await.checkpoint, Checkpoint::from_wire("100", 3).unwrap());
    }
}

#[tokio::test]
async fn the_end_of_a_shard_is_stored_with_its_children() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        let children = vec!["shardId-000000000001".into(), "shardId-000000000002".into()];

        let end =
            CheckpointWrite::Commit { checkpoint: Checkpoint::ShardEnd, children: children.clone(), numbers: None };
        assert!(table.checkpoint(&lease, &end).await.unwrap().is_applied());

        let ended = read(&table).await;
        assert!(ended.is_ended());
        assert_eq!(ended.children, children);
    }
}

#[tokio::test]
async fn the_numbers_of_a_checkpoint_stay_until_others_come_or_a_reset() {
    for table in tables().await {
        let commit = |sequence_number: &str, numbers: Option<&'static [u8]>| CheckpointWrite::Commit {
            checkpoint: Checkpoint::from_wire(sequence_number, 3).unwrap(),
            children: Vec::new(),
            numbers: numbers.map(Bytes::from_static),
        };
        let prepared = PendingCheckpoint { checkpoint: Checkpoint::from_wire("250", 0).unwrap(), state: None };
        let reset = CheckpointWrite::Reset { checkpoint: Checkpoint::TrimHorizon, children: Vec::new(), epoch: 7 };
        owned_by(&table, "w1").await;
        for (write, kept) in [
            (commit("100", Some(b"first")), Some("first")),
            // As of a worker without the setting: they are not of its checkpoint, and so count for none.
            (commit("200", None), Some("first")),
            (CheckpointWrite::Prepare(prepared), Some("first")),
            (commit("300", Some(b"second")), Some("second")),
            (reset, None),
        ] {
            assert!(table.checkpoint(&read(&table).await, &write).await.unwrap().is_applied());

            let stored = read(&table).await;
            assert_eq!(stored.numbers.as_deref(), kept.map(str::as_bytes), "{write:?}");
            if kept.is_some() {
                assert!(table.renew(&stored).await.unwrap().is_applied());
                assert_eq!(read(&table).await.numbers, stored.numbers, "a renewal leaves them");
            }
        }
    }
}

#[tokio::test]
async fn keeps_a_prepared_checkpoint_beside_the_stored_until_one_ends_it() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        let prepared = |number: &str, state: Option<&'static [u8]>| PendingCheckpoint {
            checkpoint: Checkpoint::from_wire(number, 5).unwrap(),
            state: state.map(Bytes::from_static),
        };

        let first = prepared("100", Some(b"state"));
        assert!(table.checkpoint(&lease, &CheckpointWrite::Prepare(first.clone())).await.unwrap().is_applied());
        let found = read(&table).await;
        assert_eq!((&found.checkpoint, &found.pending), (&lease.checkpoint, &Some(first)));
        assert_eq!((found.counter, found.owner_switches), (lease.counter + 1, lease.owner_switches));

        let second = prepared("200", None);
        assert!(table.checkpoint(&found, &CheckpointWrite::Prepare(second.clone())).await.unwrap().is_applied());
        let found = read(&table).await;
        assert_eq!(found.pending, Some(second), "a later one replaces the earlier one and its state");
        assert!(table.checkpoint(&found, &at("100")).await.unwrap().is_applied());

        assert_eq!(read(&table).await.pending, None);
        refused(table.checkpoint(&lease, &CheckpointWrite::Prepare(prepared("300", None))).await.unwrap());
    }
}

#[tokio::test]
async fn stores_the_time_of_latest_until_there_is_a_checkpoint() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;

        let resolve = CheckpointWrite::ResolveLatest { as_of_millis: 7 };
        assert!(table.checkpoint(&lease, &resolve).await.unwrap().is_applied());

        let found = read(&table).await;
        assert_eq!((&found.checkpoint, found.latest_as_of_millis), (&lease.checkpoint, Some(7)));
        assert!(table.checkpoint(&found, &at("100")).await.unwrap().is_applied());
        assert_eq!(read(&table).await.latest_as_of_millis, None);
    }
}

#[tokio::test]
async fn an_assignment_fences_the_old_owner() {
    for table in tables().await {
        let old = owned_by(&table, "w1").await;

        assert!(table.assign(&old, &"w2".into()).await.unwrap().is_applied());

        let new = read(&table).await;
        assert_eq!((new.owner, new.counter, new.owner_switches), (Some("w2".into()), old.counter + 1, 1));
        refused(table.renew(&old).await.unwrap());
        refused(table.checkpoint(&old, &at("100")).await.unwrap());
        refused(table.assign(&old, &"w3".into()).await.unwrap());
        refused(table.release(&old).await.unwrap());
        refused(table.begin_handoff(&old, &"w3".into()).await.unwrap());
    }
}

#[tokio::test]
async fn the_old_owner_ends_a_handoff_by_assigning_to_the_new_one() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        assert!(table.begin_handoff(&lease, &"w2".into()).await.unwrap().is_applied());
        refused(table.begin_handoff(&lease, &"w3".into()).await.unwrap());
        let handing_over = read(&table).await;
        refused(table.begin_handoff(&handing_over, &"w3".into()).await.unwrap());
        refused(table.assign(&lease, &"w3".into()).await.unwrap());

        assert!(table.assign(&handing_over, &"w2".into()).await.unwrap().is_applied());

        let handed_over = read(&table).await;
        assert_eq!((handed_over.owner, handed_over.checkpoint_owner), (Some("w2".into()), None));
        assert_eq!((handed_over.counter, handed_over.owner_switches), (lease.counter + 1, 0));
    }
}

#[tokio::test]
async fn a_released_lease_has_no_owner_and_a_handoff_survives_the_release() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        assert!(table.release(&lease).await.unwrap().is_applied());
        let free = read(&table).await;
        assert_eq!((free.owner.clone(), free.counter), (None, lease.counter + 1));

        assert!(table.assign(&free, &"w1".into()).await.unwrap().is_applied());
        assert!(table.begin_handoff(&read(&table).await, &"w2".into()).await.unwrap().is_applied());
        assert!(table.release(&read(&table).await).await.unwrap().is_applied());
        let passed_on = read(&table).await;
        assert_eq!((passed_on.owner, passed_on.checkpoint_owner), (Some("w2".into()), None));
    }
}

#[tokio::test]
async fn deleted_leases_are_gone_and_cannot_be_written() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;

        table.delete(&lease.key).await.unwrap();
        table.delete(&lease.key).await.unwrap();

        assert_eq!(table.get(&lease.key).await.unwrap(), None);
        assert_eq!(refused(table.renew(&lease).await.unwrap()), None);
        assert_eq!(refused(table.checkpoint(&lease, &at("1")).await.unwrap()), None);
        assert_eq!(refused(table.assign(&lease, &"w2".into()).await.unwrap()), None);
        assert_eq!(refused(table.release(&lease).await.unwrap()), None);
    }
}

#[tokio::test]
async fn a_scan_shows_leases_workers_and_lock_and_the_index_what_is_owned() {
    for table in tables().await {
        for index in 0..30 {
            assert!(table.create(&shard(index)).await.unwrap().is_applied());
        }
        for index in 0..10 {
            assert!(table.assign(&shard(index), &"w1".into()).await.unwrap().is_applied());
        }
        table.put_worker(&worker("w1", 5)).await.unwrap();

        let lock = lock_of("w1", "a");
        assert!(table.put_lock(&lock, None).await.unwrap());

        for scan in [table.scan().await.unwrap(), table.scan_strongly().await.unwrap()] {
            assert_eq!((scan.leases.len(), scan.malformed.len()), (30, 0));
            assert_eq!((scan.workers, scan.lock), (vec![worker("w1", 5)], Some(lock.clone())));
        }
        assert_eq!(table.keys_owned_by(&"w1".into()).await.unwrap().len(), 10);
        assert_eq!(table.keys_owned_by(&"w2".into()).await.unwrap(), []);
        assert_eq!(table.owned_by(&"w1".into()).await.unwrap().len(), 10);
        assert_eq!(table.owned_by(&"w2".into()).await.unwrap(), []);
    }
}

fn worker(id: &str, last_update_seconds: u64) -> WorkerItem {
    let instance = Some(format!("run of {id}"));
    let cpu = Metric { recent: vec![12.5, -1.0, 30.0], limit: 100.0 };
    let metrics = std::collections::BTreeMap::from([("C".to_owned(), cpu)]);
    WorkerItem {
        last_update_seconds,
        instance,
        started_at_millis: 7,
        metrics,
        usage: Some(UsageRate::new(60.0, 12.5, 144.0)),
        ..WorkerItem::new(id.into())
    }
}

#[tokio::test]
async fn a_workers_item_shows_what_stood_there_and_is_deleted_only_unchanged() {
    for table in tables().await {
        assert_eq!(table.put_worker(&worker("w1", 5)).await.unwrap(), None);
        assert_eq!(table.put_worker(&worker("w1", 6)).await.unwrap(), Some(worker("w1", 5)));

        assert!(!table.delete_worker(&worker("w1", 5)).await.unwrap());
        assert_eq!(table.get_worker(&"w1".into()).await.unwrap(), Some(worker("w1", 6)));
        assert!(table.delete_worker(&worker("w1", 6)).await.unwrap());
        assert_eq!(table.get_worker(&"w1".into()).await.unwrap(), None);
    }
}

fn beating(id: &str, beat: u64) -> WorkerItem {
    WorkerItem { beat: Some(beat), ..worker(id, beat) }
}

#[tokio::test]
async fn accepts_a_heartbeat_only_of_the_same_run_after_its_last_one_and_without_a_fence() {
    for table in tables().await {
        let refused = |beat: Beat| match beat {
            Beat::Refused(found) => found.map(|found| *found),
            Beat::Confirmed(_) => panic!("the heartbeat should have been refused"),
        };
        assert_eq!(refused(table.beat(&beating("w1", 2), 1).await.unwrap()), None, "there is no item");
        table.put_worker(&beating("w1", 1)).await.unwrap();

        let confirmed = table.beat(&beating("w1", 2), 1).await.unwrap();
        assert_eq!(confirmed, Beat::Confirmed(Some(Box::new(beating("w1", 1)))));
        assert_eq!(
            refused(table.beat(&beating("w1", 2), 1).await.unwrap()),
            Some(beating("w1", 2)),
            "it is not the last"
        );
        let other = WorkerItem { instance: Some("other".to_owned()), ..beating("w1", 3) };
        assert_eq!(refused(table.beat(&other, 2).await.unwrap()), Some(beating("w1", 2)), "it is another run's");

        assert!(!table.mark_worker(&beating("w1", 1), Mark::Fenced).await.unwrap(), "it has written since");
        assert!(!table.mark_worker(&other, Mark::Fenced).await.unwrap());
        assert!(table.mark_worker(&beating("w1", 1), Mark::Look).await.unwrap(), "whatever it has written since");
        let looked = WorkerItem { mark: Some(Mark::Look), ..beating("w1", 2) };
        let confirmed = table.beat(&beating("w1", 3), 2).await.unwrap();
        assert_eq!(confirmed, Beat::Confirmed(Some(Box::new(looked))), "a mark to look is shown");
        assert_eq!(table.get_worker(&"w1".into()).await.unwrap(), Some(beating("w1", 3)), "and gone");

        assert!(table.mark_worker(&beating("w1", 3), Mark::Fenced).await.unwrap());
        assert!(!table.mark_worker(&beating("w1", 3), Mark::Look).await.unwrap(), "a fence stays");
        let fenced = WorkerItem { mark: Some(Mark::Fenced), ..beating("w1", 3) };
        assert_eq!(refused(table.beat(&beating("w1", 4), 3).await.unwrap()), Some(fenced));
        table.put_worker(&beating("w1", 5)).await.unwrap();
        assert!(matches!(table.beat(&beating("w1", 6), 5).await.unwrap(), Beat::Confirmed(_)), "it has begun anew");
    }
}

#[tokio::test]
async fn seizes_a_lease_only_as_it_was_seen_to_stand_still() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        assert!(table.renew(&lease).await.unwrap().is_applied());

        let found = refused(table.seize(&lease, &"w2".into()).await.unwrap()).expect("the item is shown");
        assert_eq!(found.counter, lease.counter + 1);
        assert!(table.seize(&found, &"w2".into()).await.unwrap().is_applied());

        let taken = read(&table).await;
        assert_eq!((taken.owner, taken.counter), (Some("w2".into()), found.counter + 1));
    }
}

#[tokio::test]
async fn an_unowned_lease_that_is_assigned_belongs_to_no_run_yet() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        let lease = Lease { instance: Some("run".into()), ..lease };
        assert!(table.renew(&lease).await.unwrap().is_applied());
        assert!(table.release(&read(&table).await).await.unwrap().is_applied());
        assert_eq!(read(&table).await.instance.as_deref(), Some("run"));

        assert!(table.assign(&read(&table).await, &"w1".into()).await.unwrap().is_applied());

        assert_eq!(read(&table).await.instance, None);
    }
}

#[tokio::test]
async fn a_lease_given_to_another_belongs_to_no_run_until_that_one_writes_it() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        let run = |lease: Lease| Lease { instance: Some("run".into()), ..lease };
        assert!(table.renew(&run(lease)).await.unwrap().is_applied());
        assert!(table.seize(&read(&table).await, &"w2".into()).await.unwrap().is_applied());
        assert_eq!(read(&table).await.instance, None, "it may come back to the first one before anybody takes it");

        assert!(table.renew(&run(read(&table).await)).await.unwrap().is_applied());
        assert!(table.begin_handoff(&read(&table).await, &"w1".into()).await.unwrap().is_applied());
        assert_eq!(read(&table).await.instance.as_deref(), Some("run"), "the old owner still has it");
        assert!(table.assign(&read(&table).await, &"w1".into()).await.unwrap().is_applied());
        assert_eq!(read(&table).await.instance, None);
    }
}

#[tokio::test]
async fn a_handoff_that_the_leader_takes_back_leaves_the_lease_to_the_run_that_holds_it() {
    for table in tables().await {
        let lease = Lease { instance: Some("run".into()), ..owned_by(&table, "w1").await };
        assert!(table.renew(&lease).await.unwrap().is_applied());
        assert!(table.begin_handoff(&read(&table).await, &"w2".into()).await.unwrap().is_applied());
        assert!(table.assign(&read(&table).await, &"w1".into()).await.unwrap().is_applied());

        assert_eq!(read(&table).await.instance.as_deref(), Some("run"), "it would take the lease for lost");
    }
}

#[tokio::test]
async fn reads_many_leases_and_leaves_out_those_that_are_gone() {
    for table in tables().await {
        for index in 0..150 {
            assert!(table.create(&shard(index)).await.unwrap().is_applied());
        }
        let keys: Vec<LeaseKey> = (0..160).map(|index| shard(index).key).collect();

        let mut found: Vec<LeaseKey> = table.get_all(&keys).await.unwrap().into_iter().map(|lease| lease.key).collect();

        found.sort();
        assert_eq!(found, keys[..150]);
        assert!(table.get_all(&[]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn reads_the_lock_its_owner_and_this_worker_together() {
    for table in tables().await {
        let (me, leader) = ("w1".into(), "w2".into());
        let look = async |leader: &WorkerId| table.look(&me, Some(leader)).await.unwrap();
        assert_eq!(look(&leader).await, Look { lock: None, worker: None, leader: None });
        let lock = LockItem { regime: Regime::Heartbeats, ..lock_of("w2", "a") };
        assert!(table.put_lock(&lock, None).await.unwrap());
        table.put_worker(&beating("w1", 1)).await.unwrap();
        table.put_worker(&beating("w2", 2)).await.unwrap();

        let (lock, worker) = (Some(lock), Some(beating("w1", 1)));
        let of_another = Look { lock: lock.clone(), worker: worker.clone(), leader: Some(beating("w2", 2)) };
        assert_eq!(look(&leader).await, of_another);
        assert_eq!(look(&me).await, Look { lock, worker: worker.clone(), leader: worker });
    }
}

fn lock_of(owner: &str, version: &str) -> LockItem {
    LockItem {
        owner: owner.into(),
        version: version.to_owned(),
        duration: Duration::from_secs(4),
        released: false,
        bulletin: Some(Bulletin { moves: 3, alert: owner == "w2", workers: 2 }),
        regime: Regime::default(),
    }
}

#[tokio::test]
async fn the_lock_has_one_holder_at_a_time() {
    for table in tables().await {
        let (first, beat, second) = (lock_of("w1", "a"), lock_of("w1", "b"), lock_of("w2", "c"));

        assert!(table.put_lock(&first, None).await.unwrap());
        assert!(!table.put_lock(&second, None).await.unwrap());
        assert!(table.put_lock(&beat, Some(&first)).await.unwrap());
        assert!(!table.put_lock(&second, Some(&first)).await.unwrap(), "seen before the heartbeat");
        assert_eq!(table.get_lock().await.unwrap(), Some(beat.clone()));

        assert!(!table.delete_lock(&first).await.unwrap());
        assert!(table.delete_lock(&beat).await.unwrap());
        assert_eq!(table.get_lock().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_look_shows_lock_and_worker_of_the_moment() {
    for table in tables().await {
        let look = async || table.look(&"w1".into(), None).await.unwrap();
        assert_eq!(look().await, Look { lock: None, worker: None, leader: None });

        table.put_worker(&worker("w1", 5)).await.unwrap();
        table.put_worker(&worker("w2", 6)).await.unwrap();
        assert_eq!(look().await, Look { lock: None, worker: Some(worker("w1", 5)), leader: None });

        let lock = LockItem { bulletin: None, ..lock_of("w2", "a") };
        assert!(table.put_lock(&lock, None).await.unwrap());
        assert_eq!(look().await, Look { lock: Some(lock), worker: Some(worker("w1", 5)), leader: None });
    }
}

#[tokio::test]
async fn an_application_is_declared_once() {
    for table in tables().await {
        assert_eq!(table.fleet_version().await.unwrap(), None);
        assert!(table.declare_v3(&"w1".into(), 1).await.unwrap());
        assert!(!table.declare_v3(&"w2".into(), 2).await.unwrap());
        assert_eq!(table.fleet_version().await.unwrap().as_deref(), Some("CLIENT_VERSION_3X"));
    }
}

#[tokio::test]
async fn the_stream_that_was_noted_first_stays_noted() {
    let stream = |created_seconds| StreamIdentity { arn: "arn:aws:kinesis:::stream/s".to_owned(), created_seconds };
    for table in tables().await {
        assert!(table.declare_v3(&"w1".into(), 1).await.unwrap());

        assert_eq!(table.claim_stream(&stream(1)).await.unwrap(), stream(1));
        assert_eq!(table.claim_stream(&stream(2)).await.unwrap(), stream(1));
    }
}

#[tokio::test]
async fn adds_listed_facts_to_a_lease_without_touching_its_counter() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        let children = vec![ShardId::from("shardId-000000000005")];

        table.add_to(&lease.key, &Addition::HashKeyRange(HashKeyRange::FULL)).await.unwrap();
        table.add_to(&lease.key, &Addition::Children(children.clone())).await.unwrap();
        table.add_to(&shard(9).key, &Addition::Children(children.clone())).await.unwrap();

        assert_eq!(read(&table).await, Lease { hash_key_range: Some(HashKeyRange::FULL), children, ..lease });
        assert_eq!(table.get(&shard(9).key).await.unwrap(), None, "nothing comes into being");
    }
}

#[tokio::test]
async fn an_ended_lease_is_deleted_unless_it_was_reset() {
    for table in tables().await {
        let lease = owned_by(&table, "w1").await;
        refused(table.delete_ended(&lease.key).await.unwrap());
        assert_eq!(read(&table).await, lease);

        let end = CheckpointWrite::commit(Checkpoint::ShardEnd);
        assert!(table.checkpoint(&lease, &end).await.unwrap().is_applied());
        for _ in 0..2 {
            assert!(table.delete_ended(&lease.key).await.unwrap().is_applied(), "also if it is gone already");
            assert_eq!(table.get(&lease.key).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_sample_shows_what_kind_of_leases_a_table_holds() {
    for table in tables().await {
        assert_eq!(table.sample().await.unwrap(), []);
        let stream = StreamId::from("1:orders:7");
        let key = LeaseKey::of(Some(&stream), &shard(0).shard_id);
        let lease = Lease { key, stream: Some(stream), ..shard(0) };
        assert!(table.create(&lease).await.unwrap().is_applied());
        assert_eq!(table.sample().await.unwrap(), [lease]);
    }
}

impl From<DynamoDbLeaseTable> for LeaseTable {
    fn from(table: DynamoDbLeaseTable) -> Self {
        Self::DynamoDb(Box::new(table))
    }
}

impl From<MemoryLeaseTable> for LeaseTable {
    fn from(table: MemoryLeaseTable) -> Self {
        Self::Memory(table)
    }
}
