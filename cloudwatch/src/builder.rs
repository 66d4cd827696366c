//! Settings of publishing.

use std::time::Duration;

use aws_sdk_cloudwatch::Client;
use aws_types::SdkConfig;
use tokio::runtime::Handle;

use crate::{
    publisher::{Publisher, Task},
    recorder::{Namespaces, Recorder},
};

/// Namespace of the KPL. Source: KPL `MetricsNamespace`.
const PRODUCER_NAMESPACE: &str = "KinesisProducerLibrary";
/// Source: KPL `MetricsUploadDelay`.
const PRODUCER_INTERVAL: Duration = Duration::from_secs(60);
/// Source: KCL `metricsBufferTimeMillis`.
const CONSUMER_INTERVAL: Duration = Duration::from_secs(10);
/// Source: KCL `metricsMaxQueueSize`.
const MAX_QUEUE: usize = 100_000;
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of publishing. Get them from [`builder`](crate::builder).
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until they are installed"]
pub struct Builder {
    client: Client,
    namespaces: Namespaces,
    producer_interval: Duration,
    consumer_interval: Duration,
    max_queue: usize,
}

/// An error of the start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// No tokio runtime is running here.
    #[error("metrics are published on a tokio runtime, and none is running here")]
    NoRuntime,
    /// Another recorder is installed.
    #[error("another recorder of metrics is installed")]
    RecorderInstalled,
    /// A namespace that CloudWatch does not accept.
    #[error("namespace is {0:?}, accepted: 1 to 255 characters, not AWS/ at the beginning")]
    Namespace(String),
    /// An interval or a queue that is too short.
    #[error("{setting} is {value}, accepted: {bounds}")]
    OutOfBounds {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Values that are accepted.
        bounds: &'static str,
    },
}

impl Builder {
    pub(crate) fn new(aws: &SdkConfig) -> Self {
        Self {
            client: Client::new(aws),
            namespaces: Namespaces { producer: Some(PRODUCER_NAMESPACE.to_owned()), consumer: None, application: None },
            producer_interval: PRODUCER_INTERVAL,
            consumer_interval: CONSUMER_INTERVAL,
            max_queue: MAX_QUEUE,
        }
    }

    /// Client of CloudWatch, in place of one made from the `SdkConfig`: for other credentials or another region. Default
    /// time-out of a call: 10 s.
    pub fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// Namespace of the producers' metrics. Default `KinesisProducerLibrary`. Source: KPL `MetricsNamespace`.
    #[doc(alias = "MetricsNamespace")]
    pub fn producer_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.producer = Some(namespace.into());
        self
    }

    /// Namespace of the consumers' metrics. Default: the name of each worker's application. Source: KCL
    /// `metricsNamespace`.
    #[doc(alias = "metricsNamespace")]
    pub fn consumer_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.consumer = Some(namespace.into());
        self
    }

    /// Namespace of what others than `kpl` and `kcl` record. Default: none, and it is not published.
    pub fn application_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespaces.application = Some(namespace.into());
        self
    }

    /// Time from one publishing of the producers' metrics, and of those of the application's own, to the next. Default
    /// 60 s, at least 1 s. Source: KPL `MetricsUploadDelay`.
    #[doc(alias = "MetricsUploadDelay")]
    pub fn producer_interval(mut self, interval: Duration) -> Self {
        self.producer_interval = interval;
        self
    }

    /// Time from one publishing of the consumers' metrics to the next. Default 10 s, at least 1 s. A window of 60 s costs a
    /// sixth of the requests. Source: KCL `metricsBufferTimeMillis`.
    #[doc(alias = "metricsBufferTimeMillis")]
    pub fn consumer_interval(mut self, interval: Duration) -> Self {
        self.consumer_interval = interval;
        self
    }

    /// Maximum metrics that wait to be sent, at least 1; of more the oldest are lost. Default 100,000: a window of all
    /// series that are kept. KCL `metricsMaxQueueSize`: 10,000.
    #[doc(alias = "metricsMaxQueueSize")]
    pub fn max_queue(mut self, metrics: usize) -> Self {
        self.max_queue = metrics;
        self
    }

    /// Installs the recorder for the whole process, and starts to publish on the runtime that is running here.
    ///
    /// # Errors
    /// Another recorder is installed, a setting is out of its bounds, or no runtime is running.
    pub fn install(self) -> Result<Publisher, InstallError> {
        let (recorder, publisher) = self.build()?;
        metrics::set_global_recorder(recorder).map_err(|_| InstallError::RecorderInstalled)?;
        Ok(publisher)
    }

    /// The recorder, to be combined with others or installed for a thread, and the publisher of what it records, which
    /// has started on the runtime that is running here.
    ///
    /// # Errors
    /// A setting is out of its bounds, or no runtime is running.
    pub fn build(self) -> Result<(Recorder, Publisher), InstallError> {
        self.validate()?;
        Handle::try_current().map_err(|_| InstallError::NoRuntime)?;
        let recorder = Recorder::new(self.namespaces);
        let intervals = [self.producer_interval, self.consumer_interval, self.producer_interval];
        let publisher = Task::start(recorder.clone(), &self.client, intervals, self.max_queue);
        Ok((recorder, publisher))
    }

    fn validate(&self) -> Result<(), InstallError> {
        let Namespaces { producer, consumer, application } = &self.namespaces;
        for namespace in [producer, consumer, application].into_iter().flatten() {
            let is_valid = (1..=255).contains(&namespace.chars().count()) && !namespace.trim().is_empty();
            if !is_valid || namespace.starts_with("AWS/") {
                return Err(InstallError::Namespace(namespace.clone()));
            }
        }
        let intervals = [("producer_interval", self.producer_interval), ("consumer_interval", self.consumer_interval)];
        for (setting, interval) in intervals {
            if interval < MIN_INTERVAL {
                let (value, bounds) = (format!("{interval:?}"), "at least 1 s");
                return Err(InstallError::OutOfBounds { setting, value, bounds });
            }
        }
        if self.max_queue == 0 {
            let (setting, value, bounds) = ("max_queue", "0".to_owned(), "at least 1");
            return Err(InstallError::OutOfBounds { setting, value, bounds });
        }
        Ok(())
    }
}
