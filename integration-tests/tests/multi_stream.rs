//! Several streams, one application: streams come, go, change their shape, and are created again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::{Client, primitives::Blob};
use integration_tests::{APPLICATION, Call, EventLog, Journal, Running, TestStream, eventually};
use kcl::{
    Event, FanOut, FormerStreams, InitialPosition, Retrieval, StreamConfig, StreamId, Streams, Worker, WorkerBuilder,
    WorkerError,
};
use kinesis_local::LocalAws;
use tokio::time::sleep;

const SHARD: &str = "shardId-000000000000";

/// An embedded AWS for several streams.
struct World {
    local: LocalAws,
    kinesis: Client,
    journal: Journal,
    events: EventLog,
}

impl World {
    async fn with(streams: &[&str]) -> Self {
        let local = LocalAws::start().await;
        let kinesis = Client::new(&local.sdk_config());
        let world = Self { local, kinesis, journal: Journal::default(), events: EventLog::default() };
        for stream in streams {
            world.create(stream).await;
        }
        world
    }

    /// Creates a stream of two shards.
    async fn create(&self, stream: &str) {
        self.kinesis.create_stream().stream_name(stream).shard_count(2).send().await.expect("stream is new");
    }

    async fn delete(&self, stream: &str) {
        self.kinesis.delete_stream().stream_name(stream).send().await.expect("stream exists");
        let gone = async || self.kinesis.describe_stream_summary().stream_name(stream).send().await.is_err();
        while !gone().await {
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn put(&self, stream: &str, ids: std::ops::Range<u64>) {
        for id in ids {
            let put = self.kinesis.put_record().stream_name(stream).partition_key(format!("key-{id}"));
            put.data(Blob::new(id.to_string())).send().await.expect("put succeeds");
        }
    }

    async fn id(&self, stream: &str) -> StreamId {
        let answer = self.kinesis.describe_stream_summary().stream_name(stream).send().await.expect("stream exists");
        let summary = answer.stream_description_summary().expect("answer is whole");
        let account = summary.stream_arn().split(':').nth(4).expect("ARN has an account");
        StreamId::from(format!("{account}:{stream}:{}", summary.stream_creation_timestamp().secs()).as_str())
    }

    fn worker(&self, worker_id: &str, streams: &Streams) -> WorkerBuilder {
        Worker::builder(&self.local.sdk_config(), APPLICATION, streams.clone())
            .worker_id(worker_id)
            .initial_position(InitialPosition::TrimHorizon)
            .on_event(self.events.handler())
    }

    fn run(&self, worker_id: &str, streams: &Streams) -> Running {
        self.start(self.worker(worker_id, streams))
    }

    fn start(&self, builder: WorkerBuilder) -> Running {
        Running::start(builder, &self.journal, |journal, shard| journal.processor(shard))
    }

    /// Items of the lease table that are leases, by key; none before there is a table.
    async fn leases(&self) -> BTreeMap<String, HashMap<String, AttributeValue>> {
        let client = aws_sdk_dynamodb::Client::new(&self.local.sdk_config());
        let Ok(scan) = client.scan().table_name(APPLICATION).send().await else { return BTreeMap::new() };
        let is_lease = |item: &HashMap<String, AttributeValue>| item.get("entityType") == Some(&text("LEASE"));
        let key = |item: HashMap<String, AttributeValue>| (item["leaseKey"].as_s().expect("text").clone(), item);
        scan.items().iter().filter(|item| is_lease(item)).cloned().map(key).collect()
    }

    /// Records processed of each stream.
    fn processed(&self) -> BTreeMap<String, BTreeSet<u64>> {
        let mut processed = BTreeMap::<String, BTreeSet<u64>>::new();
        for entry in self.journal.entries() {
            processed.entry(entry.stream_id.name().to_owned()).or_default().extend(entry.keys.iter().map(|(_, id)| id));
        }
        processed
    }

    async fn until_leases(
        &self,
        what: &str,
        holds: impl Fn(&BTreeMap<String, HashMap<String, AttributeValue>>) -> bool,
    ) {
        for _ in 0..600 {
            if holds(&self.leases().await) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("waited two minutes until {what}: {:?}", self.leases().await.keys());
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_fleet_reads_all_its_streams_and_shares_their_shards() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("orders", 0..50).await;
    world.put("payments", 50..100).await;
    let streams = Streams::new(["orders", "payments"]);
    let (first, second) = (world.run("w1", &streams), world.run("w2", &streams));

    world.journal.processed(100).await;
    eventually("both workers have shards", || world.journal.shards_by_worker().len() == 2).await;

    let processed = world.processed();
    assert_eq!(processed["orders"], (0..50).collect());
    assert_eq!(processed["payments"], (50..100).collect());
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_are_written_as_java_writes_them_for_several_streams() {
    let world = World::with(&["orders"]).await;
    let worker = world.run("w1", &Streams::new([StreamConfig::new("orders").creation_epoch(1_700_000_000)]));
    world.put("orders", 0..10).await;
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
    let account = world.id("orders").await.account().unwrap().to_owned();
    let stream = format!("{account}:orders:1700000000");
    let child = format!("{stream}:shardId-000000000002");
    world.until_leases("the child has a lease", |leases| leases.contains_key(&child)).await;

    let leases = world.leases().await;
    assert!(leases.keys().all(|key| key.starts_with(&stream)), "{leases:?}");
    let lease = &leases[&child];
    assert_eq!(lease["streamName"], text(&stream));
    assert_eq!(lease["shardId"], text("shardId-000000000002"));
    let mut parents = lease["parentShardId"].as_ss().unwrap().clone();
    parents.sort();
    assert_eq!(parents, [SHARD, "shardId-000000000001"], "raw shard ids, not lease keys");
    world.until_leases("the parents' leases are gone", |leases| leases.len() == 1 || leases.len() == 3).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_follow_their_parents_within_their_own_stream() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("orders", 0..20).await;
    let split = world.kinesis.split_shard().stream_name("orders").shard_to_split(SHARD).new_starting_hash_key("5");
    split.send().await.unwrap();
    world.put("orders", 20..40).await;
    world.put("payments", 40..60).await;
    let worker = world.run("w1", &Streams::new(["orders", "payments"]));

    world.journal.processed(60).await;

    let position = |shard: &str, call: fn(&Call) -> bool| {
        let is = |entry: &integration_tests::Entry| {
            entry.stream_id.name() == "orders" && entry.shard_id.as_str() == shard && call(&entry.call)
        };
        world.journal.entries().iter().position(is).expect("was called")
    };
    let ended = position(SHARD, |call| *call == Call::ShardEnded);
    let child = position("shardId-000000000003", |call| *call == Call::Initialize);
    assert!(ended < child);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_from_the_moment_it_is_listed_and_as_its_settings_say() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("payments", 0..10).await;
    let streams = Streams::new(["orders"]);
    let worker = world.start(world.worker("w1", &streams).initial_position(InitialPosition::Latest));
    world.until_leases("orders has leases", |leases| leases.len() == 2).await;

    streams.add(StreamConfig::new("payments").initial_position(InitialPosition::TrimHorizon));
    world.journal.processed(10).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_exist_yet_holds_up_no_other() {
    let world = World::with(&["orders"]).await;
    world.put("orders", 0..10).await;
    let worker = world.run("w1", &Streams::new(["orders", "payments"]));
    world.journal.processed(10).await;
    let unavailable = |event: &Event| matches!(event, Event::StreamUnavailable { stream, .. } if stream == "payments");
    eventually("it is reported", || world.events.count(unavailable) > 0).await;

    world.create("payments").await;
    world.put("payments", 10..20).await;
    world.journal.processed(20).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_starts_although_kinesis_refuses_to_describe_its_streams_for_a_while() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("orders", 0..10).await;
    world.put("payments", 10..20).await;
    world.local.faults().on("kinesis:DescribeStreamSummary").times(20).throttle();
    let worker = world.run("w1", &Streams::new(["orders", "payments"]));
    world.journal.processed(20).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_none_of_whose_streams_exists_says_so() {
    let world = World::with(&[]).await;
    let ended =
        world.worker("w1", &Streams::new(["orders"])).build(|_: &kcl::ShardContext| -> Nobody { unreachable!() });
    let error = ended.unwrap().run().await.unwrap_err();
    assert!(matches!(&error, WorkerError::StreamNotFound { stream, .. } if stream == "orders"), "{error}");
}

struct Nobody;

impl kcl::RecordProcessor for Nobody {
    type Error = kcl::BoxError;

    async fn process_records(&mut self, _: kcl::RecordBatch, _: &kcl::Checkpointer) -> Result<(), kcl::BoxError> {
        unreachable!("no worker starts")
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_stream_is_read_as_long_as_its_leases_are_kept() {
    let world = World::with(&["orders", "payments"]).await;
    let streams = Streams::new(["orders", "payments"]);
    let worker = world.run("w1", &streams);
    world.until_leases("both have leases", |leases| leases.len() == 4).await;
    assert!(streams.remove("payments"));
    sleep(Duration::from_secs(300)).await;

    world.put("payments", 0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();

    // A worker that never heard of it takes over: a new list is being rolled out.
    let other = world.run("w2", &streams);
    world.put("payments", 10..20).await;
    world.journal.processed(20).await;
    let told = |event: &Event| matches!(event, Event::StreamNotListed { stream_id } if stream_id.name() == "payments");
    assert_eq!(world.events.count(told), 1);
    assert_eq!(world.leases().await.len(), 4);
    other.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_former_stream_are_deleted_after_the_wait_and_its_processors_end() {
    let world = World::with(&["orders", "payments"]).await;
    let wait = Duration::from_secs(60);
    let streams = Streams::new(["orders", "payments"]).former_streams(FormerStreams::DeleteAfter(wait));
    let worker = world.run("w1", &streams);
    world.until_leases("both have leases", |leases| leases.len() == 4).await;
    streams.remove("payments");

    sleep(wait - Duration::from_secs(5)).await;
    assert_eq!(world.leases().await.len(), 4, "not before the wait");
    world.until_leases("they are deleted", |leases| leases.len() == 2).await;
    let lost = || world.journal.entries().iter().filter(|entry| entry.call == Call::LeaseLost).count();
    eventually("its processors end", || lost() == 2).await;
    let deleted = |event: &Event| matches!(event, Event::FormerStreamDeleted { stream_id, shards } if stream_id.name() == "payments" && shards.len() == 2);
    assert_eq!(world.events.count(deleted), 1);

    world.put("orders", 0..10).await;
    world.journal.processed(10).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_described_keeps_its_leases() {
    let world = World::with(&["orders", "payments"]).await;
    let streams = Streams::new(["orders", "payments"]).former_streams(FormerStreams::DeleteAfter(Duration::ZERO));
    let worker = world.run("w1", &streams);
    world.until_leases("both have leases", |leases| leases.len() == 4).await;
    worker.stop().await.unwrap();

    // The next worker learns the id of one stream alone.
    world.local.faults().on("kinesis:DescribeStreamSummary").call(2).refuse(400, "AccessDeniedException", "not now");
    let second = world.run("w2", &streams);
    let refused = |event: &Event| matches!(event, Event::StreamUnavailable { .. });
    eventually("one stream is refused", || world.events.count(refused) > 0).await;
    world.local.deny("kinesis:DescribeStreamSummary");
    eventually("it leads", || world.events.count(|event| *event == Event::LeaderGained) == 2).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.leases().await.len(), 4);
    world.local.allow("kinesis:DescribeStreamSummary");
    world.put("payments", 0..10).await;
    world.journal.processed(10).await;
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_created_again_starts_anew_under_another_id() {
    let world = World::with(&["orders"]).await;
    let wait = Duration::from_secs(300);
    let streams = Streams::new(["orders"]).former_streams(FormerStreams::DeleteAfter(wait));
    let worker = world.run("w1", &streams);
    world.put("orders", 0..10).await;
    world.journal.processed(10).await;
    let before = world.id("orders").await;

    world.delete("orders").await;
    sleep(Duration::from_secs(2)).await;
    world.create("orders").await;
    world.put("orders", 10..20).await;
    world.journal.processed(20).await;

    let after = world.id("orders").await;
    assert_ne!(before, after);
    let new = world.journal.entries().into_iter().filter(|entry| entry.stream_id == after);
    assert_eq!(new.flat_map(|entry| entry.keys).count(), 10, "once, under the new id");
    sleep(Duration::from_secs(60)).await;
    let released = |event: &Event| matches!(event, Event::LeaseReleased { stream_id, .. } if *stream_id == before);
    assert!(world.events.count(released) > 0, "{:?}", world.events.all());
    sleep(wait).await;
    let prefix = before.to_string();
    world.until_leases("the old leases are gone", |leases| leases.keys().all(|key| !key.starts_with(&prefix))).await;
    worker.stop().await.unwrap();
}

/// A fleet of two workers, and leases of `payments` that nobody can read: it was created again while no worker ran, or it
/// is gone.
async fn fleet_beside_lost_leases(created_again: bool, lists_it: bool) -> (World, Vec<Running>) {
    let world = World::with(&["orders", "payments"]).await;
    let both = Streams::new(["orders", "payments"]);
    let before = ["a1", "a2"].map(|id| world.run(id, &both));
    world.put("orders", 0..10).await;
    world.put("payments", 10..20).await;
    world.journal.processed(20).await;
    for worker in before {
        worker.stop().await.expect("worker stops in good order");
    }
    world.delete("payments").await;
    sleep(Duration::from_secs(2)).await;
    if created_again {
        world.create("payments").await;
    }
    let streams = if lists_it { both } else { Streams::new(["orders"]) };
    let workers = ["b1", "b2"].map(|id| world.run(id, &streams));
    (world, workers.into())
}

#[tokio::test(start_paused = true)]
async fn leases_that_no_worker_can_read_disturb_nobody() {
    for (created_again, lists_it) in [(true, true), (false, true), (false, false)] {
        let (world, workers) = fleet_beside_lost_leases(created_again, lists_it).await;
        let what = format!("created again: {created_again}, listed: {lists_it}, {:?}", world.events.all());
        let leases = if created_again { 6 } else { 4 };
        world.until_leases("all have leases", |found| found.len() == leases).await;
        // What was assigned before the leader knew is given up within this time.
        sleep(Duration::from_secs(90)).await;
        let moves = |event: &Event| {
            matches!(event, Event::HandoffRequested { .. } | Event::LeaseTaken { .. } | Event::LeaseLost { .. })
        };
        let (moved, reads) =
            (world.events.count(moves), world.local.faults().on("dynamodb:GetItem").delay(Duration::ZERO));

        sleep(Duration::from_secs(180)).await;

        assert_eq!(world.events.count(moves), moved, "{what}");
        // Both workers look whether their item is theirs, once a second, and the follower at the leader's lock.
        assert!(reads.count() < 180 * 35 / 10, "{} reads, {what}", reads.count());
        let unavailable =
            |event: &Event| matches!(event, Event::StreamUnavailable { stream, .. } if stream.contains(":payments:"));
        assert_eq!(world.events.count(unavailable), 1, "{what}");
        let stalled = |event: &Event| matches!(event, Event::ShardStalled { .. });
        assert_eq!(world.events.count(stalled), 0, "{what}");
        world.put("orders", 20..30).await;
        eventually("orders is read", || world.processed()["orders"].len() == 20).await;
        for worker in workers {
            worker.stop().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_for_each_shard_knows_its_stream() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("orders", 0..10).await;
    world.put("payments", 10..20).await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let worker = world.worker("w1", &Streams::new(["orders", "payments"])).build_for_each_shard(
        kcl::CheckpointEvery::default(),
        {
            let seen = seen.clone();
            move |shard: &kcl::ShardContext| {
                let (stream, seen) = (shard.stream_id.name().to_owned(), seen.clone());
                move |record: kcl::Record| {
                    seen.lock().expect("nobody panics").insert((stream.clone(), integration_tests::id_of(&record)));
                    async { Ok::<(), kcl::BoxError>(()) }
                }
            }
        },
    );
    let running = worker.unwrap().start();
    eventually("all are seen", || seen.lock().unwrap().len() == 20).await;
    running.stop().await.unwrap();
    let expected = (0..20).map(|id| (if id < 10 { "orders" } else { "payments" }.to_owned(), id)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_its_own_consumer_under_fan_out() {
    let world = World::with(&["orders", "payments"]).await;
    world.put("orders", 0..10).await;
    world.put("payments", 10..20).await;
    let reads = world.local.faults().on("kinesis:GetRecords").delay(Duration::ZERO);
    let streams = Streams::new(["orders", "payments"]);
    let builder = world.worker("w1", &streams).retrieval(Retrieval::FanOut(FanOut::new()));
    let worker = world.start(builder.clone());
    world.journal.processed(20).await;
    assert_eq!(reads.count(), 0);
    let registered = |event: &Event| matches!(event, Event::ConsumerRegistered { .. });
    assert_eq!(world.events.count(registered), 2);
    worker.stop().await.unwrap();
    assert!(builder.deregister_consumer().await.unwrap());
    assert!(!builder.deregister_consumer().await.unwrap(), "both are gone");
}

#[tokio::test(start_paused = true)]
async fn a_table_of_one_stream_is_not_taken_for_one_of_several_nor_the_other_way_round() {
    let one = TestStream::start(1).await;
    let journal = Journal::default();
    let worker = one.run("w1", &journal);
    one.put(0..1).await;
    journal.processed(1).await;
    worker.stop().await.unwrap();
    let several = Streams::new([integration_tests::STREAM]);
    let refused = Worker::builder(&one.aws, APPLICATION, several).build(|_: &kcl::ShardContext| -> Nobody { Nobody });
    let error = refused.unwrap().run().await.unwrap_err();
    assert!(error.to_string().contains("application of one stream, and this one is of several"), "{error}");

    let world = World::with(&["orders"]).await;
    let worker = world.run("w1", &Streams::new(["orders"]));
    world.until_leases("orders has leases", |leases| leases.len() == 2).await;
    worker.stop().await.unwrap();
    let refused =
        Worker::builder(&world.local.sdk_config(), APPLICATION, "orders").build(|_: &kcl::ShardContext| Nobody);
    let error = refused.unwrap().run().await.unwrap_err();
    assert!(error.to_string().contains("application of several streams, and this one is of one"), "{error}");
}
