//! The health of a producer, as probes ask for it.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::health::HealthProblem;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_producer_is_ready_from_its_first_moment_to_its_shutdown() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let health = producer.health();
    assert!(health.live && health.ready && health.problems.is_empty(), "{health:?}");
    assert_eq!(health.streams[0].stored_before_millis, None);

    let put = producer.put(record(0)).await.expect("accepted");
    assert_eq!((producer.health().outstanding_records, producer.health().streams[0].outstanding_records), (1, 1));
    put.await.expect("stored");
    sleep(3 * SECOND).await;
    let health = producer.health();
    assert_eq!((health.outstanding_records, health.streams[0].outstanding_records), (0, 0));
    assert!((3_000..3_100).contains(&health.streams[0].stored_before_millis.unwrap_or_default()), "{health:?}");

    producer.shutdown().await;
    let health = producer.health();
    assert_eq!((health.live, health.ready, &*health.problems), (true, false, &[HealthProblem::ShutDown][..]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_in_is_named_after_ten_seconds_and_until_it_does() {
    let refusals: [fn(&[Entry]) -> Reaction; 2] = [
        |_| Reaction::Fail(error("ServiceUnavailable")),
        |entries| {
            Reaction::FailEntries((0..entries.len()).map(|n| (n, error("ProvisionedThroughputExceeded"))).collect())
        },
    ];
    for refusal in refusals {
        let kinesis = FakeKinesis::new(1);
        let down = Arc::new(AtomicBool::new(true));
        let is_down = Arc::clone(&down);
        kinesis.on_put(move |entries| if is_down.load(Relaxed) { refusal(entries) } else { Reaction::Accept });
        let builder = builder(&kinesis).record_ttl(300 * SECOND);
        let producer = builder.build().expect("valid settings");
        let put = producer.put(record(0)).await.expect("accepted");

        sleep(9 * SECOND).await;
        assert!(producer.health().ready, "retries may mend it");
        sleep(9 * SECOND).await;
        let health = producer.health();
        assert!(health.live && !health.ready, "{health:?}");
        let text = health.problems[0].to_string();
        assert!(text.starts_with("stream StockTradeStream has taken nothing in for 1"), "{text}");
        assert!(health.streams[0].oldest_record_millis.is_some_and(|age| age >= 17_900), "{health:?}");

        down.store(false, Relaxed);
        put.await.expect("stored");
        let health = producer.health();
        assert!(health.ready && health.streams[0].failure.is_none(), "{health:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_may_not_put_is_not_ready_from_the_first_refusal() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("AccessDeniedException")));
    let producer = producer(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect_err("it is refused");

    let health = producer.health();
    assert!(health.live && !health.ready, "{health:?}");
    assert!(health.problems[0].to_string().contains("AccessDeniedException"), "{health:?}");

    kinesis.on_put(|_| Reaction::Accept);
    producer.put(record(1)).await.expect("accepted").await.expect("stored");
    assert!(producer.health().ready);
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_sent_nothing_any_more_gets_ready_again() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("ServiceUnavailable")));
    let producer = producer(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect_err("it expires");
    assert!(!producer.health().ready);

    sleep(61 * SECOND).await;

    let health = producer.health();
    assert!(health.ready && health.streams[0].failure.is_some(), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn one_stream_of_several_that_fails_is_named_alone() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let other = producer.to_stream("other").expect("it is a name");
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    kinesis.on_put(|_| Reaction::Fail(error("ServiceUnavailable")));
    other.put(record(1)).await.expect("accepted").await.expect_err("it expires");

    let health = producer.health();
    let failing: Vec<_> = health.streams.iter().map(|stream| (&*stream.stream, stream.failure.is_some())).collect();
    assert_eq!(failing, [("StockTradeStream", false), ("other", true)]);
    assert_eq!(health.problems.len(), 1, "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_whose_task_panicked_is_not_live() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let _panics = panics_when_woken(producer.try_put(record(0)).expect("accepted"));
    producer.flush().await;

    let health = producer.health();

    assert_eq!((health.live, health.ready, &*health.problems), (false, false, &[HealthProblem::Panicked][..]));
}
