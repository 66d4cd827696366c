//! The application's handle: takes records and hands out deliveries.

pub(crate) mod blocking;
pub(crate) mod builder;
pub(crate) mod sink;

use std::{
    fmt,
    panic::resume_unwind,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use aws_types::SdkConfig;
use futures::future::join_all;
use tokio::time::timeout;

use crate::{
    delivered::Delivered,
    delivery::{Delivery, Prepared},
    error::{ConfigError, PutError, RecordError, ShutdownError},
    event::Snapshot,
    intake::{Intake, queue::Sent, space::Hurry},
    producer::{blocking::BlockingProducer, builder::ProducerBuilder, sink::RecordSink},
    record::{PARTITION_KEY_MAX_CHARS, UserRecord},
    stream::Stream,
    streams::Streams,
};

/// Puts user records into a stream: aggregated, batched, rate limited, retried.
///
/// A handle to what does the work, in tasks of its own; clones share it. [`to_stream`](Self::to_stream) makes a handle
/// for another stream, which shares client, settings and buffer. Each stream's task starts with the first record and ends
/// when there were none for five minutes.
///
/// When the last handle is dropped, records that were accepted are still sent as long as the runtime lives. To know what
/// became of them, keep each [`Delivery`], or call [`flush`](Self::flush) or [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Producer {
    intake: Arc<Intake>,
    pub(crate) streams: Arc<Streams>,
}

impl Producer {
    /// A producer for `stream`, a stream name or ARN, with the credentials, region and endpoint of `aws`.
    pub fn builder(aws: &SdkConfig, stream: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(aws, stream.into())
    }

    pub(crate) fn new(streams: Streams, stream: Stream) -> Self {
        Self { intake: streams.get(stream), streams: Arc::new(streams) }
    }

    /// A handle that puts into another stream, a stream name or ARN. Cheap, whether the stream was written to or not.
    ///
    /// Both share everything but the stream: what one of them has outstanding counts for the other, and a shutdown is for
    /// both. A stream that is named in two ways, by name and by ARN, is taken for two.
    ///
    /// # Errors
    /// If `stream` is neither a name nor an ARN.
    pub fn to_stream(&self, stream: impl Into<String>) -> Result<Self, ConfigError> {
        let intake = self.streams.get(Stream::parse(stream.into())?);
        Ok(Self { intake, streams: self.streams.clone() })
    }

    /// The stream that records go to.
    pub fn stream(&self) -> &Stream {
        &self.intake.stream
    }

