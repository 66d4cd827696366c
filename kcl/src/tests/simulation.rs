//! Whole fleets under virtual time, on a lease table in memory and a stream without records.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_types::SdkConfig;
use futures::future::{BoxFuture, FutureExt as _, ready};
use kpl::{HashKey, HashKeyRange, ShardId};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpointer::Checkpointer,
    error::{BoxError, KinesisError, WorkerError},
    event::Event,
    kinesis::{FanOutConsumer, Kinesis, Records, StreamDescription, Subscription},
    locked::locked,
    model::{InitialPosition, Lease, Polling, RecordBatch, Renewals, Shard, StartAt, StreamIdentity},
    processor::{RecordProcessor, ShardContext},
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

/// A stream whose shards never have records.
#[derive(Debug)]
pub(super) struct QuietStream {
    shards: Vec<Shard>,
    created: AtomicU64,
    /// Reads by shard, if they are noted.
    reads: Option<Mutex<BTreeMap<String, Vec<Instant>>>>,
}

impl QuietStream {
    pub(super) fn new(shards: u32) -> Self {
        let width = u128::MAX / u128::from(shards);
        let shard = |index: u32| {
            let start = u128::from(index) * width;
            let end = if index + 1 == shards { u128::MAX } else { start + width - 1 };
            Shard {
                id: ShardId::from(format!("shardId-{index:012}")),
                parents: Vec::new(),
                hash_key_range: HashKeyRange { start: HashKey(start), end: HashKey(end) },
                starting_sequence_number: "1".parse().unwrap(),
                ending_sequence_number: None,
            }
        };
        Self { shards: (0..shards).map(shard).collect(), created: AtomicU64::new(1), reads: None }
    }

    /// One that notes when each shard is read.
    pub(super) fn noting(shards: u32) -> Self {
        Self { reads: Some(Mutex::default()), ..Self::new(shards) }
    }

    /// The times of the reads of each shard since the last call.
    pub(super) fn take_reads(&self) -> Vec<Vec<Instant>> {
        let reads = self.reads.as_ref().map(|reads| std::mem::take(&mut *locked(reads)));
        reads.unwrap_or_default().into_values().collect()
    }

    /// Another stream has the name from now on.
    pub(super) fn create_again(&self) {
        self.created.fetch_add(1, Ordering::SeqCst);
    }
}

impl Kinesis for QuietStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, KinesisError>> {
        let created_seconds = self.created.load(Ordering::SeqCst);
        let identity = StreamIdentity { arn: "arn".to_owned(), created_seconds };
        ready(Ok(StreamDescription { active: true, identity })).boxed()
    }

    fn list_shards<'a>(
        &'a self,
        _position: Option<&'a InitialPosition>,
    ) -> BoxFuture<'a, Result<Vec<Shard>, KinesisError>> {
        ready(Ok(self.shards.clone())).boxed()
    }

    fn shard_iterator<'a>(
        &'a self,
        shard: &'a ShardId,
        _start: &'a StartAt,
    ) -> BoxFuture<'a, Result<String, KinesisError>> {
        ready(Ok(shard.to_string())).boxed()
    }

    fn get_records<'a>(&'a self, iterator: &'a str, _limit: i32) -> BoxFuture<'a, Result<Records, KinesisError>> {
        if let Some(reads) = &self.reads {
            locked(reads).entry(iterator.to_owned()).or_default().push(Instant::now());
        }
        let next_iterator = Some(iterator.to_owned());
        let behind_latest = Some(Duration::ZERO);
        ready(Ok(Records { records: Vec::new(), next_iterator, children: Vec::new(), behind_latest })).boxed()
    }

    fn find_consumer<'a>(
        &'a self,
        _stream_arn: &'a str,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Option<FanOutConsumer>, KinesisError>> {
        unreachable!("these fleets poll")
    }

    fn register_consumer<'a>(
        &'a self,
        _stream_arn: &'a str,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<FanOutConsumer, KinesisError>> {
        unreachable!("these fleets poll")
    }

    fn deregister_consumer<'a>(&'a self, _consumer_arn: &'a str) -> BoxFuture<'a, Result<(), KinesisError>> {
        unreachable!("these fleets poll")
    }

    fn subscribe<'a>(
        &'a self,
        _consumer_arn: &'a str,
        _shard: &'a ShardId,
        _start: &'a StartAt,
    ) -> BoxFuture<'a, Result<Subscription, KinesisError>> {
        unreachable!("these fleets poll")
    }
}

