//! What the end-to-end tests share: a stream on the embedded AWS, and a processor that writes down what it is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};
use aws_types::SdkConfig;
use kcl::{
    BoxError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext, ShardId, StreamId, WorkerBuilder,
};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

pub mod bench;
pub mod conformance;
mod fleet;
pub mod history;
pub mod interop;
pub mod seeds;

pub use fleet::Running;

/// Name of every test's stream.
pub const STREAM: &str = "StockTradeStream";
/// Name of every test's application and lease table.
pub const APPLICATION: &str = "StockTradesProcessor";

/// A stream on an embedded AWS of its own.
#[derive(Debug, Clone)]
pub struct TestStream {
    /// The embedded AWS.
    pub local: LocalAws,
    /// For clients of it.
    pub aws: SdkConfig,
    /// Talks to the stream's service.
    pub kinesis: Client,
}

impl TestStream {
    /// Creates the stream with `shards` shards.
    pub async fn start(shards: i32) -> Self {
        Self::on(LocalAws::start().await, shards).await
    }

    /// Creates the stream there.
    pub async fn on(local: LocalAws, shards: i32) -> Self {
        let aws = local.sdk_config();
        let kinesis = Client::new(&aws);
        kinesis.create_stream().stream_name(STREAM).shard_count(shards).send().await.expect("stream is new");
        Self { local, aws, kinesis }
    }

    /// Deletes the stream with its consumers, and creates another of that name with `shards` shards, a second later.
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
    pub async fn put(&self, ids: std::ops::Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for ids in ids.chunks(500) {
            let entry = |id: &u64| {
                PutRecordsRequestEntry::builder()
                    .partition_key(format!("key-{}", id % 100))
                    .data(Blob::new(id.to_string()))
                    .build()
                    .expect("key and data are set")
            };
            let put = self.kinesis.put_records().stream_name(STREAM);
            let answer = put.set_records(Some(ids.iter().map(entry).collect())).send().await.expect("put succeeds");
            assert_eq!(answer.failed_record_count(), Some(0));
        }
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
        let arn = self.kinesis.describe_stream_summary().stream_name(STREAM).send().await.expect("stream exists");
        let arn = arn.stream_description_summary().expect("described").stream_arn().to_owned();
        let update = self.kinesis.update_max_record_size().stream_arn(arn).max_record_size_in_kib(kib);
        update.send().await.expect("record size can be updated");
    }

    /// Gives the shard's lease to a worker that does not exist, as a leader does that takes its owner for dead.
    pub async fn take_lease_away(&self, shard_id: &str) {
        let take = aws_sdk_dynamodb::Client::new(&self.aws).update_item().table_name(APPLICATION);
        let take = take.key("leaseKey", AttributeValue::S(shard_id.to_owned()));
        let take = take.update_expression("SET leaseOwner = :other ADD leaseCounter :one");
        let take = take.expression_attribute_values(":other", AttributeValue::S("other".to_owned()));
        let take = take.expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        take.send().await.expect("table exists");
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

    /// A worker that starts at the oldest record.
    pub fn worker(&self, worker_id: &str) -> WorkerBuilder {
        kcl::Worker::builder(&self.aws, APPLICATION, STREAM)
            .worker_id(worker_id)
            .initial_position(kcl::InitialPosition::TrimHorizon)
    }

    /// Runs such a worker with processors that write into `journal`.
    pub fn run(&self, worker_id: &str, journal: &Journal) -> Running {
        Running::start(self.worker(worker_id), journal, |journal, shard| journal.processor(shard))
    }
}

/// One call of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `initialize`.
    Initialize,
    /// `process_records`, with the records' numbers.
    Process(Vec<u64>),
    /// `shard_ended`.
    ShardEnded,
    /// `shutdown_requested`.
    ShutdownRequested,
    /// `lease_lost`.
    LeaseLost,
}

/// What processors were called with, in order.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// A call, and where it was made.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The worker.
    pub worker: String,
    /// The stream.
    pub stream_id: StreamId,
    /// The shard.
    pub shard_id: ShardId,
    /// Partition key and number of each record given.
    pub keys: Vec<(String, u64)>,
    /// The call.
    pub call: Call,
    /// When.
    pub at: Instant,
}

