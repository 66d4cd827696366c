//! Enhanced fan-out end to end: delivery, sessions, cuts, takeover, resharding, refusals.

use std::time::Duration;

use integration_tests::{APPLICATION, Call, SHARD, World, settled};
use kcl::{Event, FanOut, InitialPosition, Retrieval, WorkerBuilder};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

fn fan_out(world: &World, worker_id: &str) -> WorkerBuilder {
    world.worker(worker_id).retrieval(Retrieval::FanOut(FanOut::new()))
}

/// Names of the stream's registered consumers.
async fn consumers(world: &World) -> Vec<String> {
    let listed =
        world.kinesis.list_stream_consumers().stream_arn(world.arn().await).send().await.expect("answer is whole");
    listed.consumers().iter().map(|consumer| consumer.consumer_name().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn records_arrive_at_once_across_sessions_of_five_minutes() {
    let world = World::start(2).await;
    let worker = world.spawn(fan_out(&world, "w1"));
    world.put(0..10).await;
    world.journal.processed(10).await;
    let calls = world.calls("kinesis:SubscribeToShard");
    let reads = world.calls("kinesis:GetRecords");

    let mut slowest = Duration::ZERO;
    for round in 0..120 {
        let (first, begun) = (10 + round * 10, Instant::now());
        world.put(first..first + 10).await;
        world.journal.processed(usize::try_from(first).unwrap() + 10).await;
        slowest = slowest.max(begun.elapsed());
        sleep(Duration::from_millis(10_000 + round % 7)).await;
    }

    assert!(slowest <= Duration::from_millis(100), "{slowest:?}");
    assert_eq!(world.journal.ids().len(), 1_210, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
    assert_eq!(reads.count(), 0);
    // Twenty minutes, two shards, a session each five minutes.
    assert!((6..=10).contains(&calls.count()), "{}", calls.count());
    assert_eq!(consumers(&world).await, [APPLICATION]);
    worker.stop().await.unwrap();
}

/// Reads from there while event streams break before their first event, or soon after.
async fn survives_cuts(position: InitialPosition) {
    let world = World::start(2).await;
    let subscriptions = || world.local.faults().on("kinesis:SubscribeToShard");
    subscriptions().with_probability(0.3).cut_event_stream(0);
    subscriptions().with_probability(0.5).cut_event_stream(1);
    subscriptions().cut_event_stream(3);
    let worker = world.spawn(fan_out(&world, "w1").initial_position(position));
    settled(|| world.journal.len()).await;

    for start in (0..1_000).step_by(20) {
        world.put(start..start + 20).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.journal.processed(1_000).await;

    assert_eq!(world.journal.ids().len(), 1_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty());
    worker.stop().await.expect("worker stops");
}

#[tokio::test(start_paused = true)]
async fn event_streams_that_are_cut_again_and_again_lose_and_double_nothing() {
    survives_cuts(InitialPosition::TrimHorizon).await;
}

#[tokio::test(start_paused = true)]
async fn loses_nothing_at_latest_when_event_streams_are_cut_before_an_event() {
    survives_cuts(InitialPosition::Latest).await;
}

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_are_followed_parents_first() {
    let world = World::start(2).await;
    let workers = ["w1", "w2"].map(|id| world.spawn(fan_out(&world, id)));

    world.put(0..1_000).await;
    let open = world.open_shards().await;
    world.split(&open[0]).await;
    world.put(1_000..2_000).await;
    world.merge_neighbours().await;
    world.put(2_000..3_000).await;
    world.journal.processed(3_000).await;

    assert_eq!(world.journal.ids().len(), 3_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty(), "a child ran before its parent");
    assert_eq!(world.journal.calls(SHARD).last(), Some(&Call::ShardEnded));
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn shards_change_hands_without_loss_when_workers_join_and_die() {
    let world = World::start(4).await;
    let first = world.spawn(fan_out(&world, "w1"));
    world.put(0..500).await;
    world.journal.processed(500).await;
    let second = world.spawn(fan_out(&world, "w2"));
    for start in (500..1_500).step_by(50) {
        world.put(start..start + 50).await;
        sleep(Duration::from_secs(1)).await;
    }
    world.journal.processed(1_500).await;
    assert_eq!(world.journal.ids().len(), 1_500, "a handoff doubles nothing");
    assert_eq!(world.journal.shards_by_worker()["w2"].len(), 2);

    first.kill();
    let killed = Instant::now();
    world.put(1_500..2_000).await;
    world.journal.processed(2_000).await;

    assert!(killed.elapsed() < Duration::from_secs(25), "{:?}", killed.elapsed());
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn throttling_and_failures_of_the_service_are_waited_out() {
    let world = World::start(3).await;
    let actions = ["RegisterStreamConsumer", "DescribeStreamConsumer", "DescribeStreamSummary", "SubscribeToShard"];
    for action in actions {
        let on = |probability| world.local.faults().on(&format!("kinesis:{action}")).with_probability(probability);
        on(0.4).throttle();
        on(0.3).fail();
        on(0.2).lose_response();
    }
    let worker = world.spawn(fan_out(&world, "w1"));

    for start in (0..1_000).step_by(100) {
        world.put(start..start + 100).await;
        sleep(Duration::from_secs(60)).await;
    }
    world.local.faults().clear();
    world.journal.processed(1_000).await;

    assert_eq!(world.journal.ids().len(), 1_000, "no duplicates");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_the_service_are_kept() {
    let local = LocalAws::builder().enforce_limits().registering_takes(Duration::from_secs(20)).start().await;
    let world = World::on(local, 2).await;
    let worker = world.spawn(fan_out(&world, "w1"));
    let refused = |event: &Event| matches!(event, Event::ReadFailed { .. });

    for start in (0..3_000).step_by(50) {
        world.put(start..start + 50).await;
        sleep(Duration::from_secs(11)).await;
    }
    world.journal.processed(3_000).await;

    assert_eq!(world.events.count(refused), 0, "{:?}", world.events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_was_deregistered_is_registered_again() {
    let world = World::start(2).await;
    let worker = world.spawn(fan_out(&world, "w1"));
    world.put(0..100).await;
    world.journal.processed(100).await;

    assert!(fan_out(&world, "w1").deregister_consumer().await.unwrap());
    world.put(100..200).await;
    world.journal.processed(200).await;

    assert_eq!(world.events.count(|event| matches!(event, Event::ConsumerRegistered { .. })), 2);
    assert_eq!(world.journal.ids().len(), 200, "no duplicates");
    worker.stop().await.unwrap();
    assert!(fan_out(&world, "w1").deregister_consumer().await.unwrap());
    assert!(!fan_out(&world, "w1").deregister_consumer().await.unwrap());
    assert!(consumers(&world).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn polls_or_waits_as_configured_when_fan_out_is_refused() {
    for denied in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"] {
        let world = World::start(2).await;
        world.local.deny(denied);
        let settings = Retrieval::FanOut(FanOut::new().or_polling());
        let worker = world.spawn(world.worker("w1").retrieval(settings));
        world.put(0..100).await;
        world.journal.processed(100).await;
        assert_eq!(world.events.count(|event| matches!(event, Event::FanOutRefused { .. })), 2, "{denied}");
        worker.stop().await.unwrap();

        let worker = world.spawn(fan_out(&world, "w1"));
        world.put(100..200).await;
        let said = |event: &Event| matches!(event, Event::ReadFailed { error, .. } if error.contains(denied));
        world.until("the refusal is said three times", || world.events.count(said) >= 3).await;
        assert_eq!(world.journal.distinct(), 100, "{denied}");
        world.local.allow(denied);
        world.journal.processed(200).await;
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_room_for_a_consumer_is_polled_if_that_is_wanted() {
    let world = World::start(1).await;
    for number in 0..20 {
        let register = world.kinesis.register_stream_consumer().stream_arn(world.arn().await);
        register.consumer_name(format!("consumer-{number}")).send().await.unwrap();
    }
    let settings = Retrieval::FanOut(FanOut::new().or_polling());
    let worker = world.spawn(world.worker("w1").retrieval(settings));

    world.put(0..100).await;
    world.journal.processed(100).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_shards_learn_at_once_that_there_is_no_room_for_a_consumer() {
    let world = World::start(20).await;
    let refused = world.local.faults().on("kinesis:RegisterStreamConsumer");
    let refused = refused.refuse(400, "LimitExceededException", "no room");
    let settings = Retrieval::FanOut(FanOut::new().or_polling());
    let worker = world.spawn(world.worker("w1").retrieval(settings));
    let begun = Instant::now();

    world.put(0..400).await;
    world.journal.processed(400).await;

    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(world.events.count(|event| matches!(event, Event::FanOutRefused { .. })), 20);
    assert!(refused.count() <= 10, "tried {} times, with pauses", refused.count());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn returns_from_polling_to_fan_out_without_loss_or_doubles() {
    for denied in ["kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"] {
        let world = World::start(2).await;
        world.local.deny(denied);
        let settings = Retrieval::FanOut(FanOut::new().or_polling());
        let worker = world.spawn(world.worker("w1").retrieval(settings));
        let mut next = 0;
        let mut go_on = async |seconds: u64| {
            for _ in 0..seconds / 5 {
                world.put(next..next + 5).await;
                next += 5;
                sleep(Duration::from_secs(5)).await;
            }
        };
        go_on(400).await;
        world.local.allow(denied);
        go_on(500).await;
        let reads = world.calls("kinesis:GetRecords");
        go_on(300).await;
        world.journal.processed(1_200).await;
        world.settled().await;

        assert_eq!(reads.count(), 0, "{denied}: nothing is polled any more");
        assert_eq!(world.journal.ids().len(), 1_200, "{denied}: no duplicates, no gap");
        assert!(world.journal.keys_out_of_order().is_empty());
        assert_eq!(
            world.events.count(|event| matches!(event, Event::FanOutRefused { .. })),
            2,
            "told once for each shard"
        );
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn looks_up_and_registers_nothing_with_a_given_consumer() {
    let world = World::start(1).await;
    let register = world.kinesis.register_stream_consumer().stream_arn(world.arn().await);
    let registered = register.consumer_name("given").send().await.unwrap();
    let arn = registered.consumer().unwrap().consumer_arn();
    world.local.deny("kinesis:DescribeStreamConsumer");
    world.local.deny("kinesis:RegisterStreamConsumer");
    let settings = Retrieval::FanOut(FanOut::new().consumer_arn(arn));
    let worker = world.spawn(world.worker("w1").retrieval(settings));

    world.put(0..100).await;
    world.journal.processed(100).await;

    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_answered_is_given_up_and_made_again() {
    let world = World::start(1).await;
    world.local.faults().on("kinesis:SubscribeToShard").times(2).delay(Duration::from_secs(40));
    let worker = world.spawn(fan_out(&world, "w1"));

    world.put(0..100).await;
    world.journal.processed(100).await;

    assert_eq!(world.journal.ids().len(), 100, "no duplicates");
    assert!(world.events.count(|event| matches!(event, Event::ReadFailed { .. })) > 0, "{:?}", world.events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_while_the_control_plane_does_not_answer() {
    let world = World::start(1).await;
    let first = world.spawn(fan_out(&world, "w1"));
    world.put(0..10).await;
    world.journal.processed(10).await;
    let standby = world.spawn(fan_out(&world, "w2"));
    world.settled().await;
    for action in ["DescribeStreamSummary", "DescribeStreamConsumer", "ListShards"] {
        world.local.faults().on(&format!("kinesis:{action}")).delay(Duration::from_secs(3_600));
    }

    let begun = Instant::now();
    first.stop().await.unwrap();
    world.put(10..20).await;
    world.journal.processed(20).await;

    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    standby.stop().await.unwrap();
}
