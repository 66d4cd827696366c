//! Consumers that are streams: one stream of records per shard, and a stream of these.
//!
//! An adapter of [`RecordProcessor`]: its processor hands a batch to the stream and waits until all its records are
//! taken, so an unread stream holds its shard back. When the work has to stop it takes back the rest.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use kpl::ShardId;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpointer::{Checkpointer, Seen},
    contained::propagate,
    error::{ConfigError, WorkerError},
    locked::locked,
    model::{Record, RecordBatch},
    processor::{RecordProcessor, ShardContext, Unfinished},
    worker::builder::WorkerBuilder,
};

impl WorkerBuilder {
    /// Builds a worker that returns a stream of records for each shard it holds. Only the application checkpoints.
    ///
    /// ```no_run
    /// use futures::{StreamExt as _, TryStreamExt as _};
    /// use kcl::{BoxError, Worker};
    ///
    /// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
    /// let shards = Worker::builder(&aws, "printer", "StockTradeStream").build_shard_streams()?;
    /// shards
    ///     .map_err(BoxError::from)
    ///     .try_for_each_concurrent(None, |mut shard| async move {
    ///         while let Some(record) = shard.next().await {
    ///             println!("{}", String::from_utf8_lossy(&record.data));
    ///             if shard.checkpointer().checkpoint_at(&record).await.is_err() {
    ///                 break; // the lease is lost, another worker goes on
    ///             }
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// A setting is out of its bounds. Nothing is called over the network before the streams are polled.
    pub fn build_shard_streams(self) -> Result<ShardStreams, ConfigError> {
        let (sender, mut streams) = mpsc::channel(1);
        let make = move |_: &ShardContext| StreamProcessor { streams: sender.clone(), shard: None, open: None };
        let worker = self.build(make)?;
        let stop = CancellationToken::new();
        let run = worker.run_until(stop.clone().cancelled_owned());
        // Ends when all processors and their factory are gone: the worker has ended.
        let streams = async move {
            let worker = tokio::spawn(run);
            let streams = stream::poll_fn(move |cx| streams.poll_recv(cx)).map(Ok);
            streams.chain(stream::once(outcome(worker)).filter_map(ready))
        };
        Ok(ShardStreams { streams: streams.flatten_stream().fuse().boxed(), stop })
    }
}

/// The last item: the error that a worker ended with.
async fn outcome(worker: JoinHandle<Result<(), WorkerError>>) -> Option<Result<ShardStream, WorkerError>> {
    match worker.await {
        Ok(outcome) => outcome.err().map(Err),
        Err(failure) => {
            propagate(failure);
            None // the runtime shuts down
        }
    }
}

/// Streams of the shards that a worker holds: an item each time it starts to read a shard, as the first record comes.
/// The last item is an error if the worker ended with one.
///
/// The worker runs on a task of its own from the first poll on. Dropping the stream asks it to stop in good order.
#[must_use = "streams do nothing unless polled"]
pub struct ShardStreams {
    streams: BoxStream<'static, Result<ShardStream, WorkerError>>,
    stop: CancellationToken,
}

impl fmt::Debug for ShardStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardStreams").finish_non_exhaustive()
    }
}

impl ShardStreams {
    /// Stops the worker later, when the streams are in use: their shards' streams end, and then they do.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }
}

/// Stops the worker behind [`ShardStreams`]. Dropping it does nothing.
#[derive(Debug, Clone)]
pub struct Stopper(CancellationToken);

impl Stopper {
    /// Asks the worker to leave in good order. Does not wait for that.
    pub fn stop(&self) {
        self.0.cancel();
    }
}

impl Drop for ShardStreams {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stream for ShardStreams {
    type Item = Result<ShardStream, WorkerError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.streams.poll_next_unpin(cx)
    }
}

/// Records of one shard, in order.
///
/// It ends when the shard does, when the worker stops or hands the shard over, or when the lease is lost; the rest is
/// delivered elsewhere. Then checkpoint what is processed: the worker marks the shard as ended, or passes it on, once
/// everything this stream returned is checkpointed. If the stream and its checkpointers are dropped before that, or the
/// stream before its end, the rest is delivered again; an [`ErrorPolicy`](crate::ErrorPolicy) never gives it up.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ShardStream {
    shard: ShardContext,
    checkpointer: Checkpointer,
    batches: mpsc::Receiver<SharedBatch>,
    batch: SharedBatch,
    /// Informs the processor that the last batch is given.
    given: mpsc::Sender<()>,
    batch_open: bool,
}

