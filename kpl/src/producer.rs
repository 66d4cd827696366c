//! The handle of a producer: put, flush, shutdown.

pub(crate) mod blocking;
pub(crate) mod builder;
mod many;
pub(crate) mod sink;

use std::{
    fmt,
    panic::resume_unwind,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use aws_types::SdkConfig;
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::{
    delivery::{Delivery, Prepared},
    error::{ConfigError, PutError, ShutdownError},
    event::Snapshot,
    health::{Health, HealthProblem},
    intake::{
        Intake,
        space::{Hurry, Share, Space},
    },
    locked::locked,
    producer::{blocking::BlockingProducer, builder::ProducerBuilder, sink::RecordSink},
    record::{PARTITION_KEY_MAX_CHARS, UserRecord},
    stream::Stream,
    streams::Streams,
};

/// Handle to a producer, which aggregates, batches, limits and retries user records in tasks of its own. Clones share it.
/// A stream's task starts with its first record and ends after five minutes without one.
///
/// Once the last handle is dropped, accepted records are still sent while the runtime lives. Their outcome is known by each
/// [`Delivery`], or after [`flush`](Self::flush) or [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct Producer {
    intake: Arc<Intake>,
    pub(crate) streams: Arc<Streams>,
}

impl Producer {
    /// Builder of a producer for `stream`, a name or ARN, with the credentials, region and endpoint of `aws`.
    pub fn builder(aws: &SdkConfig, stream: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(aws, stream.into())
    }

    pub(crate) fn new(streams: Streams, stream: Stream) -> Self {
        Self { intake: streams.get(stream), streams: Arc::new(streams) }
    }

    /// Handle for another stream; cheap. Client, settings, buffer and shutdown are shared. Name and ARN count as two streams.
    ///
    /// ```no_run
    /// # async fn example(orders: kpl::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let audit = orders.to_stream("audit")?;
    /// audit.put(kpl::UserRecord::new("customer-7", "order 12 placed")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `stream` is neither a name nor an ARN.
    pub fn to_stream(&self, stream: impl Into<String>) -> Result<Self, ConfigError> {
        let intake = self.streams.get(Stream::parse(stream.into())?);
        Ok(Self { intake, streams: self.streams.clone() })
    }

    /// The stream of this handle.
    pub fn stream(&self) -> &Stream {
        &self.intake.stream
    }

