//! A producer for threads without an async runtime.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    delivered::Delivered,
    delivery::{Delivery, assert_may_block},
    error::{ConfigError, PutError, RecordError, ShutdownError},
    producer::Producer,
    record::UserRecord,
    streams::Streams,
};

/// A [`Producer`] with blocking methods. [`Delivery::wait`] waits for an outcome.
///
/// ```no_run
/// # fn example(aws: aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// use kpl::{Producer, UserRecord};
///
/// let producer = Producer::builder(&aws, "StockTradeStream").build_blocking()?;
/// let delivery = producer.put(UserRecord::new("AAPL", "trade"))?;
/// println!("{}", delivery.wait()?.sequence_number());
/// producer.shutdown();
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Methods that may wait panic in async code, as [`Delivery::wait`] does. Dropping the last handle with a runtime of its own
/// blocks, and does not panic.
#[derive(Clone)]
pub struct BlockingProducer {
    producer: Producer,
    _runtime: Option<Arc<OwnRuntime>>,
}

/// A runtime on a thread of its own, until dropped.
struct OwnRuntime {
    streams: Arc<Streams>,
    stop: Option<oneshot::Sender<Arc<Streams>>>,
    thread: Option<JoinHandle<()>>,
}

/// Refuses what other handles put from now on, and waits until everything is resolved.
impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(self.streams.clone()); // the thread waits for it
        }
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join(); // tasks that panic are reported by shutdown
        }
    }
}

impl BlockingProducer {
    /// On a runtime of its own. `build` is given a handle to that.
    pub(crate) fn start(build: impl FnOnce(Handle) -> Result<Producer, ConfigError>) -> Result<Self, ConfigError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| ConfigError::NoRuntime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Arc<Streams>>();
        let run = move || {
            runtime.block_on(async {
                // An error means that there is no producer.
                if let Ok(streams) = stopped.await {
                    streams.close();
                    streams.context.tasks.wait().await;
                }
            });
        };
        let thread = thread::Builder::new().name("kpl".into()).spawn(run).map_err(|_| ConfigError::NoRuntime)?;
        let producer = build(handle)?;
        let streams = producer.streams.clone();
        let runtime = OwnRuntime { streams, stop: Some(stop), thread: Some(thread) };
        Ok(Self { producer, _runtime: Some(Arc::new(runtime)) })
    }

    pub(crate) fn of(producer: Producer) -> Self {
        Self { producer, _runtime: None }
    }

    /// [`Producer::to_stream`], with its errors.
    pub fn to_stream(&self, stream: impl Into<String>) -> Result<Self, ConfigError> {
        Ok(Self { producer: self.producer.to_stream(stream)?, ..self.clone() })
    }

    /// [`Producer::put`], with its errors; blocks while the buffer is full.
    #[track_caller]
    pub fn put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        assert_may_block();
        let prepared = self.producer.prepare(record)?;
        match self.producer.try_accept(prepared) {
            Ok(delivery) => Ok(delivery),
            Err(prepared) => self.producer.streams.runtime.block_on(self.producer.accept(*prepared)),
        }
    }

    /// [`Producer::try_put`], with its errors; never blocks.
    pub fn try_put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        self.producer.try_put(record)
    }

    /// [`Producer::put_many`], with its errors; blocks while the buffer is full.
    #[track_caller]
    pub fn put_many(&self, records: &mut VecDeque<UserRecord>, deliveries: &mut Vec<Delivery>) -> Result<(), PutError> {
        self.block_on(self.producer.put_many(records, deliveries))
    }

    /// [`Producer::put_all`]; blocks until each record has an outcome.
    #[track_caller]
    pub fn put_all(&self, records: impl IntoIterator<Item = UserRecord>) -> Vec<Result<Delivered, RecordError>> {
        self.block_on(self.producer.put_all(records))
    }

    /// [`Producer::flush`]; blocks until all that was put before is resolved.
    #[track_caller]
    pub fn flush(&self) {
        self.block_on(self.producer.flush());
    }

    /// [`Producer::shutdown`]; blocks until all records are resolved.
    #[track_caller]
    pub fn shutdown(&self) {
        self.block_on(self.producer.shutdown());
    }

    /// [`Producer::shutdown_within`], with its errors.
    #[track_caller]
    pub fn shutdown_within(&self, limit: Duration) -> Result<(), ShutdownError> {
        // The timer of the limit belongs to the runtime.
        self.block_on(async { self.producer.shutdown_within(limit).await })
    }

    #[track_caller]
    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        assert_may_block();
        self.producer.streams.runtime.block_on(work)
    }

    /// The producer for async code. It refuses records once the last blocking handle with a runtime of its own is dropped.
    pub fn as_async(&self) -> &Producer {
        &self.producer
    }
}

impl fmt::Debug for BlockingProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingProducer").field("stream", self.producer.stream()).finish_non_exhaustive()
    }
}
