//! Records that the stream still retains are read although retention has cut leases off from the shards that follow theirs, whatever
//! the initial position; once, and nothing from before the application's first start.

use std::time::Duration;

use integration_tests::{STREAM, World, history};
use kcl::{InitialPosition, Streams, WorkerBuilder};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A stream of two shards with a past, and how its workers are built.
struct Past {
    world: World,
    position: InitialPosition,
    is_one_of_several: bool,
    next: u64,
}

impl Past {
    /// One for each way to start: at LATEST, at a time, at LATEST with several streams.
    async fn all() -> [Self; 3] {
        let mut pasts = [Self::new(false).await, Self::new(false).await, Self::new(true).await];
        pasts[1].position = InitialPosition::AtTimestamp(history::now(&pasts[1].world, 1_000_000).await);
        pasts
    }

    async fn new(is_one_of_several: bool) -> Self {
        let world = World::start(2).await;
        // Before the application's first start.
        world.put(500_000..500_100).await;
        sleep(HOUR).await;
        Self { world, position: InitialPosition::Latest, is_one_of_several, next: 0 }
    }

    fn worker(&self) -> WorkerBuilder {
        let builder = match self.is_one_of_several {
            true => self.world.multi_worker("w1", &Streams::new([STREAM])),
            false => self.world.worker("w1"),
        };
        builder.initial_position(self.position)
    }

    /// Puts another 100 records.
    async fn put(&mut self) {
        self.world.put(self.next..self.next + 100).await;
        self.next += 100;
    }

    /// A worker reads all there is, and nothing else.
    async fn run(&mut self) {
        let worker = self.world.spawn(self.worker());
        self.world.settled().await;
        self.put().await;
        self.world.settled().await;
        worker.stop().await.expect("worker stops in good order");
        let mut ids = history::numbers(&self.world.journal);
        ids.sort_unstable();
        assert_eq!(ids, (0..self.next).collect::<Vec<_>>(), "{:?}", self.position);
    }

    async fn come_back_beyond_the_retention(&mut self) {
        sleep(25 * HOUR).await;
        self.put().await;
        self.run().await;
    }

    async fn split_all(&self) {
        for shard in self.world.open_shards().await {
            self.world.split(&shard).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_trimmed_parents_are_read_from_their_beginning() {
    for mut past in Past::all().await {
        past.run().await;
        past.split_all().await;
        past.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_whole_ancestry_was_trimmed_are_read_from_their_beginning() {
    for mut past in Past::all().await {
        past.run().await;
        past.split_all().await;
        past.world.merge_neighbours().await;
        past.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn generations_that_retention_left_are_read_in_full() {
    for mut past in Past::all().await {
        past.run().await;
        past.split_all().await;
        past.split_all().await;
        sleep(13 * HOUR).await;
        past.put().await;
        past.world.merge_neighbours().await;
        past.split_all().await;
        sleep(13 * HOUR).await;
        past.put().await;
        past.run().await;
        assert!(past.world.journal.keys_out_of_order().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_of_which_one_parent_has_no_lease_is_read_from_its_beginning() {
    for mut past in Past::all().await {
        past.run().await;
        let leases = past.world.table().leases().await;
        let key =
            leases.iter().map(|lease| lease["leaseKey"].as_s().unwrap()).find(|key| key.ends_with("000000000001"));
        past.world.table().delete(key.unwrap()).await;
        past.world.merge_neighbours().await;
        past.come_back_beyond_the_retention().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_first_start_reads_nothing_from_before_it() {
    let mut past = Past::new(false).await;
    past.split_all().await;
    past.world.put(500_100..500_200).await;
    let worker = past.world.spawn(past.worker());
    past.world.settled().await;
    worker.stop().await.expect("worker stops in good order");
    let open = past.world.open_shards().await;
    past.world.table().put_lease(&open[0], "LATEST", None).await;
    for shard in &open[1..] {
        past.world.table().delete(shard).await;
    }

    past.run().await;
}
