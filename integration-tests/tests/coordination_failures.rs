//! Coordination while the lease table, its index or the stream's control plane fails.

use std::time::Duration;

use integration_tests::{APPLICATION, Call, EventLog, Journal, Running, STREAM, TestStream};
use kcl::{Event, FanOut, FleetStatus, InitialPosition, Retrieval, StoreError, Streams, Worker, WorkerError};
use kinesis_local::{Fault, FaultRule};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn leases_are_found_by_scans_until_the_index_can_be_queried() {
    type Answer = fn(FaultRule) -> Fault;
    let answers: [(&str, Answer); 5] = [
        ("not there", |rule| rule.refuse(400, "ValidationException", "The table does not have the specified index")),
        ("gone", |rule| rule.refuse(400, "ResourceNotFoundException", "Requested resource not found")),
        ("throttled", FaultRule::throttle),
        ("failing", FaultRule::fail),
        ("hanging", |rule| rule.delay(Duration::from_secs(3600))),
    ];
    for (how, answer) in answers {
        let (stream, journal) = (TestStream::start(2).await, Journal::default());
        let fault = answer(stream.local.faults().on("dynamodb:Query"));
        let worker = stream.run("w1", &journal);
        stream.put(0..100).await;
        let begun = Instant::now();
        journal.processed(100).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{how}: {:?}", begun.elapsed());

        fault.remove();
        sleep(Duration::from_secs(30)).await;
        let count = |action| stream.local.faults().on(action).delay(Duration::ZERO);
        let (queries, scans) = (count("dynamodb:Query"), count("dynamodb:Scan"));
        sleep(Duration::from_secs(60)).await;
        // The leader scans once a second, and whoever looks for leases does so twice.
        assert!(queries.count() > 100 && scans.count() < 70, "{how}: {} {}", queries.count(), scans.count());
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn leases_are_found_although_the_index_is_deleted_while_the_worker_runs() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;

    use aws_sdk_dynamodb::types::{DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate};
    let index = DeleteGlobalSecondaryIndexAction::builder().index_name("LeaseOwnerToLeaseKeyIndex").build().unwrap();
    let update = aws_sdk_dynamodb::Client::new(&stream.aws).update_table().table_name(APPLICATION);
    let delete = GlobalSecondaryIndexUpdate::builder().delete(index).build();
    update.global_secondary_index_updates(delete).send().await.unwrap();
    sleep(Duration::from_secs(20)).await;
    // Its leases go to another worker's hands and back.
    let second = stream.run("w2", &journal);
    sleep(Duration::from_secs(60)).await;
    first.stop().await.unwrap();
    stream.put(100..200).await;
    journal.processed(200).await;
    second.stop().await.unwrap();
}

/// Deletes the stream and creates it again.
async fn create_again(stream: &TestStream, shards: i32) {
    let delete = stream.kinesis.delete_stream().stream_name(STREAM).enforce_consumer_deletion(true);
    delete.send().await.expect("stream exists");
    while stream.kinesis.describe_stream_summary().stream_name(STREAM).send().await.is_ok() {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(2)).await;
    stream.kinesis.create_stream().stream_name(STREAM).shard_count(shards).send().await.expect("stream is gone");
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_again_under_a_running_worker_ends_it_and_is_not_read() {
    let retrievals = [Retrieval::Polling, Retrieval::FanOut(FanOut::new())];
    for (retrieval, read_before) in retrievals.into_iter().flat_map(|way| [(way.clone(), true), (way, false)]) {
        let (stream, journal) = (TestStream::start(2).await, Journal::default());
        let worker = stream.worker("w1").retrieval(retrieval.clone());
        let mut worker = Running::start(worker, &journal, |journal, shard| journal.processor(shard));
        // Otherwise nothing but the initial position stands in the leases.
        let read = if read_before { 100 } else { 0 };
        stream.put(0..read).await;
        sleep(Duration::from_secs(20)).await;

        // One shard fewer: what is not there any more is not past its retention.
        create_again(&stream, 1).await;
        stream.put(100..200).await;
        let ended = tokio::time::timeout(Duration::from_secs(120), worker.ended()).await;

        let error = ended.expect("the worker ends").unwrap_err();
        assert!(matches!(error, WorkerError::OtherStream { .. }), "{retrieval:?} {read_before}: {error:?}");
        assert_eq!(journal.distinct() as u64, read, "{retrieval:?} {read_before}: {:?}", journal.ids());
        let ended_shards = journal.entries().into_iter().filter(|entry| entry.call == Call::ShardEnded);
        assert_eq!(ended_shards.count(), 0, "{retrieval:?} {read_before}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_checkpoint_is_not_taken_over_for_a_stream_created_again() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let first = stream.run("w1", &journal);
    sleep(Duration::from_secs(10)).await;
    // A standby without a lease, to which nothing is said of the stream.
    let mut standby = stream.run("w2", &journal);
    sleep(Duration::from_secs(10)).await;
    first.kill();
    create_again(&stream, 1).await;
    stream.put(0..10).await;

    let ended = tokio::time::timeout(Duration::from_secs(120), standby.ended()).await;

    assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{ended:?}");
    assert_eq!(journal.ids(), [] as [u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_may_have_been_created_again_is_not_read_until_that_is_known() {
    for retrieval in [Retrieval::Polling, Retrieval::FanOut(FanOut::new())] {
        let (stream, journal) = (TestStream::start(1).await, Journal::default());
        let worker = stream.worker("w1").retrieval(retrieval.clone());
        let mut worker = Running::start(worker, &journal, |journal, shard| journal.processor(shard));
        sleep(Duration::from_secs(20)).await;

        create_again(&stream, 1).await;
        let fault = stream.local.faults().on("kinesis:DescribeStreamSummary").unavailable();
        stream.put(0..100).await;
        // Beyond the life of an iterator of the old stream.
        sleep(Duration::from_secs(600)).await;
        assert_eq!(journal.ids(), [] as [u64; 0], "{retrieval:?}");

        fault.remove();
        let ended = tokio::time::timeout(Duration::from_secs(60), worker.ended()).await;
        assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{retrieval:?}: {ended:?}");
        assert_eq!(journal.ids(), [] as [u64; 0], "{retrieval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_table_is_deleted_ends_and_says_so() {
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let builder = stream.worker("w1").on_event(events.handler());
    let mut worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    dynamodb.delete_table().table_name(APPLICATION).send().await.unwrap();
    let begun = Instant::now();
    let error = worker.ended().await.unwrap_err();

    let WorkerError::LeaseTable(StoreError::TableMissing { table }) = &error else { panic!("{error:?}") };
    assert_eq!(table, APPLICATION);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let failed = events.count(|event| matches!(event, Event::LeaseTableFailed { .. }));
    assert!(failed < 200, "{failed}");
}

#[tokio::test(start_paused = true)]
async fn throttling_alone_never_ends_the_start_and_is_reported() {
    for action in ["dynamodb:*", "kinesis:*", "dynamodb:DescribeTable", "dynamodb:UpdateItem"] {
        let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
        stream.put(0..100).await;
        let fault = stream.local.faults().on(action).throttle();
        let builder = stream.worker("w1").on_event(events.handler());
        let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(events.count(|event| matches!(event, Event::Started { .. })), 0, "{action}");
        let told = |event: &Event| matches!(event, Event::LeaseTableFailed { .. } | Event::StreamUnavailable { .. });
        assert!((10..200).contains(&events.count(told)), "{action}: {}", events.count(told));

        fault.remove();
        journal.processed(100).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_report_that_is_throttled_does_not_end_the_start() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    stream.put(0..100).await;
    // Of several streams none is noted in the table: what a worker updates first is its item.
    let fault = stream.local.faults().on("dynamodb:UpdateItem").throttle();
    let builder = Worker::builder(&stream.aws, APPLICATION, Streams::new([STREAM])).worker_id("w1");
    let builder = builder.initial_position(InitialPosition::TrimHorizon).on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(events.count(|event| matches!(event, Event::Started { .. })), 0);
    assert!(fault.count() > 0);

    fault.remove();
    journal.processed(100).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_failures_at_the_start_are_waited_out_for_a_minute() {
    for action in ["dynamodb:*", "kinesis:*"] {
        let (stream, journal) = (TestStream::start(1).await, Journal::default());
        stream.put(0..100).await;
        let fault = stream.local.faults().on(action).unavailable();
        let worker = stream.run("w1", &journal);
        sleep(Duration::from_secs(40)).await;
        fault.remove();
        journal.processed(100).await;
        worker.stop().await.unwrap();

        stream.local.faults().on(action).unavailable();
        let begun = Instant::now();
        let error = stream.run("w2", &journal).ended().await.unwrap_err();
        let took = begun.elapsed();
        assert!((60..100).contains(&took.as_secs()), "{action}: {took:?}");
        let named = matches!(&error, WorkerError::LeaseTable(StoreError::Call { table, .. }) if table == APPLICATION);
        assert!(named || matches!(error, WorkerError::Stream { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_not_accepted_are_not_reported_as_a_missing_permission() {
    for service in ["dynamodb:*", "kinesis:*"] {
        let stream = TestStream::start(1).await;
        let words = "The security token included in the request is invalid.";
        stream.local.faults().on(service).refuse(400, "UnrecognizedClientException", words);

        let error = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        assert!(text.contains(words) && !text.contains("IAM action"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn workers_of_a_new_fleet_that_start_at_once_all_join() {
    let (stream, journal, events) = (TestStream::start(4).await, Journal::default(), EventLog::default());
    // The second finds no migration state, then leases of the first in its scan.
    stream.local.faults().on("dynamodb:Scan").times(1).delay(Duration::from_secs(5));
    let run = |id| {
        let builder = stream.worker(id).on_event(events.handler());
        Running::start(builder, &journal, |journal, shard| journal.processor(shard))
    };
    let workers = ["w1", "w2"].map(run);
    stream.put(0..100).await;
    journal.processed(100).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(events.count(|event| matches!(event, Event::Started { .. })), 2);
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_before_all_leases_of_the_first_start_are_there() {
    let (stream, journal) = (TestStream::start(20).await, Journal::default());
    let slow = stream.local.faults().on("dynamodb:PutItem").delay(Duration::from_secs(2));
    let run = |id| {
        let builder = stream.worker(id).initial_position(InitialPosition::Latest);
        Running::start(builder, &journal, |journal, shard| journal.processor(shard))
    };
    let first = run("w1");
    while slow.count() < 12 {
        sleep(Duration::from_millis(100)).await;
    }
    stream.put(0..1_000).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(journal.ids().len(), 0, "some shards would begin before these records, others behind them");
    first.kill();

    let _second = run("w2");
    sleep(Duration::from_secs(120)).await;
    stream.put(1_000..2_000).await;
    journal.processed(1_000).await;
    assert!(journal.ids().iter().all(|id| *id >= 1_000), "all shards begin at one time");
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_gone_for_a_day_are_deleted_by_a_leader_of_a_minute() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    for day in 0..2 {
        let worker = stream.run(&format!("spot-{day}"), &journal);
        sleep(Duration::from_secs(90)).await;
        worker.kill();
        sleep(Duration::from_secs(24 * 60 * 60)).await;
    }
    let last = stream.run("last", &journal);
    sleep(Duration::from_secs(180)).await;

    let status = FleetStatus::read(&stream.aws, APPLICATION).await.unwrap();

    let workers: Vec<&str> = status.workers.iter().map(|worker| worker.id.as_str()).collect();
    assert_eq!(workers, ["last"], "{status}");
    last.stop().await.unwrap();
}
