//! Counts of what happened, and lags.

use aws_sdk_kinesis::primitives::Blob;
use kcl::Copies;
use kpl::compressed::{Compression, FrameWriter};

use super::{times::start, *};

pub(super) const TABLES: &[&[Row]] =
    &[READ, COPIES, LOST, FAULTY, UNREADABLE, CHANGED, TAKEN, MERGED, MERGED_ALONE, UNITS];

#[tokio::test(start_paused = true)]
async fn what_is_read_is_counted_and_its_lag_shown_until_the_lease_is_lost() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        world.local.faults().on("kinesis:GetRecords").call(3).refuse(400, "ExpiredIteratorException", "too old");
        // Records of one byte are done at once, others never.
        let handler = |record: Record| async move {
            if record.data.len() > 1 {
                std::future::pending::<()>().await;
            }
            Ok::<(), BoxError>(())
        };
        let builder = world.worker("w1").renewals(Renewals::EachLease);
        let builder = builder.build_for_each(CheckpointEvery::default(), 1, handler).expect("settings");
        let worker = builder.start();
        world.settled().await;
        world.put(0..10).await;
        world.settled().await;
        let frame = FrameWriter::new(Compression::Lz4, None).frame(&[b'x'; 500]).expect("shorter");
        let mut damaged = frame.to_vec();
        damaged.resize(100, 0);
        let put = world.kinesis.put_record().stream_name(integration_tests::STREAM).partition_key("k");
        put.data(Blob::new(damaged)).send().await.expect("stored");
        sleep(SECOND * 60).await;

        assert_values(&recorded(&snapshotter), READ);
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 60).await; // the record in work has half a minute to end
        assert_values(&recorded(&snapshotter), LOST);
        drop(worker);
    })
    .await;
}

const READ: &[Row] = &[
    ("ProcessTask", "RecordsProcessed", Expected::Sum(11.0)),
    ("ProcessTask", "DataBytesProcessed", Expected::Sum(110.0)),
    ("ProcessTask", "CompressedRecordsUnopened", Expected::Sum(1.0)),
    ("ProcessTask", "ExpiredIterator", Expected::Sum(1.0)),
    ("ProcessTask", "MillisBehindLatest", Expected::Between(54_000.0, 60_100.0)),
    ("ApplicationTracker", "MillisBehindLatest", Expected::Between(49_000.0, 60_100.0)),
];

const LOST: &[Row] = &[("RenewAllLeases", "LostLeases", Expected::Sum(1.0))];

#[tokio::test(start_paused = true)]
async fn copies_are_counted_and_what_may_be_one() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = world.spawn(world.worker("w1").copies(Copies::Drop));
        // The lowest numbers come last.
        for ids in [5..10, 7..12, 5..12, 1..3] {
            world.put_numbered(ids).await;
        }
        world.journal.processed(9).await;

        assert_values(&recorded(&snapshotter), COPIES);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const COPIES: &[Row] =
    &[("ProcessTask", "CopiesDropped", Expected::Sum(10.0)), ("ProcessTask", "RecordsUndecided", Expected::Sum(2.0))];

#[tokio::test(start_paused = true)]
async fn leases_that_cannot_be_read_found_or_given_are_counted() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;
        drop(recorded(&snapshotter));

        // An item that claims to be a lease.
        world.table().put([("leaseKey".to_owned(), text("broken")), ("checkpoint".to_owned(), number(1))].into()).await;
        sleep(SECOND * 60).await;
        let all = recorded(&snapshotter);
        assert_values(&all, FAULTY);
        let scans = values(&all, "LeaseAssignmentManager", "LeaseAndWorkerMetricsLoad.Time").len();
        let faults = sum(&all, "LeaseAssignmentManager", "LeaseDeserializationFailureCount");
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let scans = scans as f64;
        assert!((scans - 1.0..=scans).contains(&faults), "{faults} in {scans} scans");
        world.table().delete("broken").await;

        // Found, and not to be read.
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 5).await;
        let unreadable = world.local.faults().on("dynamodb:GetItem").fail();
        sleep(SECOND * 60).await;
        unreadable.remove();
        assert_values(&recorded(&snapshotter), UNREADABLE);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const FAULTY: &[Row] = &[("LeaseAssignmentManager", "LeaseDeserializationFailureCount", Expected::SumOfAtLeast(1.0))];

const UNREADABLE: &[Row] = &[("LeaseDiscovery", "GetLease:Error", Expected::SumOfAtLeast(1.0))];

