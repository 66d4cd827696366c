//! Letters through the application's own record processors, by a worker on a stream in the process's memory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_kinesis::{Client, error::ProvideErrorMetadata as _, primitives::Blob};
use aws_types::SdkConfig;
use kcl::{
    BoxError, Deaggregation, ErrorPolicy, Event, FailedRecords, InitialPosition, ProcessorFactory, Record,
    ShardContext, Worker,
};
use kinesis_local::LocalAws;
use tokio::sync::Notify;

use super::redrive::Reprocess;

/// Maximum of a record in Kinesis.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const MAX_RECORD_KIB: i32 = 10 * 1024;
const SHARD: &str = "shardId-000000000000";
/// Middle of the hash keys.
const MIDDLE: &str = "170141183460469231731687303715884105728";

/// Texts of the errors, by the sequence numbers of the records.
type Failures = Arc<Mutex<HashMap<String, String>>>;

/// Record processors of an application, for letters that come back.
///
/// Letters are records of a shard in the process's memory, in their order, each in a batch of its own: a worker calls the
/// processors for it as for any other, from `initialize` to `shard_ended`. So what a processor buffers is written before a letter counts as
/// processed. The records have their keys and data; their positions are those of that shard, whose stream has a name of its
/// own each time, so that a sink that keeps positions has another key for them. The application's name has the suffix
/// `-redrive`.
///
/// A processor that cannot be initialized, or that fails at the shard's end, is tried again without end, as ever.
pub struct Rerun<F> {
    application: String,
    attempts: u32,
    factory: Arc<F>,
}

impl<F> fmt::Debug for Rerun<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, attempts, .. } = self;
        f.debug_struct("Rerun").field("application", application).field("attempts", attempts).finish_non_exhaustive()
    }
}

impl<F: ProcessorFactory> Rerun<F> {
    /// The processors of an application, by the factory that its worker is built with.
    pub fn new(application: &str, factory: F) -> Self {
        Self { application: format!("{application}-redrive"), attempts: 1, factory: Arc::new(factory) }
    }

    /// Sets the attempts after which a letter is kept, at least 1. Default 1.
    #[must_use = "the processors are returned with the number set"]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Runs a worker until it has processed the shard.
    async fn run(&self, aws: &SdkConfig, stream: &str, failures: Failures) -> Result<(), BoxError> {
        let keep = move |failed: FailedRecords| {
            let error = failed.error.to_string();
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            for record in failed.records {
                failures.insert(record.sequence_number.to_string(), error.clone());
            }
            std::future::ready(Ok::<(), BoxError>(()))
        };
        let ended = Arc::new(Notify::new());
        let (ends, factory) = (Arc::clone(&ended), Arc::clone(&self.factory));
        let worker = Worker::builder(aws, self.application.as_str(), stream)
            .initial_position(InitialPosition::TrimHorizon)
            .deaggregation(Deaggregation::Off)
            .max_batch_records(1) // one that fails is known at once
            .on_processor_error(ErrorPolicy::dead_letter_after(self.attempts, keep).isolate())
            .on_event(move |event: &Event| {
                if matches!(event, Event::ShardEnded { .. }) {
                    ends.notify_one();
                }
            })
            .build(move |shard: &ShardContext| factory.create(shard))?;
        Ok(worker.run_until(async move { ended.notified().await }).await?)
    }
}

impl<F: ProcessorFactory> Reprocess for Rerun<F> {
    async fn reprocess(&self, records: Vec<Record>) -> Result<Vec<Result<(), BoxError>>, BoxError> {
        let local = LocalAws::start().await;
        let aws = local.sdk_config();
        let stream = format!("letters-{:016x}", fastrand::u64(..));
        let numbers = put(&Client::new(&aws), &stream, records).await?;
        let failures = Failures::default();
        self.run(&aws, &stream, Arc::clone(&failures)).await?;
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = |number: Result<String, BoxError>| -> Result<(), BoxError> {
            match failures.remove(&number?) {
                Some(error) => Err(error.into()),
                None => Ok(()),
            }
        };
        Ok(numbers.into_iter().map(outcome).collect())
    }
}

