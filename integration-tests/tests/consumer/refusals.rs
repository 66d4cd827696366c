//! Names, permissions, tables and fleets that a worker refuses or is refused: errors say what to do, and nothing is lost.

use std::time::{Duration, SystemTime};

use integration_tests::{APPLICATION, Call, Journal, Running, SHARD, STREAM, World, text};
use kcl::{Event, ShardContext, Streams, TableError, Worker, WorkerError};
use kinesis_local::LocalAws;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_named() {
    let local = LocalAws::start().await;
    let worker = Worker::builder(&local.sdk_config(), APPLICATION, "NoSuchStream");

    let error = Running::noting(worker, &Journal::default()).ended().await;

    let error = error.unwrap_err();
    assert!(matches!(error, WorkerError::StreamNotFound { .. }), "{error:?}");
    assert_eq!(error.to_string(), "stream NoSuchStream does not exist in this account and region");
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_on_the_lease_table_is_named() {
    for action in
        ["dynamodb:DescribeTable", "dynamodb:CreateTable", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:PutItem"]
    {
        let world = World::start(1).await;
        world.local.deny(action);

        let error = world.run("w1").ended().await.unwrap_err();

        let WorkerError::LeaseTable(TableError::AccessDenied { action: named, table, .. }) = &error else {
            panic!("{action}: {error:?}");
        };
        assert_eq!((*named, table.as_str()), (action, APPLICATION));
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(text, format!("access denied: IAM action {action} on table {APPLICATION} is missing"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_on_the_stream_is_named() {
    let world = World::start(1).await;
    world.local.deny("kinesis:DescribeStreamSummary");

    let error = world.run("w1").ended().await.unwrap_err();

    let expected = format!("access denied: IAM action kinesis:DescribeStreamSummary on stream {STREAM} is missing");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn permissions_lost_while_running_are_reported_and_nothing_is_lost() {
    let world = World::start(1).await;
    let worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;

    for action in ["dynamodb:UpdateItem", "kinesis:GetRecords"] {
        world.local.deny(action);
    }
    let said = |words: &str| {
        world.events.count(|event| match event {
            Event::LeaseTableFailed { error, .. } | Event::ReadFailed { error, .. } => error.contains(words),
            _ => false,
        })
    };
    world.put(100..200).await;
    world.until("both are said", || said("dynamodb:UpdateItem") > 0 && said("kinesis:GetRecords") > 0).await;
    sleep(Duration::from_secs(60)).await; // beyond the lease duration
    for action in ["dynamodb:UpdateItem", "kinesis:GetRecords"] {
        world.local.allow(action);
    }
    world.journal.processed(200).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_with_the_same_id_is_refused_and_the_first_goes_on() {
    let world = World::start(2).await;
    let first = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;

    let error = world.run("w1").ended().await.unwrap_err();

    assert_eq!(error.to_string(), "worker id w1 is in use by another running worker");
    world.put(100..200).await;
    world.journal.processed(200).await;
    assert_eq!(world.journal.ids().len(), 200, "no duplicates");
    first.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_no_lease_table_is_refused_and_left_alone() {
    let world = World::start(1).await;
    world.table().create("id").await;

    let error = world.run("w1").ended().await.unwrap_err();

    assert!(matches!(error, WorkerError::LeaseTable(TableError::WrongTable { .. })), "{error:?}");
    assert_eq!(world.table().items().await, Some(Vec::new()), "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn the_table_of_a_fleet_under_migration_is_refused() {
    let world = World::start(1).await;
    let first = world.run("w1");
    world.put(0..1).await;
    world.journal.processed(1).await;
    first.stop().await.unwrap();
    world.table().set("Migration3.0", "cv", text("CLIENT_VERSION_UPGRADE_FROM_2X")).await;

    let error = world.run("w2").ended().await.unwrap_err();

    assert!(error.to_string().contains("CLIENT_VERSION_UPGRADE_FROM_2X"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn finds_leases_by_scans_without_the_right_to_query_the_index() {
    let world = World::start(2).await;
    world.local.deny("dynamodb:Query");
    let workers = ["w1", "w2"].map(|id| world.run(id));
    world.put(0..100).await;
    world.journal.processed(100).await;
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_taken_back_to_2_x_is_left() {
    let world = World::start(1).await;
    let mut worker = world.run("w1");
    world.put(0..10).await;
    world.journal.processed(10).await;
    let declare = async |state: &str| {
        world.table().set("Migration3.0", "cv", text(format!("CLIENT_VERSION_{state}"))).await;
    };

    declare("3X_WITH_ROLLBACK").await;
    sleep(Duration::from_secs(100)).await; // beyond the time in which the version is read again
    world.put(10..20).await;
    world.journal.processed(20).await;
    declare("2X").await;
    let error = worker.ended().await.unwrap_err();

    assert!(error.to_string().contains("CLIENT_VERSION_2X"), "{error}");
    assert_eq!(world.journal.calls(SHARD).last(), Some(&Call::ShutdownRequested));
}

#[tokio::test(start_paused = true)]
async fn refuses_old_checkpoints_for_a_stream_created_again() {
    let world = World::start(1).await;
    let worker = world.run("w1");
    world.put(0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();

    world.recreate(1).await;
    let error = world.run("w1").ended().await.unwrap_err();

    assert!(matches!(error, WorkerError::OtherStream { .. }), "{error:?}");
    assert!(error.to_string().contains("choose another application name"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_by_hand_is_lost_by_its_worker_and_created_again() {
    let world = World::start(2).await;
    let worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;

    let created = |event: &Event| matches!(event, Event::LeasesCreated { shards, .. } if *shards == [SHARD.into()]);
    world.table().delete(SHARD).await;
    world.until("the lease is created again", || world.events.count(created) == 1).await;
    world.put(100..200).await;
    world.journal.processed(200).await;

    let lost = |event: &Event| matches!(event, Event::LeaseLost { shard, .. } if shard.shard_id.as_str() == SHARD);
    assert_eq!((world.events.count(lost), world.events.count(created)), (1, 1));
    assert_eq!(world.events.count(|event| matches!(event, Event::HoleFound { .. })), 1);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_configuration_without_a_region_is_refused_before_anything_is_called() {
    let complete = LocalAws::start().await.sdk_config();
    let version = complete.behavior_version().expect("there is one");
    let aws = aws_types::SdkConfig::builder().behavior_version(version).endpoint_url("http://localhost:4567").build();
    let build = |builder: kcl::WorkerBuilder| {
        let journal = Journal::default();
        builder.build(move |shard: &ShardContext| journal.processor(shard)).map(drop).map_err(|error| error.to_string())
    };
    let refused = |service: &str| -> Result<(), String> {
        Err(format!(
            "no AWS region is configured for {service}: set AWS_REGION, or the region of the SdkConfig or client"
        ))
    };

    assert_eq!(build(Worker::builder(&aws, APPLICATION, STREAM)), refused("Kinesis"));
    let kinesis = aws_sdk_kinesis::Client::new(&complete);
    let builder = || Worker::builder(&aws, APPLICATION, STREAM).kinesis_client(&kinesis);
    assert_eq!(build(builder()), refused("DynamoDB"));
    assert_eq!(build(builder().lease_table_config(&complete)), Ok(()));
    let window = SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    assert_eq!(build(builder().replay(window)), Ok(()), "a replay has no lease table");
}

#[test]
fn bad_configuration_is_refused_before_anything_is_called() {
    let aws = aws_types::SdkConfig::builder().build();
    let refused = |builder: kcl::WorkerBuilder| {
        let journal = Journal::default();
        builder.build(move |shard: &ShardContext| journal.processor(shard)).unwrap_err().to_string()
    };

    assert_eq!(refused(Worker::builder(&aws, "", STREAM)), "application \"\" is not an application's name");
    for name in ["", " ", "a b", &"a".repeat(129), "arn:aws:s3:::bucket"] {
        let expected = format!("stream {name:?} is not a stream name or a stream ARN");
        assert_eq!(refused(Worker::builder(&aws, APPLICATION, name)), expected);
        assert_eq!(refused(Worker::builder(&aws, APPLICATION, Streams::new([STREAM, name]))), expected);
    }
    let rule = "is not the name of a DynamoDB table: 3 to 255 of the characters a-z, A-Z, 0-9, _, . and -";
    for name in ["ab", "my app", "größe", &"a".repeat(256)] {
        let expected = format!("application {name:?} {rule}");
        assert_eq!(refused(Worker::builder(&aws, name, STREAM)), expected);
        let expected = format!("lease_table {name:?} {rule}");
        assert_eq!(refused(Worker::builder(&aws, APPLICATION, STREAM).lease_table(name)), expected);
    }
    let short = Worker::builder(&aws, APPLICATION, STREAM).lease_duration(Duration::from_millis(10));
    assert_eq!(refused(short), "lease_duration is 10ms, accepted: at least 1 s");
    let reserved = Worker::builder(&aws, APPLICATION, STREAM).worker_id("Leader");
    assert_eq!(
        refused(reserved),
        "worker_id \"Leader\" is not a worker's id, or it is a reserved key of the lease table"
    );
}