/// Waits until the lease of the only shard has this owner, or none.
async fn until_owned(world: &World, owner: Option<&str>) {
    let owner = owner.map(text);
    for _ in 0..2_000 {
        let items = world.table().items().await.unwrap_or_default();
        let lease = items.into_iter().find(|item| item.get("leaseKey") == Some(&text(SHARD)));
        if lease.is_some_and(|lease| lease.get("leaseOwner") == owner.as_ref()) {
            return;
        }
        sleep(millis(20)).await;
    }
    panic!("the lease never had owner {owner:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_hands_before_it_is_read_is_a_mismatch() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let slow = world.local.faults().on("dynamodb:GetItem").delay(SECOND);
        let worker = start(world.worker("w1"));
        until_owned(&world, Some("w1")).await;
        world.take_lease_away(SHARD).await;
        sleep(SECOND * 3).await;
        slow.remove();

        assert_values(&recorded(&snapshotter), CHANGED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const CHANGED: &[Row] = &[("LeaseDiscovery", "OwnerMismatch", Expected::Sum(1.0))];

#[tokio::test(start_paused = true)]
async fn a_lease_that_changes_before_it_is_given_is_a_failed_assignment() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        let slow = world.local.faults().on("dynamodb:UpdateItem").delay(SECOND);
        let worker = start(world.worker("w1"));
        until_owned(&world, None).await;
        let mut lease = world.table().get(SHARD).await.expect("it is there");
        lease.extend([("leaseOwner".to_owned(), text("other")), ("leaseCounter".to_owned(), number(7))]);
        world.table().put(lease).await;
        sleep(SECOND * 3).await;
        slow.remove();

        assert_values(&recorded(&snapshotter), TAKEN);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const TAKEN: &[Row] = &[
    ("LeaseAssignmentManager", "FailedAssignmentCount", Expected::Sum(1.0)),
    ("LeaseAssignmentManager", "ParallelyAssignLeases.Success", Expected::Each(0.0)),
];

#[tokio::test(start_paused = true)]
async fn a_merged_child_without_a_lease_of_its_other_parent_is_counted() {
    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let worker = start(world.worker("w1").renewals(Renewals::EachLease));
        world.settled().await;
        let uncreated = world.local.faults().on("dynamodb:PutItem").fail();
        world.table().delete("shardId-000000000001").await;
        world.merge_neighbours().await;
        sleep(SECOND * 20).await;
        uncreated.remove();
        sleep(SECOND * 120).await;

        assert_values(&recorded(&snapshotter), MERGED);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const MERGED: &[Row] = &[
    ("ShutdownTask", "MissingMergeParentLease", Expected::SumOfAtLeast(1.0)),
    ("ShutdownTask", "MissingMergeParent", Expected::Sum(0.0)),
];

/// The last answer of a shard whose only child names no other parent.
const LAST_ANSWER: &str = r#"{"Records":[],"MillisBehindLatest":0,"ChildShards":[{"ShardId":"shardId-000000000001",
    "ParentShards":["shardId-000000000000"],
    "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"}}]}"#;

#[tokio::test(start_paused = true)]
async fn an_only_child_that_names_one_parent_is_counted() {
    with_recorder(async |snapshotter| {
        let world = World::start(1).await;
        world.local.faults().on("kinesis:GetRecords").times(1).answer_bare(200, LAST_ANSWER);
        let worker = start(world.worker("w1"));
        sleep(SECOND * 60).await;

        assert_values(&recorded(&snapshotter), MERGED_ALONE);
        worker.stop().await.expect("worker stops");
    })
    .await;
}

const MERGED_ALONE: &[Row] = &[("ShutdownTask", "MissingMergeParent", Expected::Sum(1.0))];

#[tokio::test(start_paused = true)]
async fn units_are_those_that_the_lease_table_consumed() {
    with_recorder(async |snapshotter| {
        let world = World::start(2).await;
        let worker = world.run("w1");
        sleep(SECOND * 120).await;
        worker.stop().await.expect("worker stops");

        let all = recorded(&snapshotter);
        assert_values(&all, UNITS);
        let consumed = world.local.consumed_capacity();
        assert_eq!(sum(&all, "LeaseTable", "ReadUnits"), consumed.read_units);
        assert_eq!(sum(&all, "LeaseTable", "WriteUnits"), consumed.write_units);
    })
    .await;
}

const UNITS: &[Row] = &[
    ("LeaseTable", "ReadUnits", Expected::Between(0.5, 3.0)),
    ("LeaseTable", "WriteUnits", Expected::Between(1.0, 4.0)),
];
