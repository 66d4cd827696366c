//! Dead letters that come back: `cargo run -p samples --example letters -- [PLACE] [--queue NAME]`.
//!
//! Puts orders on an AWS embedded in this process, and processes them by a worker that cannot process two of them, one of which
//! has 9 MiB. Both are kept as dead letters, in objects at PLACE (a folder, by default a temporary one, or `s3://bucket/path`) or
//! in the queue of SQS of that name, which is made unless it is there; PLACE then has those that are too large for it. After the
//! error is mended, they are redriven through a record processor. The exit code is 1 if an order is missing then.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use examples::setup;
use kcl::{
    BoxError, CheckpointEvery, Checkpointer, ErrorPolicy, FailedRecords, InitialPosition, Record, RecordBatch,
    RecordProcessor, ShardContext, Worker,
};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use samples::{
    letters::{ObjectLetters, Redriven, Rerun, SqsLetters},
    objects::Objects,
};
use tokio::time::sleep;

const STREAM: &str = "Orders";
const ORDERS: usize = 20;
/// Orders of tea, of which one has a long wish list.
const SMALL: usize = 7;
const LARGE: usize = 13;
const LARGE_BYTES: usize = 9 * 1024 * 1024;

/// Dead letters that come back.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder, or s3://bucket/path
    place: Option<String>,
    /// Name of a queue of SQS
    #[arg(long)]
    queue: Option<String>,
}

/// The application: its orders by number, with their bytes.
#[derive(Debug, Clone, Default)]
struct Orders {
    processed: Arc<Mutex<BTreeMap<usize, usize>>>,
    has_tea: Arc<AtomicBool>,
}

impl Orders {
    fn process(&self, record: &Record) -> Result<(), BoxError> {
        let text = std::str::from_utf8(&record.data)?;
        let (number, item) = text.split_once(' ').ok_or("no order")?;
        if item.starts_with("tea") && !self.has_tea.load(Ordering::Relaxed) {
            return Err("no such item: tea".into());
        }
        self.processed.lock().unwrap_or_else(PoisonError::into_inner).insert(number.parse()?, record.data.len());
        Ok(())
    }

    fn count(&self) -> usize {
        self.processed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl RecordProcessor for Orders {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        batch.records.iter().try_for_each(|record| self.process(record))?;
        Ok(checkpointer.checkpoint().await?)
    }
}

/// The place of the letters.
#[derive(Debug, Clone)]
enum Letters {
    Objects(ObjectLetters),
    Queue(SqsLetters),
}

impl Letters {
    async fn of(arguments: Arguments, temporary: &std::path::Path) -> Result<Self, BoxError> {
        let Arguments { place, queue } = arguments;
        let Some(queue) = queue else {
            let place = place.unwrap_or_else(|| temporary.display().to_string());
            return Ok(Self::Objects(ObjectLetters::new(Objects::open(&place)?)));
        };
        let client = aws_sdk_sqs::Client::new(&setup::ambient_aws(None).await?);
        let made = client.create_queue().queue_name(&queue).send().await.map_err(aws_sdk_sqs::Error::from)?;
        let letters = SqsLetters::new(client, made.queue_url.ok_or("the queue has no address")?);
        Ok(Self::Queue(match place {
            Some(place) => letters.large_in(ObjectLetters::new(Objects::open(&place)?)),
            None => letters,
        }))
    }

    async fn keep(self, failed: FailedRecords) -> Result<(), BoxError> {
        match self {
            Self::Objects(letters) => letters.keep(failed).await,
            Self::Queue(letters) => letters.keep(failed).await,
        }
    }

    async fn redrive(&self, orders: &Orders) -> Result<Redriven, BoxError> {
        let orders = orders.clone();
        let rerun = Rerun::new("orders", move |_: &ShardContext| orders.clone());
        match self {
            Self::Objects(letters) => letters.redrive_through(&rerun).await,
            Self::Queue(letters) => letters.redrive_through(&rerun).await,
        }
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    setup::log_to(std::io::stderr, "error");
    setup::exit_code(run(Arguments::parse()).await.map_err(anyhow::Error::from_boxed))
}

async fn run(arguments: Arguments) -> Result<bool, BoxError> {
    let temporary = tempfile::tempdir()?;
    let letters = Letters::of(arguments, temporary.path()).await?;
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    put(&aws).await?;

    let (orders, keep) = (Orders::default(), letters.clone());
    let policy = ErrorPolicy::dead_letter_after(2, move |failed| keep.clone().keep(failed)).isolate();
    let worker = Worker::builder(&aws, "orders", STREAM).initial_position(InitialPosition::TrimHorizon);
    let process = orders.clone();
    let each = move |record: Record| {
        let processed = process.process(&record);
        async move { processed }
    };
    let worker = worker.on_processor_error(policy).build_for_each(CheckpointEvery::default(), 1, each)?.start();
    // The last order comes after both that fail.
    while orders.count() < ORDERS - 2 {
        sleep(Duration::from_millis(100)).await;
    }
    worker.stop().await?;
    println!("{} of {ORDERS} orders processed, 2 are dead letters", orders.count());

    orders.has_tea.store(true, Ordering::Relaxed);
    let Redriven { processed, failed, .. } = letters.redrive(&orders).await?;
    println!("{processed} letters redriven");
    for (name, error) in &failed {
        println!("letter {name} is kept: {error}");
    }
    let sizes = orders.processed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let large = sizes.get(&LARGE).copied().unwrap_or_default();
    println!(
        "{} of {ORDERS} orders processed, the largest of {} bytes",
        sizes.len(),
        sizes.values().max().unwrap_or(&0)
    );
    Ok(failed.is_empty() && sizes.len() == ORDERS && large > LARGE_BYTES)
}

async fn put(aws: &aws_types::SdkConfig) -> Result<(), BoxError> {
    let kinesis = aws_sdk_kinesis::Client::new(aws);
    kinesis.create_stream().stream_name(STREAM).shard_count(1).max_record_size_in_kib(10 * 1024).send().await?;
    let producer = Producer::builder(aws, STREAM).max_record_bytes(10 * 1024 * 1024).build()?;
    for number in 0..ORDERS {
        let order = match number {
            SMALL => format!("{number} tea"),
            LARGE => format!("{number} tea{}", " and a cup".repeat(LARGE_BYTES / 10)),
            _ => format!("{number} coffee"),
        };
        producer.put(UserRecord::new("customer-7", order)).await?.await?;
    }
    producer.shutdown().await;
    Ok(())
}
