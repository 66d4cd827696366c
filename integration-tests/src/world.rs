//! A world for one test: an embedded AWS with a stream, and the log of what its workers do.

use std::{num::NonZero, ops::Range, time::Duration};

use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};
use aws_types::SdkConfig;
use kcl::{Checkpoint, FleetStatus, InitialPosition, Renewals, Streams, Worker, WorkerBuilder};
use kinesis_local::{Fault, LocalAws};
use kpl::{Producer, RecordNumber, aggregated::Aggregate};
use tokio::{task::JoinHandle, time::sleep};

use crate::{APPLICATION, EventLog, Journal, Running, STREAM, Table, number, settled, text, until, user_record};

/// An embedded AWS with a stream, its clients, and the log of its workers. Clones share all of it.
#[derive(Debug, Clone)]
pub struct World {
    /// The embedded AWS.
    pub local: LocalAws,
    /// The configuration of its clients.
    pub aws: SdkConfig,
    /// A client of its Kinesis.
    pub kinesis: Client,
    /// Calls of the processors of [`World::run`] and [`World::spawn`].
    pub journal: Journal,
    /// Events of the workers of [`World::worker`].
    pub events: EventLog,
}

impl World {
    /// A world whose stream has `shards` shards.
    pub async fn start(shards: i32) -> Self {
        Self::on(LocalAws::start().await, shards).await
    }

    /// Such a world on an embedded AWS with settings of its own.
    pub async fn on(local: LocalAws, shards: i32) -> Self {
        let world = Self::without_stream(local);
        world.create(STREAM, shards).await;
        world
    }

    /// A world in which no stream exists yet.
    pub fn without_stream(local: LocalAws) -> Self {
        let aws = local.sdk_config();
        let kinesis = Client::new(&aws);
        Self { local, aws, kinesis, journal: Journal::default(), events: EventLog::default() }
    }

    /// Creates a stream.
    pub async fn create(&self, stream: &str, shards: i32) {
        self.kinesis.create_stream().stream_name(stream).shard_count(shards).send().await.expect("stream is new");
    }