    /// Accepts a record to be sent; waits while the buffer is full, see
    /// [`max_outstanding_records`](ProducerBuilder::max_outstanding_records) and
    /// [`max_outstanding_bytes`](ProducerBuilder::max_outstanding_bytes). What is in the buffer is then sent without waiting
    /// for company.
    ///
    /// The record is stored when its [`Delivery`] resolves, which takes `record_max_buffered_time` and a round trip: 120 ms
    /// and more by default. Who awaits each delivery before the next put gets eight records a second; put many and await
    /// them together, or see [`send_when_idle`](ProducerBuilder::send_when_idle).
    ///
    /// Records that are put one after the other go out in that order, see [`RecordOrder`](crate::RecordOrder).
    ///
    /// # Errors
    /// If the record is not acceptable or the producer is shut down. The error hands the record back.
    ///
    /// # Cancellation
    /// Dropping the future before it is ready means that the record is not accepted. It is lost with the future: keep a
    /// clone, or use [`try_put`](Self::try_put), where that matters.
    #[doc(alias = "addUserRecord")]
    pub async fn put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        let prepared = self.prepare(record)?;
        self.accept(prepared).await
    }

    /// Accepts a record to be sent, if there is space for it now. If there is none, what is in the buffer is sent without
    /// waiting for company.
    ///
    /// # Errors
    /// [`PutError::BufferFull`] if there is no space, for the stream's [share](ProducerBuilder::stream_shares) or for all
    /// streams, or others wait for it; also if the record is not acceptable or the producer is shut
    /// down. The error hands the record back.
    pub fn try_put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        let prepared = self.prepare(record)?;
        self.try_accept(prepared).map_err(|prepared| {
            if self.is_closed() {
                return shut_down(*prepared);
            }
            self.hurry(prepared.space_bytes());
            PutError::BufferFull { record: Box::new(prepared.into_record()) }
        })
    }

    /// Puts records one after the other, sends them without waiting for company, and waits until each is stored or not
    /// going to be. The outcomes are in the order of the records.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait: records that were accepted are sent all the same, the others are dropped.
    pub async fn put_all(&self, records: impl IntoIterator<Item = UserRecord>) -> Vec<Result<Delivered, RecordError>> {
        let mut accepted = Vec::new();
        for record in records {
            accepted.push(self.put(record).await);
        }
        // A flush would wait for what others have put, too.
        self.intake.queue.send_now();
        let mut outcomes = Vec::with_capacity(accepted.len());
        for put in accepted {
            outcomes.push(match put {
                Ok(delivery) => delivery.await.map_err(RecordError::from),
                Err(refused) => Err(refused.into()),
            });
        }
        outcomes
    }

    /// This producer as a [`futures::Sink`] of user records.
    pub fn sink(&self) -> RecordSink {
        RecordSink::new(self.clone())
    }

    /// This producer for threads that have no async runtime. The work goes on in the runtime of this one.
    pub fn blocking(&self) -> BlockingProducer {
        BlockingProducer::of(self.clone())
    }

    /// Waits for space.
    pub(crate) async fn accept(&self, record: Prepared) -> Result<Delivery, PutError> {
        // Most puts need not wait. They must still let other tasks have their turn: the one that sends, for instance.
        tokio::task::coop::consume_budget().await;
        let record = match self.try_accept(record) {
            Ok(delivery) => return Ok(delivery),
            Err(record) => *record,
        };
        let (space, share, bytes) = (&self.streams.context.space, &self.intake.status.share, record.space_bytes());
        let mut record = Some(record);
        let attempt = || match self.intake.queue.put(record.take()?, |bytes| space.take(share, bytes)) {
            Ok(sent) => Some(Ok(self.sent(sent))),
            Err(back) if self.is_closed() => Some(Err(shut_down(*back))),
            Err(back) => {
                record = Some(*back);
                None
            }
        };
        space.wait(share, bytes, attempt, || self.hurry(bytes)).await
    }

    /// Hands the record back if there is no space.
    pub(crate) fn try_accept(&self, record: Prepared) -> Result<Delivery, Box<Prepared>> {
        let (space, share) = (&self.streams.context.space, &self.intake.status.share);
        let sent = self.intake.queue.put(record, |bytes| space.try_take(share, bytes))?;
        Ok(self.sent(sent))
    }

    /// No company can come to what keeps a record of `bytes` out of the buffer: it goes at once.
    fn hurry(&self, bytes: usize) {
        match self.streams.context.space.hurry(&self.intake.status.share, bytes) {
            Hurry::All => self.streams.hurry(),
            Hurry::Stream => self.intake.queue.hurry(),
            Hurry::None => {}
        }
    }

    fn is_closed(&self) -> bool {
        self.streams.context.space.is_closed() || self.intake.queue.is_closed()
    }

    fn sent<R>(&self, Sent { value, starts }: Sent<R>) -> R {
        if starts {
            self.streams.start(&self.intake);
        }
        value
    }

    /// Sends what was put before, to any stream of the producer, without waiting for company, and waits until all of it
    /// is resolved: stored or failed.
    ///
    /// Costs nothing when nothing is outstanding, and no longer than the requests take otherwise: an AWS Lambda function
    /// calls it at the end of each invocation.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the records are sent all the same, once the future was polled.
    #[doc(alias = "flushSync")]
    pub async fn flush(&self) {
        let intakes = self.streams.all();
        join_all(intakes.iter().map(|intake| self.flush_intake(intake))).await;
    }

    /// [`flush`](Self::flush) for this handle's stream only.
    ///
    /// # Cancellation
    /// As for [`flush`](Self::flush).
    pub async fn flush_stream(&self) {
        self.flush_intake(&self.intake).await;
    }

    async fn flush_intake(&self, intake: &Arc<Intake>) {
        match intake.queue.flush() {
            Some(flushed) => {
                let _ = flushed.await; // an error means that the task is gone, and nothing is left unresolved
            }
            // Shut down: the tasks end when everything is resolved.
            None if self.streams.context.closing.is_cancelled() => self.streams.context.tasks.wait().await,
            None => {}
        }
    }

    /// Accepts no more records, sends all that were accepted, and waits until every [`Delivery`] is resolved. That takes
    /// as long as [`record_ttl`](ProducerBuilder::record_ttl) and a request at the most, if there is a `record_ttl`.
    ///
    /// Works for all clones of the producer and all its streams: a later put is refused with [`PutError::ShutDown`].
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the producer shuts down all the same, once the future was polled.
    ///
    /// # Panics
    /// If a task of the producer has panicked, as it does when a callback for events panics.
    #[doc(alias = "destroy")]
    pub async fn shutdown(&self) {
        self.streams.close();
        self.streams.context.tasks.wait().await;
        if let Some(panic) = self.streams.context.take_panic() {
            resume_unwind(panic);
        }
    }

    /// Shuts down as [`shutdown`](Self::shutdown) does, but for `limit` at the most: what is not resolved by then fails as
    /// [abandoned](crate::DeliveryErrorKind::Abandoned), and may be stored if a request was under way.
    ///
    /// # Errors
    /// If records were abandoned.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait and takes the limit back; the producer shuts down all the same, once the future was
    /// polled.
    ///
    /// # Panics
    /// As for [`shutdown`](Self::shutdown), and outside of a runtime with timers.
    pub async fn shutdown_within(&self, limit: Duration) -> Result<(), ShutdownError> {
        if timeout(limit, self.shutdown()).await.is_ok() {
            return Ok(());
        }
        let records = self.outstanding_records();
        self.streams.context.abandoning.cancel();
        self.shutdown().await;
        match records {
            0 => Ok(()),
            records => Err(ShutdownError::Abandoned { records }),
        }
    }

    /// Number of records that were accepted and are not resolved, for all streams together.
    #[doc(alias = "getOutstandingRecordsCount")]
    pub fn outstanding_records(&self) -> usize {
        self.streams.context.space.used().records
    }

    /// Bytes, data and partition keys, of the records that were accepted and are not resolved, for all streams together.
    pub fn outstanding_bytes(&self) -> usize {
        self.streams.context.space.used().bytes
    }

    /// Most bytes of a record, data and partition key together: what is configured, what the stream is known to take, and
    /// what fits into the buffer.
    pub fn max_record_bytes(&self) -> usize {
        let (config, status) = (&self.streams.context.config, &self.intake.status);
        let stream = status.max_record_bytes.load(Relaxed);
        config.max_record_bytes.unwrap_or(stream).min(stream).min(config.max_outstanding_bytes)
    }

    /// What is going on just now, for all streams together.
    #[doc(alias = "getOldestRecordTimeInMillis")]
    pub fn snapshot(&self) -> Snapshot {
        let oldest = self.streams.all().iter().filter_map(|intake| intake.status.oldest()).min();
        Snapshot {
            outstanding_records: self.outstanding_records(),
            outstanding_bytes: self.outstanding_bytes(),
            oldest_record_age: oldest.map(|arrived| arrived.elapsed()),
        }
    }

    /// Encodes and checks a record.
    pub(crate) fn prepare(&self, record: UserRecord) -> Result<Prepared, PutError> {
        let prepared = match &self.streams.context.encode {
            None => Prepared::new(record),
            Some(encode) => match encode(&record) {
                Ok(data) => Prepared::encoded(record, data),
                Err(source) => return Err(PutError::Encode { source, record: Box::new(record) }),
            },
        };
        let (size_bytes, limit_bytes) = (prepared.record.size_bytes(), self.max_record_bytes());
        if size_bytes > limit_bytes {
            return Err(PutError::TooLarge { size_bytes, limit_bytes, record: Box::new(prepared.into_record()) });
        }
        let key = prepared.record.partition_key();
        // There are at most as many characters as bytes.
        if key.is_empty() || key.len() > PARTITION_KEY_MAX_CHARS && key.chars().count() > PARTITION_KEY_MAX_CHARS {
            let chars = key.chars().count();
            return Err(PutError::InvalidPartitionKey { chars, record: Box::new(prepared.into_record()) });
        }
        Ok(prepared)
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("stream", &self.intake.stream).finish_non_exhaustive()
    }
}

fn shut_down(record: Prepared) -> PutError {
    PutError::ShutDown { record: Box::new(record.into_record()) }
}
