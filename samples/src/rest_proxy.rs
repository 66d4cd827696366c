//! A REST proxy in front of a stream: `PUT /streams/{stream}/record` and `/streams/{stream}/records`, with the JSON of PutRecord and
//! PutRecords. `docs/rest-proxy.md` of the repository has its guarantees.

mod answer;
mod handlers;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use aws_types::SdkConfig;
use axum::{Router, routing::put};
use kpl::{ConfigError, Producer, ProducerBuilder};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    time::sleep,
};

/// Settings of a proxy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum requests at a time; those beyond are answered with 429. Default 256, which bounds the memory of bodies to 4 GiB if all
    /// were as long as they may be; choose it for the memory that there is.
    pub max_requests: usize,
    /// Maximum time for the body of a request to come. Default 10 s.
    pub body_timeout: Duration,
    /// Maximum time after a stop for answers to requests that have begun, also to those whose head never comes. Then the producer
    /// is shut down. Default 20 s, of the 30 s that a Kubernetes pod has.
    pub stop_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (body_timeout, stop_timeout) = (Duration::from_secs(10), Duration::from_secs(20));
        Self { max_requests: 256, body_timeout, stop_timeout }
    }
}

/// A proxy for some streams, which share one producer and its buffer.
#[derive(Debug, Clone)]
pub struct RestProxy {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    producers: BTreeMap<String, Producer>,
    requests: Semaphore,
    settings: Settings,
}

impl RestProxy {
    /// Proxy for these streams. Others are answered with 404: who may name any stream may fill the buffer of all.
    ///
    /// # Errors
    /// If there is no stream, or a name is none, or a setting of the producer is out of bounds.
    pub fn new(
        aws: &SdkConfig,
        streams: &[String],
        settings: Settings,
        configure: impl FnOnce(ProducerBuilder) -> ProducerBuilder,
    ) -> Result<Self, ConfigError> {
        let first = streams.first().map_or("", String::as_str);
        let producer = configure(Producer::builder(aws, first)).build()?;
        let named = |stream: &String| Ok((stream.clone(), producer.to_stream(stream)?));
        let producers = streams.iter().map(named).collect::<Result<_, ConfigError>>()?;
        let requests = Semaphore::new(settings.max_requests);
        Ok(Self { state: Arc::new(State { producers, requests, settings }) })
    }

    /// The routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/streams/{stream}/record", put(handlers::put_record))
            .route("/streams/{stream}/records", put(handlers::put_records))
            .with_state(self.state.clone())
    }

    /// Answers requests until `stop` resolves; then answers those that have begun, for as long as `stop_timeout`, stores what was
    /// put, and ends.
    ///
    /// # Errors
    /// If the listener fails.
    ///
    /// # Cancellation
    /// No more connections are taken. Requests that have begun go on, and records that were accepted are sent, while the runtime
    /// lives.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopping.send(()); // it may have ended
        };
        let served = tokio::select! {
            served = axum::serve(listener, self.routes()).with_graceful_shutdown(stop).into_future() => served,
            () = passed(stopped, self.state.settings.stop_timeout) => {
                tracing::warn!("connections have not ended in time after the stop");
                Ok(())
            }
        };
        // All have the same buffer: the first shuts all down.
        for producer in self.state.producers.values() {
            producer.shutdown().await;
        }
        served
    }
}

/// Waits for the stop, and then for this time; without a stop for ever.
async fn passed(stopped: oneshot::Receiver<()>, time: Duration) {
    match stopped.await {
        Ok(()) => sleep(time).await,
        Err(_) => std::future::pending().await,
    }
}