pub(super) struct Idle;

impl RecordProcessor for Idle {
    type Error = BoxError;

    async fn process_records(&mut self, _batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Workers of one application.
pub(super) struct Fleet {
    aws: SdkConfig,
    stream: Arc<QuietStream>,
    pub(super) table: MemoryLeaseTable,
    workers: BTreeMap<String, JoinHandle<Result<(), WorkerError>>>,
    stops: BTreeMap<String, CancellationToken>,
    /// Events of workers, in their order.
    happened: Arc<Mutex<Vec<Event>>>,
}

impl Fleet {
    pub(super) fn new(shards: u32) -> Self {
        Self::of(super::without_services(), shards)
    }

    pub(super) fn of(aws: SdkConfig, shards: u32) -> Self {
        let (stream, table) = (Arc::new(QuietStream::new(shards)), MemoryLeaseTable::default());
        let (workers, stops, happened) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        Self { aws, stream, table, workers, stops, happened }
    }

    pub(super) fn start(&mut self, numbers: std::ops::Range<usize>) {
        self.start_renewing(Renewals::EachLease, numbers);
    }

    pub(super) fn start_renewing(&mut self, renewals: Renewals, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let id = format!("worker-{number:03}");
            let happened = Arc::clone(&self.happened);
            let builder = Worker::builder(&self.aws, "application", "stream").renewals(renewals);
            let builder = builder.worker_id(&id).retrieval(Polling::new().idle_between_reads(Duration::from_secs(60)));
            let builder = builder.on_event(move |event| locked(&happened).push(event.clone()));
            let (settings, events, catalog) = builder.into_parts_on(self.stream.clone());
            let factory = |_: &ShardContext| Idle;
            let worker = Worker::new(settings, events, catalog, self.table.clone().into(), factory);
            let stop = CancellationToken::new();
            self.workers.insert(id.clone(), tokio::spawn(worker.run_until(stop.clone().cancelled_owned())));
            self.stops.insert(id, stop);
        }
    }

    /// Stops a worker in good order.
    pub(super) async fn stop(&mut self, id: &str) {
        self.stops[id].cancel();
        self.workers.remove(id).expect("worker runs").await.unwrap().unwrap();
    }

    /// Takes what happened since.
    pub(super) fn happened(&self) -> Vec<Event> {
        std::mem::take(&mut locked(&self.happened))
    }

    /// A random worker's id.
    pub(super) fn anyone(&self, random: &mut fastrand::Rng) -> Option<String> {
        let at = random.usize(..self.workers.len().max(1));
        self.workers.keys().nth(at).cloned()
    }

    pub(super) fn kill(&mut self, id: &str) {
        self.workers.remove(id).expect("worker runs").abort();
    }

    /// Workers come, by `start` with their numbers, and die, with random pauses up to `pause` in between. The next number.
    pub(super) async fn come_and_die(
        &mut self,
        random: &mut fastrand::Rng,
        pause: Duration,
        mut start: impl FnMut(&mut Self, std::ops::Range<usize>),
    ) -> usize {
        let mut next = 0;
        for _ in 0..random.usize(1..12) {
            if random.u32(..3) == 0 {
                if let Some(id) = self.anyone(random) {
                    self.kill(&id);
                }
            } else {
                let count = random.usize(1..4);
                start(self, next..next + count);
                next += count;
            }
            sleep(pause.mul_f64(random.f64())).await;
        }
        next
    }

    pub(super) async fn leases(&self) -> Vec<Lease> {
        self.table.scan().await.unwrap().leases
    }

    /// Fewest and most leases that a living worker holds, None while leases are unowned, dead or in handoff.
    pub(super) async fn balance(&self) -> Option<(usize, usize)> {
        let mut loads: BTreeMap<&str, usize> = self.workers.keys().map(|id| (id.as_str(), 0)).collect();
        let leases = self.leases().await;
        for lease in &leases {
            let owner = lease.owner.as_ref().filter(|_| !lease.in_handoff())?;
            *loads.get_mut(owner.as_str())? += 1;
        }
        (!leases.is_empty()).then_some((*loads.values().min()?, *loads.values().max()?))
    }

    /// Waits until loads differ by at most one, and says how long that took.
    pub(super) async fn balanced(&self, within: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            if let Some((fewest, most)) = self.balance().await
                && most - fewest <= 1
            {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < within, "not balanced within {within:?}: {:?}", self.balance().await);
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_fleet_balances_from_cold_and_after_a_third_of_it_dies() {
    let mut fleet = Fleet::new(10_000);
    fleet.start(0..200);
    let cold = fleet.balanced(Duration::from_secs(120)).await;
    assert_eq!(fleet.balance().await, Some((50, 50)));

    // The leader among them, whoever it is.
    let leader = fleet.table.get_lock().await.unwrap().expect("somebody leads").owner;
    let mut dead: Vec<String> = fleet.workers.keys().filter(|id| **id != *leader.as_str()).take(65).cloned().collect();
    dead.push(leader.as_str().to_owned());
    dead.iter().for_each(|id| fleet.kill(id));
    let after_deaths = fleet.balanced(Duration::from_secs(120)).await;

    println!("10,000 leases, 200 workers: balanced {cold:?} after the start, {after_deaths:?} after 66 deaths");
}

#[tokio::test(start_paused = true)]
async fn gives_a_worker_that_joins_its_share_and_then_moves_nothing() {
    let mut fleet = Fleet::new(30);
    fleet.start(0..2);
    fleet.balanced(Duration::from_secs(60)).await;

    fleet.start(2..3);
    fleet.balanced(Duration::from_secs(60)).await;

    let owners = |leases: Vec<Lease>| leases.into_iter().map(|lease| lease.owner).collect::<Vec<_>>();
    let before = owners(fleet.leases().await);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(owners(fleet.leases().await), before);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_fleet_writes_no_more_per_lease_than_javas() {
    const JAVA_RENEWAL: f64 = 3.308;
    const JAVA_REPORT: f64 = 30.0;
    let (leases, workers) = (100, 4);
    let mut fleet = Fleet::new(leases);
    fleet.start(0..workers);
    fleet.balanced(Duration::from_secs(60)).await;

    let (before, begun) = (fleet.table.writes(), Instant::now());
    sleep(Duration::from_secs(3600)).await;

    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let per_second = (fleet.table.writes() - before) as f64 / begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let java = f64::from(leases) / JAVA_RENEWAL + workers as f64 / JAVA_REPORT + 1.0 / JAVA_REPORT;
    println!("{per_second:.2} writes a second for {leases} leases of {workers} workers; Java {java:.2}");
    assert!(per_second <= java, "{per_second} writes a second, Java {java}");
}

#[tokio::test(start_paused = true)]
async fn fleets_whose_workers_come_and_die_at_random_end_up_balanced() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fleet = Fleet::new(random.u32(1..40));
        let next = fleet.come_and_die(&mut random, Duration::from_secs(30), Fleet::start).await;
        fleet.start(next..next + 1); // somebody lives
        fleet.balanced(Duration::from_secs(120)).await;
        println!("seed {seed}: {} leases, {} workers", fleet.leases().await.len(), fleet.workers.len());
    }
}
