//! The exporters, a few lines each.

use std::{
    env::{self, VarError},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use aws_types::SdkConfig;
use kinesis_cloudwatch::Publisher;
use opentelemetry_sdk::{
    metrics::{SdkMeterProvider, periodic_reader_with_async_runtime::PeriodicReader},
    runtime::Tokio,
};
use tokio::task::spawn_blocking;

use super::Exporter;

/// Port at which Prometheus reads, unless [`PORT`] names another.
const DEFAULT_PORT: u16 = 9464;
/// Variable of OpenTelemetry's SDKs. opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables
const PORT: &str = "OTEL_EXPORTER_PROMETHEUS_PORT";
/// Time from one line to the next. The exporter keeps at most 100 values of a histogram between two, and there are as many as
/// Kinesis records: some ten a second for each shard, and more under load.
const EMF_EVERY: Duration = Duration::from_millis(250);

/// Exporters that have something to do at the end.
pub(super) enum Installed {
    Nothing,
    Publisher(Publisher),
    Emf(&'static metrics_cloudwatch_embedded::Collector),
    OpenTelemetry(SdkMeterProvider),
}

pub(super) fn install(exporter: Exporter, aws: &SdkConfig) -> anyhow::Result<Installed> {
    match exporter {
        Exporter::Cloudwatch => return Ok(Installed::Publisher(kinesis_cloudwatch::install(aws)?)),
        Exporter::Prometheus => {
            let port = port()?;
            metrics_exporter_prometheus::PrometheusBuilder::new()
                .with_http_listener(SocketAddr::from(([0, 0, 0, 0], port)))
                .install()
                .with_context(|| format!("Prometheus cannot be served at port {port}, {PORT} names another"))?;
        }
        Exporter::Emf => {
            let collector = metrics_cloudwatch_embedded::Builder::new()
                .cloudwatch_namespace("StockTrades")
                .with_auto_flush_writer(EMF_EVERY, std::io::stdout)
                .init()
                .map_err(|error| anyhow!("metrics cannot be exported: {error}"))?;
            return Ok(Installed::Emf(collector));
        }
        Exporter::Otel => {
            let exporter = opentelemetry_otlp::MetricExporter::builder().with_http().build()?;
            let reader = PeriodicReader::builder(exporter, Tokio).build();
            let recorder = metrics_exporter_opentelemetry::Recorder::builder("stock-trades");
            let recorder = recorder.with_meter_provider(|provider| provider.with_reader(reader));
            let installed = recorder.install().map_err(|error| anyhow!("metrics cannot be exported: {error}"))?;
            return Ok(Installed::OpenTelemetry(installed.0));
        }
        Exporter::None => bail!("nothing is exported"),
    }
    Ok(Installed::Nothing)
}

fn port() -> anyhow::Result<u16> {
    match env::var(PORT) {
        Ok(port) => port.parse().with_context(|| format!("{PORT}={port} is no port")),
        Err(VarError::NotPresent) => Ok(DEFAULT_PORT),
        Err(error) => Err(error).context(PORT),
    }
}

impl Installed {
    pub(super) async fn shutdown(self) {
        match self {
            Self::Nothing => {}
            Self::Publisher(publisher) => publisher.shutdown().await,
            Self::Emf(collector) => {
                if let Err(error) = collector.flush(std::io::stdout()) {
                    tracing::warn!(%error, "the last metrics cannot be exported");
                }
            }
            Self::OpenTelemetry(provider) => {
                // It blocks until the last export is done.
                let ended = spawn_blocking(move || provider.shutdown()).await;
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "the last metrics cannot be exported");
                }
            }
        }
    }
}
