//! What the coordination does when the lease table, its index or the stream's control plane is not as it should be.

use std::time::Duration;

use integration_tests::{APPLICATION, Journal, TestStream};
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
