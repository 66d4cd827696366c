//! Several streams, one application: streams come, go, change their shape, and are created again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use integration_tests::{APPLICATION, Call, Entry, Item, Running, SHARD, STREAM, World, id_of, text};
use kcl::{
    CheckpointEvery, Event, FanOut, FormerStreams, InitialPosition, Retrieval, StreamConfig, StreamId, Streams, Worker,
    WorkerError,
};
use kinesis_local::LocalAws;
use tokio::time::sleep;

/// A world with these streams, of two shards each.
async fn world_of(streams: &[&str]) -> World {
    let world = World::without_stream(LocalAws::start().await);
    for stream in streams {
        world.create(stream, 2).await;
    }
    world
}

fn run(world: &World, worker_id: &str, streams: &Streams) -> Running {
    world.spawn(world.multi_worker(worker_id, streams))
}

async fn id(world: &World, stream: &str) -> StreamId {
    let answer = world.kinesis.describe_stream_summary().stream_name(stream).send().await.expect("stream exists");
    let summary = answer.stream_description_summary().expect("answer is whole");
    let account = summary.stream_arn().split(':').nth(4).expect("ARN has an account");
    StreamId::from(format!("{account}:{stream}:{}", summary.stream_creation_timestamp().secs()).as_str())
}

/// Leases, by key; none before there is a table.
async fn leases(world: &World) -> BTreeMap<String, Item> {
    let key = |item: Item| (item["leaseKey"].as_s().expect("text").clone(), item);
    world.table().leases().await.into_iter().map(key).collect()
}

async fn until_leases(world: &World, what: &str, hold: impl Fn(&BTreeMap<String, Item>) -> bool) {
    world.until_holds(what, async || hold(&leases(world).await)).await;
}

/// Records processed of each stream.
fn processed(world: &World) -> BTreeMap<String, BTreeSet<u64>> {
    let mut processed = BTreeMap::<String, BTreeSet<u64>>::new();
    for entry in world.journal.entries() {
        processed.entry(entry.stream_id.name().to_owned()).or_default().extend(entry.keys.iter().map(|(_, id)| id));
    }
    processed
}

