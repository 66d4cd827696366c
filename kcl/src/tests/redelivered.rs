//! Processors whose work was lost elsewhere, and that say so.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_kinesis::{Client, primitives::Blob};
use kinesis_local::LocalAws;
use tokio::time::{sleep, timeout};

use crate::{
    checkpointer::Checkpointer,
    error::BoxError,
    event::Event,
    model::{InitialPosition, RecordBatch},
    processor::{RecordProcessor, Redeliver, ShardContext},
    settings::error_policy::ErrorPolicy,
    worker::{Worker, handle::WorkerHandle},
};

/// Call that loses the work, the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    InBatch,
    AtEnd,
}

struct Loser {
    /// The loss that is still to come.
    loss: Arc<Mutex<Option<Loss>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Loser {
    fn lose(&self, at: Loss) -> Result<(), BoxError> {
        let mut loss = self.loss.lock().unwrap();
        if *loss == Some(at) {
            *loss = None;
            return Err(Redeliver("it is gone".into()).into());
        }
        Ok(())
    }
}

impl RecordProcessor for Loser {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.lose(Loss::InBatch)?;
        let keys = batch.records.iter().map(|record| record.partition_key.to_string());
        self.seen.lock().unwrap().extend(keys);
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        self.lose(Loss::AtEnd)
    }
}

struct Scene {
    worker: WorkerHandle,
    seen: Arc<Mutex<Vec<String>>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Scene {
    /// A closed shard with two records, whose worker skips what fails once.
    async fn with(loss: Loss) -> Self {
        let local = LocalAws::start().await;
        local.create_stream("stream", 1).unwrap();
        let client = Client::new(&local.sdk_config());
        for key in ["a", "b"] {
            client.put_record().stream_name("stream").partition_key(key).data(Blob::new("x")).send().await.unwrap();
        }
        let middle = (1_u128 << 127).to_string();
        let split = client.split_shard().stream_name("stream").shard_to_split("shardId-000000000000");
        split.new_starting_hash_key(middle).send().await.unwrap();
        let (seen, events) = (Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let (kept, noted, loss) = (Arc::clone(&seen), Arc::clone(&events), Arc::new(Mutex::new(Some(loss))));
        let worker = Worker::builder(&local.sdk_config(), "application", "stream")
            .initial_position(InitialPosition::TrimHorizon)
            .on_processor_error(ErrorPolicy::skip_after(1))
            .on_event(move |event| noted.lock().unwrap().push(event.clone()))
            .build(move |_: &ShardContext| Loser { loss: Arc::clone(&loss), seen: Arc::clone(&kept) })
            .unwrap()
            .start();
        Self { worker, seen, events }
    }

    async fn until_the_shard_ended(&self) {
        let is_ended = |event: &Event| matches!(event, Event::ShardEnded { .. });
        let ended = async {
            while !self.events.lock().unwrap().iter().any(is_ended) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(120), ended).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_shards_end_its_last_records_come_again() {
    let scene = Scene::with(Loss::AtEnd).await;

    scene.until_the_shard_ended().await;

    assert_eq!(*scene.seen.lock().unwrap(), ["a", "b", "a", "b"]);
    scene.worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_a_batch_it_is_held_against_no_record() {
    let scene = Scene::with(Loss::InBatch).await;

    scene.until_the_shard_ended().await;

    assert_eq!(*scene.seen.lock().unwrap(), ["a", "b"]);
    let events = scene.events.lock().unwrap().clone();
    assert!(!events.iter().any(|event| matches!(event, Event::RecordsSkipped { .. })), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::ProcessorFailed { .. })));
    scene.worker.stop().await.unwrap();
}
