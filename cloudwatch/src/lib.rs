//! Publishes the metrics of `kpl` and `kcl` to Amazon CloudWatch, under the names, units, dimensions and namespaces of the
//! Java libraries, so that their dashboards and alarms keep working.
//!
//! ```no_run
//! # async fn example(aws: aws_types::SdkConfig) -> Result<(), kinesis_cloudwatch::InstallError> {
//! let publisher = kinesis_cloudwatch::install(&aws)?; // before producers and workers are built
//! // ...
//! publisher.shutdown().await; // publishes what was recorded last
//! # Ok(())
//! # }
//! ```
//!
//! - Producers: namespace `KinesisProducerLibrary`, each minute, by shard, stream and globally, as far as
//!   `kpl::Metrics::granularity` has them recorded. Consumers: the application's name, each 10 s. Both in one process.
//! - [`builder`] has settings for namespaces, intervals and the client, and publishes metrics of the application's own.
//! - Needs `cloudwatch:PutMetricData`. A metric with its dimensions is billed by the month; `docs/metrics.md` of the
//!   repository lists them. Levels and dimensions are settings of the producer and the worker.
//! - Recording never waits for CloudWatch. Requests keep its limits (1,000 metrics, 150 values, 1 MB) and are compressed.
//!   Those that fail are sent again after pauses of 1 s to a minute; up to 100,000 metrics wait meanwhile. A metric that
//!   CloudWatch refuses is lost alone. The first failure in a namespace and the success after it are logged, and
//!   [`Publisher::status`] counts what is lost.
//! - At most 100,000 series are kept, and the values of 500,000 samples besides their statistics, and as many of what waits: of
//!   metrics beyond, CloudWatch has no percentiles. The log has a line when a bound is reached.
//!
//! # Features
//! `producer` and `consumer` (default): the metrics of `kinesis-kpl` and of `kinesis-kcl`.

mod batch;
mod builder;
mod catalog;
mod compose;
mod datum;
mod declared;
mod health;
mod outbox;
mod publisher;
mod queue;
mod recorder;
mod request;
mod room;
mod series;
mod stats;

use aws_types::SdkConfig;

pub use builder::{Builder, InstallError};
pub use publisher::{Publisher, Status};
pub use recorder::Recorder;

/// Publishes the metrics of this process, with the default settings. See [`Builder::install`].
///
/// # Errors
/// Another recorder is installed, or no tokio runtime is running here.
pub fn install(aws: &SdkConfig) -> Result<Publisher, InstallError> {
    builder(aws).install()
}

/// Settings of publishing, at their defaults.
pub fn builder(aws: &SdkConfig) -> Builder {
    Builder::new(aws)
}
