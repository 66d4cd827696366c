//! Enhanced fan-out end to end: delivery, sessions, cuts, takeover, resharding, refusals.

use std::time::Duration;

use integration_tests::{APPLICATION, Call, EventLog, Journal, Running, STREAM, TestStream, eventually};
use kcl::{Event, FanOut, InitialPosition, Retrieval, WorkerBuilder};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

fn fan_out(stream: &TestStream, worker_id: &str) -> WorkerBuilder {
    stream.worker(worker_id).retrieval(Retrieval::FanOut(FanOut::new()))
}

fn run(builder: WorkerBuilder, journal: &Journal) -> Running {
    Running::start(builder, journal, |journal, shard| journal.processor(shard))
}

async fn stream_arn(stream: &TestStream) -> String {
    let described = stream.kinesis.describe_stream_summary().stream_name(STREAM).send().await.expect("answer is whole");
    described.stream_description_summary().expect("answer is whole").stream_arn().to_owned()
}

/// Names of the stream's registered consumers.
async fn consumers(stream: &TestStream) -> Vec<String> {
    let listed = stream
        .kinesis
        .list_stream_consumers()
        .stream_arn(stream_arn(stream).await)
        .send()
        .await
        .expect("answer is whole");
    listed.consumers().iter().map(|consumer| consumer.consumer_name().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_arrive_at_once_across_sessions_of_five_minutes() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let worker = run(fan_out(&stream, "w1"), &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    let calls = stream.local.faults().on("kinesis:SubscribeToShard").delay(Duration::ZERO);
    let reads = stream.local.faults().on("kinesis:GetRecords").delay(Duration::ZERO);

    let mut slowest = Duration::ZERO;
    for round in 0..120 {
        let (first, begun) = (10 + round * 10, Instant::now());
        stream.put(first..first + 10).await;
        journal.processed(usize::try_from(first).unwrap() + 10).await;
        slowest = slowest.max(begun.elapsed());
        sleep(Duration::from_millis(10_000 + round % 7)).await;
    }

    assert!(slowest <= Duration::from_millis(100), "{slowest:?}");
    assert_eq!(journal.ids().len(), 1_210, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty());
    assert_eq!(reads.count(), 0);
    // Twenty minutes, two shards, a session each five minutes.
    assert!((6..=10).contains(&calls.count()), "{}", calls.count());
    assert_eq!(consumers(&stream).await, [APPLICATION]);
    worker.stop().await.unwrap();
}

/// Reads from there while event streams break before their first event, or soon after.
async fn survives_cuts(position: InitialPosition) {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let subscriptions = || stream.local.faults().on("kinesis:SubscribeToShard");
    subscriptions().with_probability(0.3).cut_event_stream(0);
    subscriptions().with_probability(0.5).cut_event_stream(1);
    subscriptions().cut_event_stream(3);
    let worker = run(fan_out(&stream, "w1").initial_position(position), &journal);
    let initialized = || journal.entries().iter().filter(|entry| entry.call == Call::Initialize).count() == 2;
    eventually("both shards are initialized", initialized).await;
    sleep(Duration::from_secs(1)).await;

    for start in (0..1_000).step_by(20) {
        stream.put(start..start + 20).await;
        sleep(Duration::from_secs(1)).await;
    }
    journal.processed(1_000).await;

    assert_eq!(journal.ids().len(), 1_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty());
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn event_streams_that_are_cut_again_and_again_lose_and_double_nothing() {
    survives_cuts(InitialPosition::TrimHorizon).await;
}

#[tokio::test(start_paused = true)]
async fn event_streams_that_are_cut_before_the_first_event_at_latest_lose_nothing() {
    survives_cuts(InitialPosition::Latest).await;
}

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_are_followed_parents_first() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let workers = ["w1", "w2"].map(|id| run(fan_out(&stream, id), &journal));

    stream.put(0..1_000).await;
    let open = stream.open_shards().await;
    stream.split(&open[0]).await;
    stream.put(1_000..2_000).await;
    stream.merge_neighbours().await;
    stream.put(2_000..3_000).await;
    journal.processed(3_000).await;

    assert_eq!(journal.ids().len(), 3_000, "no duplicates");
    assert!(journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    assert_eq!(journal.calls("shardId-000000000000").last(), Some(&Call::ShardEnded));
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn shards_change_hands_without_loss_when_workers_join_and_die() {
    let (stream, journal) = (TestStream::start(4).await, Journal::default());
    let first = run(fan_out(&stream, "w1"), &journal);
    stream.put(0..500).await;
    journal.processed(500).await;
    let second = run(fan_out(&stream, "w2"), &journal);
    for start in (500..1_500).step_by(50) {
        stream.put(start..start + 50).await;
        sleep(Duration::from_secs(1)).await;
    }
    journal.processed(1_500).await;
    assert_eq!(journal.ids().len(), 1_500, "a handoff doubles nothing");
    assert_eq!(journal.shards_by_worker()["w2"].len(), 2);

    first.kill();
    let killed = Instant::now();
    stream.put(1_500..2_000).await;
    journal.processed(2_000).await;

    assert!(killed.elapsed() < Duration::from_secs(25), "{:?}", killed.elapsed());
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn throttling_and_failures_of_the_service_are_waited_out() {
    let (stream, journal) = (TestStream::start(3).await, Journal::default());
    let actions = ["RegisterStreamConsumer", "DescribeStreamConsumer", "DescribeStreamSummary", "SubscribeToShard"];
    for action in actions {
        let on = |probability| stream.local.faults().on(&format!("kinesis:{action}")).with_probability(probability);
        on(0.4).throttle();
        on(0.3).fail();
        on(0.2).lose_response();
    }
    let worker = run(fan_out(&stream, "w1"), &journal);

    for start in (0..1_000).step_by(100) {
        stream.put(start..start + 100).await;
        sleep(Duration::from_secs(60)).await;
    }
    stream.local.faults().clear();
    journal.processed(1_000).await;

    assert_eq!(journal.ids().len(), 1_000, "no duplicates");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_service_are_kept() {
    let local = LocalAws::builder().enforce_limits().registering_takes(Duration::from_secs(20)).start().await;
    let (stream, journal, events) = (TestStream::on(local, 2).await, Journal::default(), EventLog::default());
    let worker = run(fan_out(&stream, "w1").on_event(events.handler()), &journal);
    let refused = |event: &Event| matches!(event, Event::ReadFailed { .. });

    for start in (0..3_000).step_by(50) {
        stream.put(start..start + 50).await;
        sleep(Duration::from_secs(11)).await;
    }
    journal.processed(3_000).await;

    assert_eq!(events.count(refused), 0, "{:?}", events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_deregistered_is_registered_again() {
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let worker = run(fan_out(&stream, "w1").on_event(events.handler()), &journal);
    stream.put(0..100).await;
    journal.processed(100).await;

    assert!(fan_out(&stream, "w1").deregister_consumer().await.unwrap());
    stream.put(100..200).await;
    journal.processed(200).await;

    assert_eq!(events.count(|event| matches!(event, Event::ConsumerRegistered { .. })), 2);
    assert_eq!(journal.ids().len(), 200, "no duplicates");
    worker.stop().await.unwrap();
    assert!(fan_out(&stream, "w1").deregister_consumer().await.unwrap());
    assert!(!fan_out(&stream, "w1").deregister_consumer().await.unwrap());
    assert!(consumers(&stream).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_fan_out_is_refused_it_polls_if_that_is_wanted_and_waits_if_not() {
    for denied in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"] {
        let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
        stream.local.deny(denied);
        let settings = Retrieval::FanOut(FanOut::new().or_polling());
        let worker = run(stream.worker("w1").retrieval(settings).on_event(events.handler()), &journal);
        stream.put(0..100).await;
        journal.processed(100).await;
        assert_eq!(events.count(|event| matches!(event, Event::FanOutRefused { .. })), 2, "{denied}");
        worker.stop().await.unwrap();

        let worker = run(fan_out(&stream, "w1").on_event(events.handler()), &journal);
        stream.put(100..200).await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(journal.distinct(), 100, "{denied}");
        let said = |event: &Event| matches!(event, Event::ReadFailed { error, .. } if error.contains(denied));
        assert!(events.count(said) > 0, "{:?}", events.all());
        stream.local.allow(denied);
        journal.processed(200).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_room_for_a_consumer_is_polled_if_that_is_wanted() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    for number in 0..20 {
        let register = stream.kinesis.register_stream_consumer().stream_arn(stream_arn(&stream).await);
        register.consumer_name(format!("consumer-{number}")).send().await.unwrap();
    }
    let settings = Retrieval::FanOut(FanOut::new().or_polling());
    let worker = run(stream.worker("w1").retrieval(settings), &journal);

    stream.put(0..100).await;
    journal.processed(100).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_shards_learn_at_once_that_there_is_no_room_for_a_consumer() {
    let (stream, journal, events) = (TestStream::start(20).await, Journal::default(), EventLog::default());
    let refused = stream.local.faults().on("kinesis:RegisterStreamConsumer");
    let refused = refused.refuse(400, "LimitExceededException", "no room");
    let settings = Retrieval::FanOut(FanOut::new().or_polling());
    let worker = run(stream.worker("w1").retrieval(settings).on_event(events.handler()), &journal);
    let begun = Instant::now();

    stream.put(0..400).await;
    journal.processed(400).await;

    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(events.count(|event| matches!(event, Event::FanOutRefused { .. })), 20);
    assert!(refused.count() <= 10, "tried {} times, with pauses", refused.count());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_polling_it_goes_back_to_fan_out_without_loss_or_doubles() {
    for denied in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"] {
        let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
        stream.local.deny(denied);
        let settings = Retrieval::FanOut(FanOut::new().or_polling());
        let worker = run(stream.worker("w1").retrieval(settings).on_event(events.handler()), &journal);
        let mut next = 0;
        let mut go_on = async |seconds: u64| {
            for _ in 0..seconds / 5 {
                stream.put(next..next + 5).await;
                next += 5;
                sleep(Duration::from_secs(5)).await;
            }
        };
        go_on(400).await;
        stream.local.allow(denied);
        go_on(500).await;
        let reads = stream.local.faults().on("kinesis:GetRecords").delay(Duration::ZERO);
        go_on(300).await;
        journal.processed(1_200).await;
        sleep(Duration::from_secs(5)).await;

        assert_eq!(reads.count(), 0, "{denied}: nothing is polled any more");
        assert_eq!(journal.ids().len(), 1_200, "{denied}: no duplicates, no gap");
        assert!(journal.keys_out_of_order().is_empty());
        assert_eq!(events.count(|event| matches!(event, Event::FanOutRefused { .. })), 2, "told once for each shard");
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_given_consumer_nothing_is_looked_up_or_registered() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let register = stream.kinesis.register_stream_consumer().stream_arn(stream_arn(&stream).await);
    let registered = register.consumer_name("given").send().await.unwrap();
    let arn = registered.consumer().unwrap().consumer_arn();
    stream.local.deny("kinesis:DescribeStreamConsumer");
    stream.local.deny("kinesis:RegisterStreamConsumer");
    let settings = Retrieval::FanOut(FanOut::new().consumer_arn(arn));
    let worker = run(stream.worker("w1").retrieval(settings), &journal);

    stream.put(0..100).await;
    journal.processed(100).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_is_given_up_and_made_again() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    stream.local.faults().on("kinesis:SubscribeToShard").times(2).delay(Duration::from_secs(40));
    let worker = run(fan_out(&stream, "w1").on_event(events.handler()), &journal);

    stream.put(0..100).await;
    journal.processed(100).await;

    assert_eq!(journal.distinct(), 100);
    assert!(events.count(|event| matches!(event, Event::ReadFailed { .. })) > 0, "{:?}", events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_while_the_control_plane_does_not_answer() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let first = run(fan_out(&stream, "w1"), &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    let standby = run(fan_out(&stream, "w2"), &journal);
    sleep(Duration::from_secs(60)).await;
    for action in ["DescribeStreamSummary", "DescribeStreamConsumer", "ListShards"] {
        stream.local.faults().on(&format!("kinesis:{action}")).delay(Duration::from_secs(3_600));
    }

    let begun = Instant::now();
    first.stop().await.unwrap();
    stream.put(10..20).await;
    journal.processed(20).await;

    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    standby.stop().await.unwrap();
}
