//! Records that the stream still retains are read although retention has cut leases off from the shards that follow theirs, whatever
//! the initial position; once, and nothing from before the application's first start.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use integration_tests::{APPLICATION, Journal, Running, STREAM, TestStream, history};
use kcl::{InitialPosition, Streams, Worker, WorkerBuilder};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A stream of two shards with a past, and how its workers are built.
struct World {
    stream: TestStream,
    journal: Journal,
    position: InitialPosition,
    is_one_of_several: bool,
    next: u64,
}

impl World {
    /// One for each way to start: at LATEST, at a time, at LATEST with several streams.
    async fn all() -> [Self; 3] {
        let mut worlds = [Self::new(false).await, Self::new(false).await, Self::new(true).await];
        worlds[1].position = InitialPosition::AtTimestamp(history::now(&worlds[1].stream, 1_000_000).await);
        worlds
    }

    async fn new(is_one_of_several: bool) -> Self {
        let (stream, journal) = (TestStream::start(2).await, Journal::default());
        // Before the application's first start.
        stream.put(500_000..500_100).await;
        sleep(HOUR).await;
        Self { stream, journal, position: InitialPosition::Latest, is_one_of_several, next: 0 }
    }

    fn worker(&self) -> WorkerBuilder {
        let builder = match self.is_one_of_several {
            true => Worker::builder(&self.stream.aws, APPLICATION, Streams::new([STREAM])).worker_id("w1"),
            false => self.stream.worker("w1"),
        };
        builder.initial_position(self.position)
    }

    /// Puts another 100 records.
    async fn put(&mut self) {
        self.stream.put(self.next..self.next + 100).await;
        self.next += 100;
    }

    /// A worker reads all there is, and nothing else.
    async fn run(&mut self) {
        let worker = Running::start(self.worker(), &self.journal, |journal, shard| journal.processor(shard));
        sleep(Duration::from_secs(15)).await;
        self.put().await;
        sleep(Duration::from_secs(30)).await;
        worker.stop().await.expect("worker stops in good order");
        let mut ids = history::numbers(&self.journal);
        ids.sort_unstable();
        assert_eq!(ids, (0..self.next).collect::<Vec<_>>(), "{:?}", self.position);
    }

    async fn come_back_beyond_the_retention(&mut self) {
        sleep(25 * HOUR).await;
        self.put().await;
        self.run().await;
    }

    async fn split_all(&self) {
        for shard in self.stream.open_shards().await {
            self.stream.split(&shard).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_trimmed_parents_are_read_from_their_beginning() {
    for mut world in World::all().await {
        world.run().await;
        world.split_all().await;
        world.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_whole_ancestry_was_trimmed_are_read_from_their_beginning() {
    for mut world in World::all().await {
        world.run().await;
        world.split_all().await;
        world.stream.merge_neighbours().await;
        world.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn generations_that_retention_left_are_read_in_full() {
    for mut world in World::all().await {
        world.run().await;
        world.split_all().await;
        world.split_all().await;
        sleep(13 * HOUR).await;
        world.put().await;
        world.stream.merge_neighbours().await;
        world.split_all().await;
        sleep(13 * HOUR).await;
        world.put().await;
        world.run().await;
        assert!(world.journal.keys_out_of_order().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_of_which_one_parent_has_no_lease_is_read_from_its_beginning() {
    for mut world in World::all().await {
        world.run().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&world.stream.aws);
        let leases = dynamodb.scan().table_name(APPLICATION).send().await.unwrap();
        let lease = leases.items().iter().find(|item| item["leaseKey"].as_s().unwrap().ends_with("000000000001"));
        let delete = dynamodb.delete_item().table_name(APPLICATION).key("leaseKey", lease.unwrap()["leaseKey"].clone());
        delete.send().await.unwrap();
        world.stream.merge_neighbours().await;
        world.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_first_start_reads_nothing_from_before_it() {
    let mut world = World::new(false).await;
    world.split_all().await;
    world.stream.put(500_100..500_200).await;
    let worker = Running::start(world.worker(), &world.journal, |journal, shard| journal.processor(shard));
    sleep(Duration::from_secs(2)).await;
    worker.stop().await.expect("worker stops in good order");
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.stream.aws);
    for (index, shard) in world.stream.open_shards().await.into_iter().enumerate() {
        let key = AttributeValue::S(shard);
        if index > 0 {
            dynamodb.delete_item().table_name(APPLICATION).key("leaseKey", key).send().await.unwrap();
            continue;
        }
        let number = AttributeValue::N("0".to_owned());
        let put =
            dynamodb.put_item().table_name(APPLICATION).item("leaseKey", key).item("leaseCounter", number.clone());
        let put = put.item("checkpoint", AttributeValue::S("LATEST".to_owned()));
        let put = put.item("ownerSwitchesSinceCheckpoint", number.clone());
        put.item("checkpointSubSequenceNumber", number).send().await.unwrap();
    }

    world.run().await;
}
