//! A producer for threads that have no async runtime.

use std::{
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    ConfigError, Delivered, Delivery, Producer, PutError, RecordError, ShutdownError, UserRecord, streams::Context,
};

/// A [`Producer`] whose methods block: [`ProducerBuilder::build_blocking`](crate::ProducerBuilder::build_blocking) and
/// [`Producer::blocking`]. Deliveries are waited for with [`Delivery::wait`].
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
/// All methods panic where blocking would stop an async runtime, in its tasks.
#[derive(Clone)]
pub struct BlockingProducer {
    // Before the runtime: what is left is sent when the last handle is gone, and the runtime waits for that.
    producer: Producer,
    handle: Handle,
    _runtime: Option<Arc<OwnRuntime>>,
}

/// A runtime on a thread of its own, until dropped.
#[derive(Debug)]
struct OwnRuntime {
    stop: Option<DropGuard>,
    thread: Option<JoinHandle<()>>,
}

impl OwnRuntime {
    /// Starts the thread, which waits for what `Context` it is given.
    fn start() -> Result<(Self, Handle, oneshot::Sender<Arc<Context>>), ConfigError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| ConfigError::NoRuntime)?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let (context, given) = oneshot::channel::<Arc<Context>>();
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(async {
                stopped.cancelled().await;
                if let Ok(context) = given.await {
                    context.tasks.close();
                    context.tasks.wait().await;
                }
            });
        };
        let thread = thread::Builder::new().name("kpl".into()).spawn(run).map_err(|_| ConfigError::NoRuntime)?;
        Ok((Self { stop: Some(stop.drop_guard()), thread: Some(thread) }, handle, context))
    }
}

/// Waits until everything is resolved.
impl Drop for OwnRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join(); // tasks that panic are told of by shutdown
        }
    }
}

impl BlockingProducer {
    /// On a runtime of its own. `build` is given a handle to that.
    pub(crate) fn start(build: impl FnOnce(Handle) -> Result<Producer, ConfigError>) -> Result<Self, ConfigError> {
        let (runtime, handle, context) = OwnRuntime::start()?;
        let producer = build(handle.clone())?;
        let _ = context.send(producer.streams.context.clone()); // received before the thread ends
        Ok(Self { producer, handle, _runtime: Some(Arc::new(runtime)) })
    }

    pub(crate) fn of(producer: Producer) -> Self {
        let handle = producer.streams.runtime.clone();
        Self { producer, handle, _runtime: None }
    }

    /// See [`Producer::to_stream`].
    ///
    /// # Errors
    /// As there.
    pub fn to_stream(&self, stream: impl Into<String>) -> Result<Self, ConfigError> {
        Ok(Self { producer: self.producer.to_stream(stream)?, ..self.clone() })
    }

    /// Accepts a record to be sent; blocks while the buffer is full. See [`Producer::put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        let prepared = self.producer.prepare(record)?;
        match self.producer.try_accept(prepared) {
            Ok(delivery) => Ok(delivery),
            Err(prepared) => self.handle.block_on(self.producer.accept(*prepared)),
        }
    }

    /// Accepts a record to be sent, if there is space for it now. See [`Producer::try_put`].
    ///
    /// # Errors
    /// As there.
    pub fn try_put(&self, record: UserRecord) -> Result<Delivery, PutError> {
        self.producer.try_put(record)
    }

    /// Puts records and blocks until each is stored or not going to be. See [`Producer::put_all`].
    pub fn put_all(&self, records: impl IntoIterator<Item = UserRecord>) -> Vec<Result<Delivered, RecordError>> {
        self.handle.block_on(self.producer.put_all(records))
    }

    /// Blocks until all that was put before is resolved. See [`Producer::flush`].
    pub fn flush(&self) {
        self.handle.block_on(self.producer.flush());
    }

    /// Accepts no more records and blocks until all are resolved. See [`Producer::shutdown`].
    pub fn shutdown(&self) {
        self.handle.block_on(self.producer.shutdown());
    }

    /// The same, for `limit` at the most. See [`Producer::shutdown_within`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown_within(&self, limit: Duration) -> Result<(), ShutdownError> {
        // The timer of the limit belongs to the runtime.
        self.handle.block_on(async { self.producer.shutdown_within(limit).await })
    }

    /// The producer, for async code.
    pub fn as_async(&self) -> &Producer {
        &self.producer
    }
}

impl fmt::Debug for BlockingProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingProducer").field("stream", self.producer.stream()).finish_non_exhaustive()
    }
}
