//! Exporters of metrics: what `--metrics` of the samples chooses, if they are built with the feature `metrics`.

use std::fmt;

use aws_types::SdkConfig;
use clap::ValueEnum;

#[cfg(feature = "metrics")]
mod exporters;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/without.rs"]
mod exporters;

/// Exporter of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Exporter {
    /// Nowhere.
    #[default]
    None,
    /// To Amazon CloudWatch, as the Java libraries publish them.
    Cloudwatch,
    /// To Prometheus, which reads http://HOST:9464/metrics; OTEL_EXPORTER_PROMETHEUS_PORT names another port.
    Prometheus,
    /// To stdout, a line of JSON in CloudWatch's embedded metric format at a time, for its agent or AWS Lambda.
    Emf,
    /// To an OpenTelemetry collector at OTEL_EXPORTER_OTLP_ENDPOINT, by default http://localhost:4318.
    Otel,
}

/// Exporting, until it is shut down.
#[must_use = "what was recorded last is only exported by its shutdown"]
pub struct Exporting(Option<exporters::Installed>);

impl Exporter {
    /// Names of metrics are safe for this exporter only with a prefix.
    pub fn needs_prefix(self) -> bool {
        matches!(self, Self::Prometheus | Self::Otel)
    }

    /// Installs the exporter for this process. Before producers and workers are built.
    ///
    /// # Errors
    /// Another is installed, the port is in use, or the samples are built without the feature `metrics`.
    pub fn install(self, aws: &SdkConfig) -> anyhow::Result<Exporting> {
        let installed = if self == Self::None { None } else { Some(exporters::install(self, aws)?) };
        Ok(Exporting(installed))
    }
}

impl Exporting {
    /// Exports what was recorded last.
    pub async fn shutdown(self) {
        if let Some(installed) = self.0 {
            installed.shutdown().await;
        }
    }
}

impl fmt::Debug for Exporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exporting").field(&self.0.is_some()).finish()
    }
}
