//! Coordination while the lease table, its index or the stream's control plane fails.

use std::time::Duration;

use aws_types::region::Region;
use integration_tests::{APPLICATION, Call, STREAM, World};
use kcl::{Event, FanOut, FleetStatus, InitialPosition, Retrieval, Streams, TableError, WorkerError};
use kinesis_local::{Fault, FaultRule, LocalAws};
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
        let world = World::start(2).await;
        let fault = answer(world.local.faults().on("dynamodb:Query"));
        let worker = world.run("w1");
        world.put(0..100).await;
        let begun = Instant::now();
        world.journal.processed(100).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "{how}: {:?}", begun.elapsed());

        fault.remove();
        sleep(Duration::from_secs(30)).await; // until the index is tried again
        let (queries, scans) = (world.calls("dynamodb:Query"), world.calls("dynamodb:Scan"));
        sleep(Duration::from_secs(60)).await;
        // At rest the leader scans each 2.5 s, less up to a tenth, and nobody else; the index is asked each 30 s.
        assert!(queries.count() > 0 && scans.count() < 28, "{how}: {} {}", queries.count(), scans.count());
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn leases_are_found_although_the_index_is_deleted_while_the_worker_runs() {
    use aws_sdk_dynamodb::types::{DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate};
    let world = World::start(2).await;
    let (first, second) = (world.run("w1"), world.run("w2"));
    world.settled().await;
    world.put(0..100).await;
    world.journal.processed(100).await;

    let index = DeleteGlobalSecondaryIndexAction::builder().index_name("LeaseOwnerToLeaseKeyIndex").build().unwrap();
    let update = world.table().dynamodb.update_table().table_name(APPLICATION);
    let delete = GlobalSecondaryIndexUpdate::builder().delete(index).build();
    update.global_secondary_index_updates(delete).send().await.unwrap();
    // No worker starts after this, which would make the index again.
    first.stop().await.unwrap();
    world.put(100..200).await;
    world.journal.processed(200).await;

    let queries = world.calls("dynamodb:Query");
    assert_eq!(world.journal.shards_by_worker()["w2"].len(), 2);
    sleep(Duration::from_secs(30)).await;
    assert!(queries.count() < 10, "{} queries of an index that is not there", queries.count());
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_again_under_a_running_worker_ends_it_and_is_not_read() {
    let retrievals = [Retrieval::default(), Retrieval::FanOut(FanOut::new())];
    for (retrieval, read_before) in retrievals.into_iter().flat_map(|way| [(way.clone(), true), (way, false)]) {
        let world = World::start(2).await;
        let worker = world.worker("w1").retrieval(retrieval.clone());
        let mut worker = world.spawn(worker);
        // Otherwise nothing but the initial position stands in the leases.
        let read = if read_before { 100 } else { 0 };
        world.put(0..read).await;
        world.settled().await;

        // One shard fewer: what is not there any more is not past its retention.
        world.recreate(1).await;
        world.put(100..200).await;
        let ended = tokio::time::timeout(Duration::from_secs(120), worker.ended()).await;

        let error = ended.expect("the worker ends").unwrap_err();
        assert!(matches!(error, WorkerError::OtherStream { .. }), "{retrieval:?} {read_before}: {error:?}");
        assert_eq!(world.journal.distinct() as u64, read, "{retrieval:?} {read_before}: {:?}", world.journal.ids());
        let ended_shards = world.journal.entries().into_iter().filter(|entry| entry.call == Call::ShardEnded);
        assert_eq!(ended_shards.count(), 0, "{retrieval:?} {read_before}");
    }
}

#[tokio::test(start_paused = true)]
async fn takes_no_lease_without_checkpoint_over_for_a_stream_created_again() {
    let world = World::start(1).await;
    let first = world.run("w1");
    world.settled().await;
    // A standby without a lease, to which nothing is said of the stream.
    let mut standby = world.run("w2");
    world.settled().await;
    first.kill();
    world.recreate(1).await;
    world.put(0..10).await;

    let ended = tokio::time::timeout(Duration::from_secs(120), standby.ended()).await;

    assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{ended:?}");
    assert_eq!(world.journal.ids(), [] as [u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn reads_no_stream_that_may_have_been_created_again_until_that_is_known() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new())] {
        let world = World::start(1).await;
        let worker = world.worker("w1").retrieval(retrieval.clone());
        let mut worker = world.spawn(worker);
        world.settled().await;

        world.recreate(1).await;
        let fault = world.local.faults().on("kinesis:DescribeStreamSummary").unavailable();
        world.put(0..100).await;
        // Beyond the life of an iterator of the old stream.
        sleep(Duration::from_secs(600)).await;
        assert_eq!(world.journal.ids(), [] as [u64; 0], "{retrieval:?}");

        fault.remove();
        let ended = tokio::time::timeout(Duration::from_secs(60), worker.ended()).await;
        assert!(matches!(ended, Ok(Err(WorkerError::OtherStream { .. }))), "{retrieval:?}: {ended:?}");
        assert_eq!(world.journal.ids(), [] as [u64; 0], "{retrieval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_lease_table_is_deleted_ends_and_says_so() {
    let world = World::start(2).await;
    let mut worker = world.run("w1");
    world.put(0..100).await;
    world.journal.processed(100).await;

    world.table().delete_table().await;
    let begun = Instant::now();
    let error = worker.ended().await.unwrap_err();

    let WorkerError::LeaseTable(TableError::TableMissing { table, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(table, APPLICATION);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let failed = world.events.count(|event| matches!(event, Event::LeaseTableFailed { .. }));
    assert!(failed < 200, "{failed}");
}

#[tokio::test(start_paused = true)]
async fn throttling_alone_never_ends_the_start_and_is_reported() {
    for action in ["dynamodb:*", "kinesis:*", "dynamodb:DescribeTable", "dynamodb:UpdateItem"] {
        let world = World::start(1).await;
        world.put(0..100).await;
        let fault = world.local.faults().on(action).throttle();
        let worker = world.run("w1");
        sleep(Duration::from_secs(600)).await;
        assert_eq!(world.events.count(|event| matches!(event, Event::Started { .. })), 0, "{action}");
        let told = |event: &Event| matches!(event, Event::LeaseTableFailed { .. } | Event::StreamUnavailable { .. });
        assert!((10..200).contains(&world.events.count(told)), "{action}: {}", world.events.count(told));

        fault.remove();
        world.journal.processed(100).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_report_that_is_throttled_does_not_end_the_start() {
    let world = World::start(1).await;
    world.put(0..100).await;
    // Of several streams none is noted in the table: what a worker updates first is its item.
    let fault = world.local.faults().on("dynamodb:UpdateItem").throttle();
    let worker = world.spawn(world.multi_worker("w1", &Streams::new([STREAM])));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.events.count(|event| matches!(event, Event::Started { .. })), 0);
    assert!(fault.count() > 0);

    fault.remove();
    world.journal.processed(100).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_failures_at_the_start_are_waited_out_for_a_minute() {
    for action in ["dynamodb:*", "kinesis:*"] {
        let world = World::start(1).await;
        world.put(0..100).await;
        let fault = world.local.faults().on(action).unavailable();
        let worker = world.run("w1");
        sleep(Duration::from_secs(40)).await;
        fault.remove();
        world.journal.processed(100).await;
        worker.stop().await.unwrap();

        world.local.faults().on(action).unavailable();
        let begun = Instant::now();
        let error = world.run("w2").ended().await.unwrap_err();
        let took = begun.elapsed();
        assert!((60..100).contains(&took.as_secs()), "{action}: {took:?}");
        let named = matches!(&error, WorkerError::LeaseTable(TableError::Call { table, .. }) if table == APPLICATION);
        assert!(named || matches!(error, WorkerError::Stream { .. }), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reports_refused_credentials_not_as_a_missing_permission() {
    for service in ["dynamodb:*", "kinesis:*"] {
        let world = World::start(1).await;
        let words = "The security token included in the request is invalid.";
        world.local.faults().on(service).refuse(400, "UnrecognizedClientException", words);

        let error = world.run("w1").ended().await.unwrap_err();

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
    let world = World::start(4).await;
    // The second finds no migration state, then leases of the first in its scan.
    world.local.faults().on("dynamodb:Scan").times(1).delay(Duration::from_secs(5));
    let run = |id| world.run(id);
    let workers = ["w1", "w2"].map(run);
    world.put(0..100).await;
    world.journal.processed(100).await;
    world.settled().await;
    assert_eq!(world.events.count(|event| matches!(event, Event::Started { .. })), 2);
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_before_all_leases_of_the_first_start_are_there() {
    let world = World::start(60).await;
    let slow = world.local.faults().on("dynamodb:PutItem").delay(Duration::from_secs(2));
    let run = |id| {
        let builder = world.worker(id).initial_position(InitialPosition::Latest);
        world.spawn(builder)
    };
    let first = run("w1");
    world.until("half of the leases are written", || slow.count() >= 32).await;
    world.put(0..1_000).await;
    sleep(Duration::from_secs(4)).await; // some more writes, and the leases are not all there
    assert_eq!(world.journal.ids().len(), 0, "some shards would begin before these records, others behind them");
    assert!(world.status().await.leases.len() < 60, "it dies before all leases are written");
    first.kill();

    let _second = run("w2");
    let begun = || world.journal.count(&Call::Initialize) == 60;
    world.until("all shards are read", begun).await;
    world.settled().await;
    world.put(1_000..2_000).await;
    world.journal.processed(1_000).await;
    assert!(world.journal.ids().iter().all(|id| *id >= 1_000), "all shards begin at one time");
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_gone_for_a_day_are_deleted_by_a_leader_of_a_minute() {
    let world = World::start(1).await;
    for day in 0..2 {
        let worker = world.run(&format!("spot-{day}"));
        world.settled().await;
        worker.kill();
        sleep(Duration::from_secs(24 * 60 * 60)).await;
    }
    assert_eq!(world.status().await.workers.len(), 2, "nobody has deleted them yet");
    let last = world.run("last");

    let ids = |status: &FleetStatus| status.workers.iter().map(|worker| worker.id.to_string()).collect::<Vec<_>>();
    world.until_status("only the last is there", |status| ids(status) == ["last"]).await;
    last.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn retries_that_other_clients_of_the_process_have_used_up_are_not_missed() {
    // A region of its own: the SDK counts retries by it, for all clients of a process.
    let mut world = World::without_stream(LocalAws::start().await);
    world.aws = world.aws.to_builder().region(Region::new("eu-north-1")).build();
    world.kinesis = aws_sdk_kinesis::Client::new(&world.aws);
    world.create(STREAM, 1).await;
    let worker = world.run("w1");
    world.put(0..1).await;
    world.journal.processed(1).await;
    worker.stop().await.unwrap();
    let application = aws_sdk_dynamodb::Client::new(&world.aws);
    let (outage, lists) =
        (world.local.faults().on("dynamodb:ListTables").throttle(), world.calls("dynamodb:ListTables"));
    let mut requests = 2;
    while requests > 1 {
        let before = lists.count();
        application.list_tables().send().await.unwrap_err();
        requests = lists.count() - before;
    }
    outage.remove();

    world.local.faults().on("dynamodb:*").times(1).fail();
    FleetStatus::read(&world.aws, APPLICATION).await.expect("the call is repeated");
}

#[tokio::test(start_paused = true)]
async fn leases_whose_writes_fail_are_given_away_without_another_scan() {
    // Half of the writes fail: of 64 leases as many are left after each pass.
    let scans_until_processed = async |is_failing: bool| {
        let world = World::start(64).await;
        world.put(0..1_000).await;
        let scans = world.calls("dynamodb:Scan");
        if is_failing {
            world.local.faults().on("dynamodb:UpdateItem").every(2).refuse(400, "ValidationException", "not now");
        }
        let _worker = world.run("w1");
        world.journal.processed(1_000).await;
        scans.count()
    };
    let (smooth, failing) = (scans_until_processed(false).await, scans_until_processed(true).await);
    // The worker's own first writes fail as often, for up to two scans more; a scan for each pass would be five more.
    assert!(failing <= smooth + 3, "{failing} scans in place of {smooth}");
}