impl Journal {
    /// A processor that writes down its calls and checkpoints after each batch.
    pub fn processor(&self, shard: &ShardContext) -> JournalProcessor {
        JournalProcessor {
            journal: self.clone(),
            worker: shard.worker_id.to_string(),
            stream_id: shard.stream_id.clone(),
            shard_id: shard.shard_id.clone(),
            checkpoint: true,
        }
    }

    /// All calls so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().expect("no writer panics").clone()
    }

    /// The calls made for one shard.
    pub fn calls(&self, shard_id: &str) -> Vec<Call> {
        let of_shard = |entry: &Entry| entry.shard_id.as_str() == shard_id;
        self.entries().into_iter().filter(of_shard).map(|entry| entry.call).collect()
    }

    /// Numbers of all records processed, in the order of processing.
    pub fn ids(&self) -> Vec<u64> {
        self.entries().into_iter().flat_map(|entry| entry.keys).map(|(_, id)| id).collect()
    }

    /// How many different records were processed.
    pub fn distinct(&self) -> usize {
        self.ids().into_iter().collect::<BTreeSet<_>>().len()
    }

    /// Shards processed by each worker.
    pub fn shards_by_worker(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut shards = BTreeMap::<String, BTreeSet<String>>::new();
        for entry in self.entries() {
            shards.entry(entry.worker).or_default().insert(entry.shard_id.to_string());
        }
        shards
    }

    /// Partition keys of which a record was processed after a later one.
    pub fn keys_out_of_order(&self) -> BTreeSet<String> {
        let mut last = BTreeMap::new();
        let mut out_of_order = BTreeSet::new();
        for (key, id) in self.entries().into_iter().flat_map(|entry| entry.keys) {
            if last.insert(key.clone(), id).is_some_and(|before| before > id) {
                out_of_order.insert(key);
            }
        }
        out_of_order
    }

    /// Waits until `count` different records are processed, for at most two virtual minutes.
    pub async fn processed(&self, count: usize) {
        eventually(&format!("{count} records are processed"), || self.distinct() >= count).await;
    }

    fn write(&self, entry: Entry) {
        self.entries.lock().expect("no writer panics").push(entry);
    }
}

/// Writes down its calls.
#[derive(Debug)]
pub struct JournalProcessor {
    journal: Journal,
    worker: String,
    stream_id: StreamId,
    shard_id: ShardId,
    /// Whether to checkpoint after each batch.
    pub checkpoint: bool,
}

impl JournalProcessor {
    fn note(&self, call: Call, keys: Vec<(String, u64)>) {
        let (stream_id, shard_id) = (self.stream_id.clone(), self.shard_id.clone());
        self.journal.write(Entry { worker: self.worker.clone(), stream_id, shard_id, keys, call, at: Instant::now() });
    }
}

/// The number that a record carries.
pub fn id_of(record: &kcl::Record) -> u64 {
    std::str::from_utf8(&record.data).ok().and_then(|text| text.parse().ok()).expect("records carry a number")
}

impl RecordProcessor for JournalProcessor {
    type Error = BoxError;

    async fn initialize(&mut self, _shard: &ShardContext) -> Result<(), BoxError> {
        self.note(Call::Initialize, Vec::new());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let keys: Vec<_> =
            batch.records.iter().map(|record| (record.partition_key.to_string(), id_of(record))).collect();
        self.note(Call::Process(keys.iter().map(|(_, id)| *id).collect()), keys);
        if self.checkpoint {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.note(Call::ShardEnded, Vec::new());
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.note(Call::ShutdownRequested, Vec::new());
        checkpointer.checkpoint().await?;
        Ok(())
    }

    async fn lease_lost(&mut self) {
        self.note(Call::LeaseLost, Vec::new());
    }
}

/// Events of workers, for assertions.
#[derive(Debug, Clone, Default)]
pub struct EventLog(Arc<Mutex<Vec<Event>>>);

impl EventLog {
    /// Takes events in.
    pub fn handler(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let log = Arc::clone(&self.0);
        move |event| log.lock().expect("no writer panics").push(event.clone())
    }

    /// How many events so far are like this.
    pub fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().expect("no writer panics").iter().filter(|event| like(event)).count()
    }

    /// All events so far.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().expect("no writer panics").clone()
    }
}

/// Waits for a condition, for at most two virtual minutes.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < deadline, "waited two minutes until {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
