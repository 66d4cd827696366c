//! Exporters of metrics, a line or two each: what `--metrics` of the samples chooses.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use aws_types::SdkConfig;
use clap::ValueEnum;
use kinesis_cloudwatch::Publisher;

/// Address at which Prometheus reads.
const PROMETHEUS: ([u8; 4], u16) = ([0, 0, 0, 0], 9464);
/// Time from one line to the next. The exporter keeps at most 100 values of a metric between two.
const EMF_EVERY: Duration = Duration::from_secs(1);

/// Exporter of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Exporter {
    /// Nowhere.
    #[default]
    None,
    /// To Amazon CloudWatch, as the Java libraries publish them.
    Cloudwatch,
    /// To whoever reads http://HOST:9464/metrics.
    Prometheus,
    /// To stdout, a line of JSON in CloudWatch's embedded metric format at a time, for its agent or AWS Lambda.
    Emf,
}

/// Exporting, until it is shut down.
#[derive(Debug)]
#[must_use = "what was recorded last is only exported by its shutdown"]
pub struct Exporting(Option<Publisher>);

impl Exporter {
    /// Names of metrics are safe for this exporter only with a prefix.
    pub fn needs_prefix(self) -> bool {
        self == Self::Prometheus
    }

    /// Installs the exporter for this process. Before producers and workers are built.
    ///
    /// # Errors
    /// Another is installed, or the port is in use.
    pub fn install(self, aws: &SdkConfig) -> anyhow::Result<Exporting> {
        let mut publisher = None;
        match self {
            Self::None => {}
            Self::Cloudwatch => publisher = Some(kinesis_cloudwatch::install(aws)?),
            Self::Prometheus => {
                metrics_exporter_prometheus::PrometheusBuilder::new()
                    .with_http_listener(SocketAddr::from(PROMETHEUS))
                    .install()
                    .context("metrics cannot be exported to Prometheus")?;
            }
            Self::Emf => {
                metrics_cloudwatch_embedded::Builder::new()
                    .cloudwatch_namespace("StockTrades")
                    .with_auto_flush_writer(EMF_EVERY, std::io::stdout)
                    .init()
                    .map_err(|error| anyhow::anyhow!("metrics cannot be exported: {error}"))?;
            }
        }
        Ok(Exporting(publisher))
    }
}

impl Exporting {
    /// Exports what was recorded last.
    pub async fn shutdown(self) {
        if let Some(publisher) = self.0 {
            publisher.shutdown().await;
        }
    }
}