    /// Accepts a record; waits while the [buffer](ProducerBuilder::max_outstanding_bytes) is full, and has it sent at once then.
    ///
    /// Awaiting each [`Delivery`] before the next put gives eight records per second: await many together, or see
    /// [`send_when_idle`](ProducerBuilder::send_when_idle). Order: [`RecordOrder`](crate::RecordOrder).
    ///
    /// # Errors
    /// If the record is not acceptable or the producer is shut down. The error returns the record.
    ///
    /// # Cancellation
    /// Dropping the future before it is ready drops the record unaccepted: keep a clone, or use [`try_put`](Self::try_put).
    #[doc(alias = "addUserRecord")]
    pub async fn put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        self.accept(self.prepare(record)?).await
    }

    /// Accepts a record if there is space; else has the buffer sent at once.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`PutError::BufferFull`] without space in the buffer or the stream's
    /// [share](ProducerBuilder::stream_shares), or if other puts wait.
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

    /// This producer as a [`futures::Sink`] of user records.
    ///
    /// ```no_run
    /// use futures::{SinkExt as _, StreamExt as _, stream};
    /// # async fn example(producer: kpl::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let lines = stream::iter(["tea", "coffee"]).map(|line| Ok(kpl::UserRecord::new(line, line)));
    /// let mut sink = producer.sink();
    /// sink.send_all(&mut lines.boxed()).await?; // waits while the buffer is full
    /// sink.close().await?; // all are stored, or this is the first failure
    /// # Ok(())
    /// # }
    /// ```
    pub fn sink(&self) -> RecordSink {
        RecordSink::new(self.clone())
    }

    /// This producer for threads without an async runtime. It stays in its runtime.
    pub fn blocking(&self) -> BlockingProducer {
        BlockingProducer::of(self.clone())
    }

    pub(crate) async fn accept(&self, record: Prepared) -> Result<Delivery, PutError> {
        // Most puts need not wait. They must still let other tasks have their turn: the one that sends, for instance.
        tokio::task::coop::consume_budget().await;
        let record = match self.try_accept(record) {
            Ok(delivery) => return Ok(delivery),
            Err(record) => *record,
        };
        let (space, share, bytes) = (&self.streams.context.space, &self.intake.status.share, record.space_bytes());
        let mut record = Some(record);
        let attempt = || match self.queue(record.take()?, Space::take) {
            Ok(delivery) => Some(Ok(delivery)),
            Err(back) if self.is_closed() => Some(Err(shut_down(*back))),
            Err(back) => {
                record = Some(*back);
                None
            }
        };
        space.wait(share, bytes, attempt, || self.hurry(bytes)).await
    }

    pub(crate) fn try_accept(&self, record: Prepared) -> Result<Delivery, Box<Prepared>> {
        self.queue(record, Space::try_take)
    }

    /// Queues a record if `take` has space for it, and starts the pipeline if none runs; else returns the record.
    fn queue(&self, record: Prepared, take: fn(&Space, &Share, usize) -> bool) -> Result<Delivery, Box<Prepared>> {
        let (space, share) = (&self.streams.context.space, &self.intake.status.share);
        let (delivery, starts) = self.intake.queue.put(record, |bytes| take(space, share, bytes))?;
        if starts {
            self.streams.start(&self.intake);
        }
        Ok(delivery)
    }

    /// Has sent what keeps a record of `bytes` out of the buffer.
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

    /// Sends all that was put before, to any stream, at once, and waits until it is resolved.
    ///
    /// ```no_run
    /// # async fn example(producer: kpl::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let delivery = producer.put(kpl::UserRecord::new("customer-7", "tea")).await?;
    /// producer.flush().await; // at the end of an invocation of AWS Lambda, for example
    /// println!("stored in {}", delivery.await?.shard_id()); // does not wait any more
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; once it was polled, the records are still sent.
    #[doc(alias = "flushSync")]
    pub async fn flush(&self) {
        // All are queued before the first is awaited.
        let flushes: Vec<_> = self.streams.all().iter().filter_map(|intake| intake.queue.flush()).collect();
        join_all(flushes).await;
    }

    /// [`flush`](Self::flush), with its cancellation, for this handle's stream only.
    pub async fn flush_stream(&self) {
        if let Some(flushed) = self.intake.queue.flush() {
            flushed.await;
        }
    }

    /// Refuses further records of all clones and streams, sends the accepted ones, and waits until every [`Delivery`] is
    /// resolved, for at most [`record_ttl`](ProducerBuilder::record_ttl) and a request.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; once it was polled, the producer still shuts down.
    ///
    /// # Panics
    /// If a task of the producer has panicked.
    #[doc(alias = "destroy")]
    pub async fn shutdown(&self) {
        self.streams.close();
        self.streams.context.tasks.wait().await;
        let panic = locked(&self.streams.context.panicked).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// [`shutdown`](Self::shutdown) within `limit`.
    ///
    /// # Errors
    /// If records were not resolved by then: they fail as [abandoned](crate::DeliveryErrorKind::Abandoned).
    ///
    /// # Cancellation
    /// Dropping the future ends the wait and cancels the limit; once it was polled, the producer still shuts down.
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
        if records == 0 { Ok(()) } else { Err(ShutdownError::Abandoned { records }) }
    }

    /// Number of accepted records that are not resolved, over all streams.
    #[doc(alias = "getOutstandingRecordsCount")]
    pub fn outstanding_records(&self) -> usize {
        self.streams.context.space.used().records
    }

    /// Bytes, data and partition keys, of accepted records that are not resolved, over all streams.
    pub fn outstanding_bytes(&self) -> usize {
        self.streams.context.space.used().bytes
    }

    /// Maximum bytes of a record, data and partition key together: by settings, buffer and the stream's known limit.
    pub fn max_record_bytes(&self) -> usize {
        let (config, status) = (&self.streams.context.config, &self.intake.status);
        let stream = status.max_record_bytes.load(Relaxed);
        config.max_record_bytes.unwrap_or(stream).min(stream).min(config.max_outstanding_bytes)
    }

    /// The load at this instant, over all streams.
    #[doc(alias = "getOldestRecordTimeInMillis")]
    pub fn snapshot(&self) -> Snapshot {
        let oldest = self.streams.all().iter().filter_map(|intake| *locked(&intake.status.oldest)).min();
        Snapshot {
            outstanding_records: self.outstanding_records(),
            outstanding_bytes: self.outstanding_bytes(),
            oldest_record_age: oldest.map(|arrived| arrived.elapsed()),
        }
    }

    /// The producer's health: live, ready, and why not, with each of its streams. For probes, and for a page to look at.
    /// Calls no service: it is what the last calls met.
    pub fn health(&self) -> Health {
        let (context, now) = (&self.streams.context, Instant::now());
        let used = context.space.used();
        let mut problems = Vec::new();
        if context.has_panicked.load(Relaxed) {
            problems.push(HealthProblem::Panicked);
        } else if context.space.is_closed() {
            problems.push(HealthProblem::ShutDown);
        }
        let mut streams = Vec::new();
        for intake in self.streams.all() {
            let (stream, failing) = intake.health(now);
            if let Some(failure) = stream.failure.clone().filter(|_| failing) {
                problems.push(HealthProblem::StreamFailing { stream: stream.stream.clone(), failure });
            }
            streams.push(stream);
        }
        streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        Health {
            live: !problems.iter().any(HealthProblem::ends_life),
            ready: problems.is_empty(),
            problems,
            outstanding_records: used.records,
            max_outstanding_records: context.config.max_outstanding_records,
            outstanding_bytes: used.bytes,
            max_outstanding_bytes: context.config.max_outstanding_bytes,
            streams,
        }
    }

    pub(crate) fn prepare(&self, record: UserRecord) -> Result<Prepared, PutError> {
        let encoded = self.streams.context.encode.as_ref().map(|encode| encode(&record)).transpose();
        let prepared = match encoded {
            Ok(None) => Prepared::new(record),
            Ok(Some(data)) => Prepared::encoded(record, data),
            Err(source) => return Err(PutError::Encode { source, record: Box::new(record) }),
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