/// A stream with one shard, which has these records and is closed. Returns their sequence numbers, and why some were refused, as
/// for a key or a length that is none of Kinesis.
async fn put(kinesis: &Client, stream: &str, records: Vec<Record>) -> Result<Vec<Result<String, BoxError>>, BoxError> {
    let create = kinesis.create_stream().stream_name(stream).shard_count(1);
    create.max_record_size_in_kib(MAX_RECORD_KIB).send().await?;
    let mut numbers = Vec::with_capacity(records.len());
    for record in records {
        let put = kinesis.put_record().stream_name(stream).partition_key(&*record.partition_key);
        let put = put.set_explicit_hash_key(record.explicit_hash_key.map(|key| key.to_string()));
        numbers.push(match put.data(Blob::new(record.data.to_vec())).send().await {
            Ok(stored) => Ok(stored.sequence_number),
            Err(error) => Err(format!("the record is refused: {}", error.message().unwrap_or("no answer")).into()),
        });
    }
    let split = kinesis.split_shard().stream_name(stream).shard_to_split(SHARD);
    split.new_starting_hash_key(MIDDLE).send().await?;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use kcl::{Checkpointer, RecordBatch, RecordProcessor};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        letters::{FileLetters, ObjectLetters, tests::letter},
        objects::Objects,
    };

    type Shelf = Arc<Mutex<Vec<String>>>;

    /// Has an effect at the end of the shard only.
    struct Buffers {
        shelf: Shelf,
        buffered: Vec<String>,
    }

    impl RecordProcessor for Buffers {
        type Error = BoxError;

        async fn process_records(&mut self, batch: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
            for record in batch.records {
                let text = format!("{} {}", record.partition_key, String::from_utf8_lossy(&record.data));
                if text.contains("poison") {
                    return Err("no such item".into());
                }
                self.buffered.push(text);
            }
            Ok(())
        }

        async fn shard_ended(&mut self) -> Result<(), BoxError> {
            self.shelf.lock().unwrap().append(&mut self.buffered);
            Ok(())
        }
    }

    fn rerun(shelf: &Shelf) -> Rerun<impl ProcessorFactory + use<>> {
        let shelf = Arc::clone(shelf);
        let factory = move |_: &ShardContext| Buffers { shelf: Arc::clone(&shelf), buffered: Vec::new() };
        Rerun::new("printer", factory).attempts(2)
    }

    #[tokio::test(start_paused = true)]
    async fn letters_are_taken_out_once_their_processor_has_ended_its_shard() {
        let folder = TempDir::new().unwrap();
        let letters = ObjectLetters::new(Objects::open(folder.path().to_str().unwrap()).unwrap());
        for (number, text) in [("1", "tea"), ("2", "poison"), ("3", "coffee")] {
            letters.put(&letter(number, text)).await.unwrap();
        }
        let shelf = Shelf::default();

        let redriven = letters.redrive_through(&rerun(&shelf)).await.unwrap();

        assert_eq!((redriven.processed, redriven.failed.len()), (2, 1));
        assert!(redriven.failed[0].1.to_string().contains("no such item"), "{:?}", redriven.failed);
        assert_eq!(*shelf.lock().unwrap(), ["c-7 tea", "c-7 coffee"]);
        assert_eq!(letters.all().await.unwrap(), [letter("2", "poison")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_kinesis_refuses_fails_alone() {
        let folder = TempDir::new().unwrap();
        let letters = ObjectLetters::new(Objects::open(folder.path().to_str().unwrap()).unwrap());
        let mut keyless = letter("2", "milk");
        keyless.partition_key.clear();
        for letter in [&letter("1", "tea"), &keyless, &letter("3", "coffee")] {
            letters.put(letter).await.unwrap();
        }
        let shelf = Shelf::default();

        let redriven = letters.redrive_through(&rerun(&shelf)).await.unwrap();

        assert_eq!((redriven.processed, redriven.failed.len()), (2, 1));
        assert!(redriven.failed[0].1.to_string().contains("the record is refused"), "{:?}", redriven.failed);
        assert_eq!(*shelf.lock().unwrap(), ["c-7 tea", "c-7 coffee"]);
        assert_eq!(letters.all().await.unwrap(), [keyless]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_keeps_what_fails_and_goes_when_nothing_does() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("letters.jsonl");
        let line = |number, text| format!("{}\n", letter(number, text).to_json().unwrap());
        let (poison, other) = (line("2", "poison"), "not a letter\n");
        std::fs::write(&path, format!("{}{poison}{other}{}", line("1", "tea"), line("3", "coffee"))).unwrap();
        let (letters, shelf) = (FileLetters::new(&path), Shelf::default());

        let redriven = letters.redrive_through(&rerun(&shelf)).await.unwrap();

        assert_eq!((redriven.processed, redriven.failed.len()), (2, 2));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{poison}{other}"));
        assert_eq!(*shelf.lock().unwrap(), ["c-7 tea", "c-7 coffee"]);
        std::fs::write(&path, &poison).unwrap();
        assert_eq!(letters.redrive(async |_| Ok(())).await.unwrap().processed, 1);
        assert!(!path.exists());
    }
}