#[tokio::test(start_paused = true)]
async fn a_fleet_reads_all_its_streams_and_shares_their_shards() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("orders", 0..50).await;
    world.put_to("payments", 50..100).await;
    let streams = Streams::new(["orders", "payments"]);
    let (first, second) = (run(&world, "w1", &streams), run(&world, "w2", &streams));

    world.journal.processed(100).await;
    world.until("both workers have shards", || world.journal.shards_by_worker().len() == 2).await;

    let processed = processed(&world);
    assert_eq!(processed["orders"], (0..50).collect());
    assert_eq!(processed["payments"], (50..100).collect());
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_are_written_as_java_writes_them_for_several_streams() {
    let world = world_of(&["orders"]).await;
    let worker = run(&world, "w1", &Streams::new([StreamConfig::new("orders").creation_epoch(1_700_000_000)]));
    world.put_to("orders", 0..10).await;
    world.journal.processed(10).await;
    world
        .kinesis
        .merge_shards()
        .stream_name("orders")
        .shard_to_merge(SHARD)
        .adjacent_shard_to_merge("shardId-000000000001")
        .send()
        .await
        .unwrap();
    let account = id(&world, "orders").await.account().unwrap().to_owned();
    let stream = format!("{account}:orders:1700000000");
    let child = format!("{stream}:shardId-000000000002");
    until_leases(&world, "the child has a lease", |leases| leases.contains_key(&child)).await;

    let leases = leases(&world).await;
    assert!(leases.keys().all(|key| key.starts_with(&stream)), "{leases:?}");
    let lease = &leases[&child];
    assert_eq!(lease["streamName"], text(&stream));
    assert_eq!(lease["shardId"], text("shardId-000000000002"));
    let mut parents = lease["parentShardId"].as_ss().unwrap().clone();
    parents.sort();
    assert_eq!(parents, [SHARD, "shardId-000000000001"], "raw shard ids, not lease keys");
    until_leases(&world, "the parents' leases are gone", |leases| leases.len() == 1 || leases.len() == 3).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_follow_their_parents_within_their_own_stream() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("orders", 0..20).await;
    let split = world.kinesis.split_shard().stream_name("orders").shard_to_split(SHARD).new_starting_hash_key("5");
    split.send().await.unwrap();
    world.put_to("orders", 20..40).await;
    world.put_to("payments", 40..60).await;
    let worker = run(&world, "w1", &Streams::new(["orders", "payments"]));

    world.journal.processed(60).await;

    let position = |shard: &str, call: fn(&Call) -> bool| {
        let is =
            |entry: &Entry| entry.stream_id.name() == "orders" && entry.shard_id.as_str() == shard && call(&entry.call);
        world.journal.entries().iter().position(is).expect("was called")
    };
    let ended = position(SHARD, |call| *call == Call::ShardEnded);
    let child = position("shardId-000000000003", |call| *call == Call::Initialize);
    assert!(ended < child);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_from_the_moment_it_is_listed_and_as_its_settings_say() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("payments", 0..10).await;
    let streams = Streams::new(["orders"]);
    let worker = world.spawn(world.multi_worker("w1", &streams).initial_position(InitialPosition::Latest));
    until_leases(&world, "orders has leases", |leases| leases.len() == 2).await;

    streams.add(StreamConfig::new("payments").initial_position(InitialPosition::TrimHorizon));
    world.journal.processed(10).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_exist_yet_holds_up_no_other() {
    let world = world_of(&["orders"]).await;
    world.put_to("orders", 0..10).await;
    let worker = run(&world, "w1", &Streams::new(["orders", "payments"]));
    world.journal.processed(10).await;
    let unavailable = |event: &Event| matches!(event, Event::StreamUnavailable { stream, .. } if stream == "payments");
    world.until("it is reported", || world.events.count(unavailable) > 0).await;

    world.create("payments", 2).await;
    world.put_to("payments", 10..20).await;
    world.journal.processed(20).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn starts_although_kinesis_refuses_to_describe_its_streams_for_a_while() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("orders", 0..10).await;
    world.put_to("payments", 10..20).await;
    world.local.faults().on("kinesis:DescribeStreamSummary").times(20).throttle();
    let worker = run(&world, "w1", &Streams::new(["orders", "payments"]));
    world.journal.processed(20).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_none_of_whose_streams_exists_says_so() {
    let world = world_of(&[]).await;
    let error = run(&world, "w1", &Streams::new(["orders"])).ended().await.unwrap_err();
    assert!(matches!(&error, WorkerError::StreamNotFound { stream, .. } if stream == "orders"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_former_stream_is_read_as_long_as_its_leases_are_kept() {
    let world = world_of(&["orders", "payments"]).await;
    let streams = Streams::new(["orders", "payments"]);
    let worker = run(&world, "w1", &streams);
    until_leases(&world, "both have leases", |leases| leases.len() == 4).await;
    assert!(streams.remove("payments"));
    sleep(Duration::from_secs(300)).await; // long enough for a leader to do what it should not

    world.put_to("payments", 0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();

    // A worker that never heard of it takes over: a new list is being rolled out.
    let other = run(&world, "w2", &streams);
    world.put_to("payments", 10..20).await;
    world.journal.processed(20).await;
    let told =
        |event: &Event| matches!(event, Event::StreamNotListed { stream_id, .. } if stream_id.name() == "payments");
    assert_eq!(world.events.count(told), 1);
    assert_eq!(leases(&world).await.len(), 4);
    other.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletes_leases_of_a_former_stream_after_the_wait() {
    let world = world_of(&["orders", "payments"]).await;
    let wait = Duration::from_secs(60);
    let streams = Streams::new(["orders", "payments"]).former_streams(FormerStreams::DeleteAfter(wait));
    let worker = run(&world, "w1", &streams);
    until_leases(&world, "both have leases", |leases| leases.len() == 4).await;
    streams.remove("payments");

    sleep(wait - Duration::from_secs(5)).await;
    assert_eq!(leases(&world).await.len(), 4, "not before the wait");
    until_leases(&world, "they are deleted", |leases| leases.len() == 2).await;
    world.until("its processors end", || world.journal.count(&Call::LeaseLost) == 2).await;
    let deleted = |event: &Event| matches!(event, Event::FormerStreamDeleted { stream_id, shards, .. } if stream_id.name() == "payments" && shards.len() == 2);
    assert_eq!(world.events.count(deleted), 1);

    world.put_to("orders", 0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deletes_leases_of_a_former_stream_that_is_gone_without_the_wait() {
    let world = world_of(&["orders", "payments"]).await;
    let before = run(&world, "w1", &Streams::new(["orders", "payments"]));
    until_leases(&world, "both have leases", |leases| leases.len() == 4).await;
    before.stop().await.unwrap();
    world.delete("payments").await;

    // Only leases tell this leader of the stream.
    let a_day = FormerStreams::DeleteAfter(Duration::from_secs(24 * 60 * 60));
    let leader = run(&world, "w2", &Streams::new(["orders"]).former_streams(a_day));
    until_leases(&world, "the stream's leases are deleted", |leases| leases.len() == 2).await;

    let deleted =
        |event: &Event| matches!(event, Event::FormerStreamDeleted { stream_id, .. } if stream_id.name() == "payments");
    world.until("it is reported", || world.events.count(deleted) == 1).await;
    leader.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_described_keeps_its_leases() {
    let world = world_of(&["orders", "payments"]).await;
    let streams = Streams::new(["orders", "payments"]).former_streams(FormerStreams::DeleteAfter(Duration::ZERO));
    let worker = run(&world, "w1", &streams);
    until_leases(&world, "both have leases", |leases| leases.len() == 4).await;
    worker.stop().await.unwrap();

    // The next worker learns the id of one stream alone.
    world.local.faults().on("kinesis:DescribeStreamSummary").call(2).refuse(400, "AccessDeniedException", "not now");
    let second = run(&world, "w2", &streams);
    let refused = |event: &Event| matches!(event, Event::StreamUnavailable { .. });
    world.until("one stream is refused", || world.events.count(refused) > 0).await;
    world.local.deny("kinesis:DescribeStreamSummary");
    world.until("it leads", || world.events.count(|event| *event == Event::LeaderGained) == 2).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(leases(&world).await.len(), 4);
    world.local.allow("kinesis:DescribeStreamSummary");
    world.put_to("payments", 0..10).await;
    world.journal.processed(10).await;
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_created_again_starts_anew_under_another_id() {
    let world = world_of(&["orders"]).await;
    let wait = Duration::from_secs(300);
    let streams = Streams::new(["orders"]).former_streams(FormerStreams::DeleteAfter(wait));
    let worker = run(&world, "w1", &streams);
    world.put_to("orders", 0..10).await;
    world.journal.processed(10).await;
    let before = id(&world, "orders").await;

    world.delete("orders").await;
    sleep(Duration::from_secs(1)).await; // ids differ by the second
    world.create("orders", 2).await;
    world.put_to("orders", 10..20).await;
    world.journal.processed(20).await;

    let after = id(&world, "orders").await;
    assert_ne!(before, after);
    let new = world.journal.entries().into_iter().filter(|entry| entry.stream_id == after);
    assert_eq!(new.flat_map(|entry| entry.keys).count(), 10, "once, under the new id");
    let released = |event: &Event| matches!(event, Event::LeaseReleased { shard, .. } if shard.stream_id == before);
    world.until("an old lease is released", || world.events.count(released) > 0).await;
    sleep(wait).await;
    let prefix = before.to_string();
    until_leases(&world, "the old leases are gone", |leases| leases.keys().all(|key| !key.starts_with(&prefix))).await;
    worker.stop().await.unwrap();
}

/// A fleet of two workers, and leases of `payments` that nobody can read: it was created again while no worker ran, or it
/// is gone.
async fn fleet_beside_lost_leases(created_again: bool, lists_it: bool) -> (World, Vec<Running>) {
    let world = world_of(&["orders", "payments"]).await;
    let both = Streams::new(["orders", "payments"]);
    let before = ["a1", "a2"].map(|id| run(&world, id, &both));
    world.put_to("orders", 0..10).await;
    world.put_to("payments", 10..20).await;
    world.journal.processed(20).await;
    for worker in before {
        worker.stop().await.expect("worker stops in good order");
    }
    world.delete("payments").await;
    sleep(Duration::from_secs(1)).await; // ids differ by the second
    if created_again {
        world.create("payments", 2).await;
    }
    let streams = if lists_it { both } else { Streams::new(["orders"]) };
    let workers = ["b1", "b2"].map(|id| run(&world, id, &streams));
    (world, workers.into())
}

#[tokio::test(start_paused = true)]
async fn leases_that_no_worker_can_read_disturb_nobody() {
    for (created_again, lists_it) in [(true, true), (false, true), (false, false)] {
        let (world, workers) = fleet_beside_lost_leases(created_again, lists_it).await;
        let what = format!("created again: {created_again}, listed: {lists_it}, {:?}", world.events.all());
        let leases = if created_again { 6 } else { 4 };
        until_leases(&world, "all have leases", |found| found.len() == leases).await;
        // What was assigned before the leader knew is given up within this time.
        sleep(Duration::from_secs(90)).await;
        let moves = |event: &Event| {
            matches!(event, Event::HandoffRequested { .. } | Event::LeaseTaken { .. } | Event::LeaseLost { .. })
        };
        let (moved, reads) = (world.events.count(moves), world.calls("dynamodb:GetItem"));

        sleep(Duration::from_secs(180)).await;

        assert_eq!(world.events.count(moves), moved, "{what}");
        // Both workers look whether their item is theirs, once a second, and the follower at the leader's lock.
        assert!(reads.count() < 180 * 35 / 10, "{} reads, {what}", reads.count());
        let unavailable =
            |event: &Event| matches!(event, Event::StreamUnavailable { stream, .. } if stream.contains(":payments:"));
        assert_eq!(world.events.count(unavailable), 1, "{what}");
        let stalled = |event: &Event| matches!(event, Event::ShardStalled { .. });
        assert_eq!(world.events.count(stalled), 0, "{what}");
        world.put_to("orders", 20..30).await;
        world.until("orders is read", || processed(&world)["orders"].len() == 20).await;
        for worker in workers {
            worker.stop().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_for_each_shard_knows_its_stream() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("orders", 0..10).await;
    world.put_to("payments", 10..20).await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let worker = world.multi_worker("w1", &Streams::new(["orders", "payments"])).build_for_each_shard(
        CheckpointEvery::default(),
        1,
        {
            let seen = seen.clone();
            move |shard: &kcl::ShardContext| {
                let (stream, seen) = (shard.stream_id.name().to_owned(), seen.clone());
                move |record: kcl::Record| {
                    seen.lock().expect("nobody panics").insert((stream.clone(), id_of(&record)));
                    async { Ok::<(), kcl::BoxError>(()) }
                }
            }
        },
    );
    let running = worker.unwrap().start();
    world.until("all are seen", || seen.lock().unwrap().len() == 20).await;
    running.stop().await.unwrap();
    let expected = (0..20).map(|id| (if id < 10 { "orders" } else { "payments" }.to_owned(), id)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_consumer_under_fan_out() {
    let world = world_of(&["orders", "payments"]).await;
    world.put_to("orders", 0..10).await;
    world.put_to("payments", 10..20).await;
    let reads = world.calls("kinesis:GetRecords");
    let streams = Streams::new(["orders", "payments"]);
    let builder = world.multi_worker("w1", &streams).retrieval(Retrieval::FanOut(FanOut::new()));
    let worker = world.spawn(builder.clone());
    world.journal.processed(20).await;
    assert_eq!(reads.count(), 0);
    let registered = |event: &Event| matches!(event, Event::ConsumerRegistered { .. });
    assert_eq!(world.events.count(registered), 2);
    worker.stop().await.unwrap();
    assert!(builder.deregister_consumer().await.unwrap());
    assert!(!builder.deregister_consumer().await.unwrap(), "both are gone");
}

#[tokio::test(start_paused = true)]
async fn tells_tables_of_one_stream_from_tables_of_several() {
    let single = World::start(1).await;
    let worker = single.run("w1");
    single.settled().await;
    worker.stop().await.unwrap();
    let several = single.multi_worker("w2", &Streams::new([STREAM]));
    let error = single.spawn(several).ended().await.unwrap_err();
    assert!(error.to_string().contains("application of one stream, and this one is of several"), "{error}");

    let multi = world_of(&["orders"]).await;
    let worker = run(&multi, "w1", &Streams::new(["orders"]));
    until_leases(&multi, "orders has leases", |leases| leases.len() == 2).await;
    worker.stop().await.unwrap();
    let one = Worker::builder(&multi.aws, APPLICATION, "orders");
    let error = multi.spawn(one).ended().await.unwrap_err();
    assert!(error.to_string().contains("application of several streams, and this one is of one"), "{error}");
}