impl ShardStream {
    /// The shard.
    pub fn shard_id(&self) -> &ShardId {
        &self.shard.shard_id
    }

    /// The shard, and where it starts.
    pub fn context(&self) -> &ShardContext {
        &self.shard
    }

    /// Stores progress. [`Checkpointer::checkpoint`] covers what this stream has given so far.
    pub fn checkpointer(&self) -> Checkpointer {
        self.checkpointer.clone()
    }
}

impl Stream for ShardStream {
    type Item = Record;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Record>> {
        loop {
            if let Some(record) = self.batch.give(&self.checkpointer) {
                return Poll::Ready(Some(record));
            }
            if std::mem::take(&mut self.batch_open) {
                let _ = self.given.try_send(()); // the processor is gone: the end comes next
            }
            match ready!(self.batches.poll_recv(cx)) {
                Some(batch) => {
                    self.batch = batch;
                    self.batch_open = true;
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A batch that the stream gives record by record, and the processor may take back. Locked for a record.
#[derive(Debug, Clone, Default)]
struct SharedBatch(Arc<Mutex<VecDeque<Record>>>);

impl SharedBatch {
    fn give(&self, checkpointer: &Checkpointer) -> Option<Record> {
        let mut records = locked(&self.0);
        let record = records.pop_front()?;
        // Under the lock: what is not taken back is seen to be given.
        checkpointer.saw(record.position());
        Some(record)
    }
}

struct StreamProcessor {
    streams: mpsc::Sender<ShardStream>,
    shard: Option<ShardContext>,
    /// From the first batch on, or the shard's end.
    open: Option<Open>,
}

struct Open {
    /// None: nothing follows.
    batches: Option<mpsc::Sender<SharedBatch>>,
    given: mpsc::Receiver<()>,
    seen: Seen,
}

impl Open {
    fn dropped(&self) -> Unfinished {
        if self.seen.is_settled() { Unfinished::Dropped } else { Unfinished::Unconfirmed }
    }
}

impl StreamProcessor {
    async fn open(&mut self, checkpointer: &Checkpointer) -> Result<&mut Open, Unfinished> {
        if self.open.is_none() {
            let (batches, receiver) = mpsc::channel(1);
            let (given_sender, given) = mpsc::channel(1);
            let (checkpointer, seen) = checkpointer.record_by_record();
            let stream = ShardStream {
                shard: self.shard.clone().ok_or(Unfinished::Dropped)?,
                checkpointer,
                batches: receiver,
                batch: SharedBatch::default(),
                given: given_sender,
                batch_open: false,
            };
            self.streams.send(stream).await.map_err(|_| Unfinished::Dropped)?;
            self.open = Some(Open { batches: Some(batches), given, seen });
        }
        self.open.as_mut().ok_or(Unfinished::Dropped)
    }

    /// Hands a batch to the stream, and waits until it is given.
    async fn give(&mut self, batch: SharedBatch, checkpointer: &Checkpointer) -> Result<(), Unfinished> {
        let open = self.open(checkpointer).await?;
        let batches = open.batches.as_ref().ok_or(Unfinished::Dropped)?;
        if batches.send(batch).await.is_err() || open.given.recv().await.is_none() {
            return Err(open.dropped());
        }
        Ok(())
    }

    /// Ends the stream and waits until what it gave is checkpointed.
    async fn settle(&mut self) -> Result<(), Unfinished> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.batches = None;
        if open.seen.settled().await { Ok(()) } else { Err(Unfinished::Unconfirmed) }
    }
}

impl RecordProcessor for StreamProcessor {
    type Error = Unfinished;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), Unfinished> {
        self.shard = Some(shard.clone());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), Unfinished> {
        let batch = SharedBatch(Arc::new(Mutex::new(batch.records.into())));
        tokio::select! {
            // biased: a batch must not be given twice.
            biased;
            given = self.give(batch.clone(), checkpointer) => given,
            _ = checkpointer.interrupted() => {
                locked(&batch.0).clear();
                Err(Unfinished::Interrupted)
            }
        }
    }

    async fn shard_ended(&mut self) -> Result<(), Unfinished> {
        self.settle().await
    }

    async fn shutdown_requested(&mut self, _checkpointer: &Checkpointer) -> Result<(), Unfinished> {
        self.settle().await
    }

    async fn lease_lost(&mut self) {
        self.open = None;
    }
}
