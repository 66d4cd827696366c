//! The daemon as others see it: metrics in CloudWatch, and probes with metrics for Prometheus over HTTP.

use std::{error::Error, io, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use kcl::MetricsLevel;
use kinesis_cloudwatch::{InstallError, Publisher};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::FanoutBuilder;
use tokio::{net::TcpListener, time::interval};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    aws::Configurations,
    daemon::{Daemon, Health},
    settings::Settings,
};

/// Maximum time of a probe's answer, in seconds.
const PATIENCE: u64 = 5;
/// Pause between two compactions of the exporter's histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Metrics cannot be recorded, or probes not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// CloudWatch's settings are refused.
    #[error(transparent)]
    CloudWatch(#[from] InstallError),
    /// The exporter's settings are refused.
    #[error("metrics cannot be exported")]
    Prometheus(#[from] BuildError),
    /// Another recorder is installed in this process.
    #[error("another recorder of metrics is installed")]
    RecorderInstalled,
    /// The address of the probes cannot be used.
    #[error("probeAddress: {address} cannot be listened on")]
    #[non_exhaustive]
    Address {
        /// The address.
        address: String,
        /// The cause.
        source: io::Error,
    },
}

/// A daemon is not live, as far as its probes tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLive {
    /// The settings have no address.
    #[error("probeAddress is not set: the daemon answers no probes")]
    NoAddress,
    /// Nobody answers in time.
    #[error("{url} does not answer")]
    #[non_exhaustive]
    Silent {
        /// Address that was asked.
        url: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The daemon answers that it is not.
    #[error("{url} answers {status}: {health}")]
    #[non_exhaustive]
    Answered {
        /// Address that was asked.
        url: String,
        /// Status of the answer.
        status: u16,
        /// Health of the daemon, as JSON.
        health: String,
    },
}

/// Metrics of this process, until they are shut down.
#[derive(Debug)]
#[must_use = "what was recorded last is only published by its shutdown"]
pub struct Metrics {
    publisher: Option<Publisher>,
    exporter: Option<(PrometheusHandle, AbortOnDropHandle<()>)>,
}

impl Metrics {
    /// Installs what the settings ask for: CloudWatch unless `metricsLevel` is NONE, Prometheus if there are probes.
    ///
    /// # Errors
    /// See [`ObserveError`].
    pub fn install(settings: &Settings, aws: &Configurations) -> Result<Self, ObserveError> {
        let (mut publisher, mut exporter, mut fan_out) = (None, None, FanoutBuilder::default());
        if settings.consume.metrics_level != MetricsLevel::None {
            let mut builder = kinesis_cloudwatch::builder(&aws.cloudwatch);
            if let Some(interval) = settings.consume.metrics_interval {
                builder = builder.consumer_interval(interval.max(Duration::from_secs(1)));
            }
            if let Some(queue) = settings.consume.metrics_queue {
                builder = builder.max_queue(usize::try_from(queue).unwrap_or(usize::MAX));
            }
            let (recorder, publishing) = builder.build()?;
            fan_out = fan_out.add_recorder(recorder);
            publisher = Some(publishing);
        }
        if settings.probes.is_some() {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            fan_out = fan_out.add_recorder(recorder);
            exporter = Some((handle.clone(), AbortOnDropHandle::new(tokio::spawn(upkeep(handle)))));
        }
        metrics::set_global_recorder(fan_out.build()).map_err(|_| ObserveError::RecorderInstalled)?;
        Ok(Self { publisher, exporter })
    }

    /// Publishes what was recorded last.
    pub async fn shutdown(self) {
        if let Some(publisher) = self.publisher {
            publisher.shutdown().await;
        }
    }
}

async fn upkeep(handle: PrometheusHandle) {
    let mut due = interval(UPKEEP);
    loop {
        due.tick().await;
        handle.run_upkeep();
    }
}

/// Answers of probes, until dropped.
#[derive(Debug)]
pub struct Probes {
    address: std::net::SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Probes {
    /// Answers `/livez`, `/readyz` and `/metrics` on `probeAddress`; None if the settings have none.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn serve(settings: &Settings, daemon: &Daemon, metrics: &Metrics) -> Result<Option<Self>, ObserveError> {
        let Some(address) = settings.probes.clone() else { return Ok(None) };
        let refused = |source| ObserveError::Address { address: address.clone(), source };
        let listener = TcpListener::bind(&address).await.map_err(refused)?;
        let bound = listener.local_addr().map_err(refused)?;
        let exporter = metrics.exporter.as_ref().map(|(handle, _)| handle.clone());
        let routes = Router::new()
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .route(
                "/metrics",
                get(move || async move { exporter.map(|exporter| exporter.render()).unwrap_or_default() }),
            )
            .with_state(daemon.clone());
        let serving = async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "probes are no longer answered");
            }
        };
        Ok(Some(Self { address: bound, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }))
    }

    /// Asks the daemon that runs with these settings, on this machine, if it is live. Blocks the thread for at most 5 s.
    ///
    /// # Errors
    /// See [`NotLive`].
    pub fn ask(settings: &Settings) -> Result<(), NotLive> {
        let address = settings.probes.as_deref().ok_or(NotLive::NoAddress)?;
        // All addresses are those to listen on, not one to ask.
        let address = address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
        let url = format!("http://{address}/livez");
        match minreq::get(url.as_str()).with_timeout(PATIENCE).send() {
            Ok(answer) if answer.status_code == 200 => Ok(()),
            Ok(answer) => {
                let health = answer.as_str().unwrap_or_default().to_owned();
                Err(NotLive::Answered { url, status: answer.status_code, health })
            }
            Err(error) => Err(NotLive::Silent { url, source: error.into() }),
        }
    }

    /// Address that is listened on.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

async fn live(State(daemon): State<Daemon>) -> (StatusCode, Json<Health>) {
    let health = daemon.health();
    answer(health.live, health)
}

async fn ready(State(daemon): State<Daemon>) -> (StatusCode, Json<Health>) {
    let health = daemon.health();
    answer(health.ready, health)
}

fn answer(is_well: bool, health: Health) -> (StatusCode, Json<Health>) {
    (if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(health))
}
