//! A `kcl` worker that reads canned shards at their full rate under virtual time, with a lease table that is real and whose
//! work is done by another thread. So the CPU time of the thread that runs the worker is the worker's: reads, renewals,
//! checkpoints and the fleet's coordination, as much of it as belongs to the time that the reading would take.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
        http_client_fn,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_types::SdkConfig;
use kcl::{
    BoxError, Checkpointer, Event, InitialPosition, RecordBatch, RecordProcessor, Retrieval, Worker, WorkerHandle,
};
use kinesis_local::LocalAws;
use tokio::{runtime::Handle, sync::Notify};

use super::{canned_shards::CannedShards, read_floor::touch};

/// Counts of what the processors have seen.
#[derive(Debug, Default)]
pub struct Seen {
    records: AtomicU64,
    some: Notify,
}

impl Seen {
    async fn reaches(&self, records: u64) {
        while self.records.load(Ordering::Relaxed) < records {
            self.some.notified().await;
        }
    }
}

/// Looks at each byte and checkpoints each batch.
struct Touches {
    seen: Arc<Seen>,
}

impl RecordProcessor for Touches {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let touched = batch.records.iter().map(|record| touch(&record.data));
        black_box(touched.fold(0, u64::wrapping_add));
        checkpointer.checkpoint().await?;
        self.seen.records.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
        self.seen.some.notify_one();
        Ok(())
    }
}

/// The worker that is measured.
#[derive(Debug)]
pub struct Consumer {
    canned: CannedShards,
    seen: Arc<Seen>,
    granted: u64,
    worker: WorkerHandle,
}

impl Consumer {
    /// Starts it, and waits until it has read a page of each shard.
    pub async fn start(canned: &CannedShards, retrieval: Retrieval) -> Self {
        let seen = Arc::<Seen>::default();
        let processors = Arc::clone(&seen);
        let worker = Worker::builder(&canned.config(), "StockTradesProcessor", "StockTradeStream")
            .lease_table_config(&aside(&LocalAws::start().await.sdk_config()))
            .initial_position(InitialPosition::TrimHorizon)
            .retrieval(retrieval)
            .on_event(|event| {
                if matches!(event, Event::ReadFailed { .. } | Event::ProcessorFailed { .. }) {
                    eprintln!("{event:?}");
                }
            })
            .build(move |_: &_| Touches { seen: Arc::clone(&processors) })
            .expect("valid settings")
            .start();
        let mut consumer = Self { canned: canned.clone(), seen, granted: 0, worker };
        consumer.consume(1).await;
        consumer
    }

    /// Lets each shard give as many pages more, and waits until all are processed.
    pub async fn consume(&mut self, pages: u64) {
        self.granted += self.canned.grant(pages);
        self.seen.reaches(self.granted).await;
    }

    /// Stops it.
    pub async fn stop(self) {
        self.worker.stop().await.expect("the worker stops in good order");
    }
}

/// The same service in this process, whose work another thread does. Virtual time stands still meanwhile.
///
/// # Panics
/// If the configuration has no client.
pub fn aside(aws: &SdkConfig) -> SdkConfig {
    let client = aws.http_client().expect("the embedded AWS is reached by one");
    let client = http_client_fn(move |settings: &HttpConnectorSettings, components: &RuntimeComponents| {
        SharedHttpConnector::new(Aside { inner: client.http_connector(settings, components) })
    });
    aws.to_builder().http_client(SharedHttpClient::new(client)).build()
}

#[derive(Debug)]
struct Aside {
    inner: SharedHttpConnector,
}

impl HttpConnector for Aside {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            let answered = tokio::task::spawn_blocking(move || Handle::current().block_on(inner.call(request)));
            answered.await.map_err(|error| ConnectorError::other(error.into(), None))?
        })
    }
}