    /// Deletes a stream with its consumers, and waits until it is gone.
    pub async fn delete(&self, stream: &str) {
        let delete = self.kinesis.delete_stream().stream_name(stream).enforce_consumer_deletion(true);
        delete.send().await.expect("stream exists");
        let describe = || self.kinesis.describe_stream_summary().stream_name(stream);
        until("the stream is gone", String::new, async || {
            let described = describe().send().await;
            described.is_err_and(|error| {
                error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception())
            })
        })
        .await;
    }

    /// Deletes the stream with its consumers, and creates another of that name with `shards` shards, at least a second
    /// later.
    pub async fn recreate(&self, shards: i32) {
        let delete = self.kinesis.delete_stream().stream_name(STREAM).enforce_consumer_deletion(true);
        delete.send().await.expect("stream exists");
        loop {
            sleep(Duration::from_secs(1)).await;
            match self.kinesis.create_stream().stream_name(STREAM).shard_count(shards).send().await {
                Ok(_) => break,
                Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {}
                Err(error) => panic!("stream cannot be created anew: {error:?}"),
            }
        }
    }

    /// Puts plain records numbered `ids` under 100 partition keys: number `id` has the key `key-{id % 100}`.
    pub async fn put(&self, ids: Range<u64>) {
        self.put_to(STREAM, ids).await;
    }

    /// Puts such records into a stream of that name.
    pub async fn put_to(&self, stream: &str, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for ids in ids.chunks(500) {
            let entry = |id: &u64| {
                PutRecordsRequestEntry::builder()
                    .partition_key(format!("key-{}", id % 100))
                    .data(Blob::new(id.to_string()))
                    .build()
                    .expect("key and data are set")
            };
            let put = self.kinesis.put_records().stream_name(stream);
            let answer = put.set_records(Some(ids.iter().map(entry).collect())).send().await.expect("put succeeds");
            assert_eq!(answer.failed_record_count(), Some(0));
        }
    }

    /// Puts `count` records each `pause` until the task is aborted, numbered from 0.
    pub fn keep_putting(&self, count: u64, pause: Duration) -> JoinHandle<()> {
        let world = self.clone();
        tokio::spawn(async move {
            for round in 0.. {
                world.put(round * count..(round + 1) * count).await;
                sleep(pause).await;
            }
        })
    }

    /// Puts user records numbered `ids` as one aggregate, and returns its bytes.
    pub async fn put_aggregate(&self, ids: Range<u64>) -> Vec<u8> {
        let mut aggregate = Aggregate::new();
        ids.for_each(|id| aggregate.push(user_record(id)));
        let data: Vec<u8> = aggregate.encode().into();
        self.put_data(data.clone()).await;
        data
    }

    /// Puts user records numbered `ids` as one aggregate, as a producer does that gave them these numbers.
    pub async fn put_numbered(&self, ids: Range<u64>) {
        let mut aggregate = Aggregate::new();
        ids.for_each(|id| aggregate.push_numbered(user_record(id), RecordNumber::new(NonZero::<u64>::MIN, id)));
        self.put_data(aggregate.encode().into()).await;
    }

    /// Puts these data under one partition key, and returns their sequence number.
    pub async fn put_data(&self, data: Vec<u8>) -> String {
        let put = self.kinesis.put_record().stream_name(STREAM).partition_key("key-0").data(Blob::new(data));
        put.send().await.expect("put succeeds").sequence_number
    }

    /// A producer with default settings.
    pub fn producer(&self) -> Producer {
        Producer::builder(&self.aws, STREAM).build().expect("settings are right")
    }

    /// The stream's ARN.
    pub async fn arn(&self) -> String {
        let described = self.kinesis.describe_stream_summary().stream_name(STREAM).send().await.expect("stream exists");
        described.stream_description_summary().expect("answer is whole").stream_arn().to_owned()
    }

    /// Ids of the shards that take records now.
    pub async fn open_shards(&self) -> Vec<String> {
        self.open_ranges().await.into_iter().map(|(_, _, shard_id)| shard_id).collect()
    }

    /// First and last hash key and id of the shards that take records now.
    async fn open_ranges(&self) -> Vec<(u128, u128, String)> {
        let listed = self.kinesis.list_shards().stream_name(STREAM).send().await.expect("stream exists");
        let open = listed.shards().iter().filter(|shard| {
            shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
        });
        let bound = |text: &str| text.parse().expect("hash keys are numbers");
        open.map(|shard| {
            let range = shard.hash_key_range().expect("shard has a range");
            (bound(range.starting_hash_key()), bound(range.ending_hash_key()), shard.shard_id().to_owned())
        })
        .collect()
    }

    /// Lets the stream take records of this size.
    pub async fn take_records_of(&self, kib: i32) {
        let update = self.kinesis.update_max_record_size().stream_arn(self.arn().await);
        update.max_record_size_in_kib(kib).send().await.expect("record size can be updated");
    }

    /// Splits an open shard in the middle.
    pub async fn split(&self, shard_id: &str) {
        let open = self.open_ranges().await;
        let (start, end, _) = open.iter().find(|(_, _, id)| id == shard_id).expect("shard is open");
        let split = self.kinesis.split_shard().stream_name(STREAM).shard_to_split(shard_id);
        let middle = start.midpoint(*end) + 1;
        split.new_starting_hash_key(middle.to_string()).send().await.expect("shard can be split");
    }

    /// Merges the first two open shards that lie side by side.
    pub async fn merge_neighbours(&self) {
        let mut open = self.open_ranges().await;
        open.sort();
        let neighbours = open.windows(2).find(|pair| pair[0].1 + 1 == pair[1].0).expect("open shards cover the space");
        self.merge(&neighbours[0].2, &neighbours[1].2).await;
    }

    /// Merges two adjacent open shards.
    pub async fn merge(&self, shard_id: &str, adjacent: &str) {
        let merge = self.kinesis.merge_shards().stream_name(STREAM).shard_to_merge(shard_id);
        merge.adjacent_shard_to_merge(adjacent).send().await.expect("shards can be merged");
    }

    /// A worker that starts at the oldest record, and logs its events.
    pub fn worker(&self, worker_id: &str) -> WorkerBuilder {
        Worker::builder(&self.aws, APPLICATION, STREAM)
            .worker_id(worker_id)
            .renewals(renewals())
            .initial_position(InitialPosition::TrimHorizon)
            .on_event(self.events.handler())
    }

    /// Such a worker of an application of several streams.
    pub fn multi_worker(&self, worker_id: &str, streams: &Streams) -> WorkerBuilder {
        Worker::builder(&self.aws, APPLICATION, streams.clone())
            .worker_id(worker_id)
            .renewals(renewals())
            .initial_position(InitialPosition::TrimHorizon)
            .on_event(self.events.handler())
    }

    /// Runs a worker of the stream with processors that log their calls.
    pub fn run(&self, worker_id: &str) -> Running {
        self.spawn(self.worker(worker_id))
    }

    /// Runs this worker with processors that log their calls.
    pub fn spawn(&self, worker: WorkerBuilder) -> Running {
        Running::noting(worker, &self.journal)
    }

    /// The lease table.
    pub fn table(&self) -> Table {
        Table::new(&self.aws, APPLICATION)
    }

    /// Status of the fleet, read from the lease table.
    pub async fn status(&self) -> FleetStatus {
        FleetStatus::read(&self.aws, APPLICATION).await.expect("the table is there")
    }

    /// A shard's checkpoint in the lease table.
    pub async fn checkpoint(&self, shard_id: &str) -> Checkpoint {
        let leases = self.status().await.leases;
        leases.into_iter().find(|lease| lease.shard_id.as_str() == shard_id).expect("lease is there").checkpoint
    }

    /// Gives the shard's lease to a worker that does not exist, as a leader does that takes its owner for dead.
    pub async fn take_lease_away(&self, shard_id: &str) {
        self.give_lease(shard_id, "other").await;
    }

    /// Gives the shard's lease to that worker, as a leader does that takes its owner for dead.
    pub async fn give_lease(&self, shard_id: &str, worker_id: &str) {
        let take = self.table().dynamodb.update_item().table_name(APPLICATION).key("leaseKey", text(shard_id));
        let take = take.update_expression("SET leaseOwner = :other ADD leaseCounter :one");
        let take = take.expression_attribute_values(":other", text(worker_id));
        take.expression_attribute_values(":one", number(1)).send().await.expect("table exists");
    }

    /// A count of the calls of this action from now on.
    pub fn calls(&self, action: &str) -> Fault {
        self.local.faults().on(action).delay(Duration::ZERO)
    }

    /// Waits until a condition holds, for at most two virtual minutes.
    ///
    /// # Panics
    /// The condition does not hold by then. The text shows the newest events and calls.
    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        until(what, || self.newest(), async || condition()).await;
    }

    /// Waits until a condition that has to be looked up holds, for at most two virtual minutes.
    ///
    /// # Panics
    /// The condition does not hold by then. The text shows the newest events and calls.
    pub async fn until_holds(&self, what: &str, condition: impl AsyncFn() -> bool) {
        until(what, || self.newest(), condition).await;
    }

    /// Waits until the lease table says what is wanted, for at most two virtual minutes.
    ///
    /// # Panics
    /// It does not by then. The text shows the newest events and calls.
    pub async fn until_status(&self, what: &str, condition: impl Fn(&FleetStatus) -> bool) {
        let read = || FleetStatus::read(&self.aws, APPLICATION);
        self.until_holds(what, async || read().await.is_ok_and(|status| condition(&status))).await;
    }

    /// Waits until nothing moves any more: no event was emitted and no processor called for 20 virtual seconds.
    ///
    /// # Panics
    /// Something still moves after ten minutes. The text shows the newest events and calls.
    pub async fn settled(&self) {
        settled(|| (self.events.len(), self.journal.len(), self.newest())).await;
    }

    fn newest(&self) -> String {
        let (events, calls) = (self.events.all(), self.journal.entries());
        let processed = self.journal.distinct();
        let (events, calls) = (&events[events.len().saturating_sub(10)..], &calls[calls.len().saturating_sub(3)..]);
        format!("; {processed} records are processed; newest events: {events:#?}, calls: {calls:#?}")
    }
}

/// Renewal of leases by the workers of all tests: the default, or with `KCL_RENEWALS=each` lease by lease.
fn renewals() -> Renewals {
    match std::env::var("KCL_RENEWALS").as_deref() {
        Ok("each") => Renewals::EachLease,
        _ => Renewals::default(),
    }
}
