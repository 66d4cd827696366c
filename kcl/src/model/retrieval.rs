//! Ways to read a shard.

use std::{sync::Arc, time::Duration};

use super::policies::MAX_DURATION;

/// The way in which a worker reads its shards. Default: polling.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "RetrievalConfig")]
pub enum Retrieval {
    /// By GetRecords. Costs nothing extra; all readers of a shard share its 5 reads and 2 MiB a second.
    Polling(Polling),
    /// By SubscribeToShard: records arrive tens of milliseconds after they are put, and each consumer has 2 MiB a
    /// second of each shard for itself. AWS bills for it, per consumer and shard and by volume.
    ///
    /// Needs the permissions `kinesis:SubscribeToShard` on the consumer, and on the stream
    /// `kinesis:DescribeStreamConsumer` and `kinesis:RegisterStreamConsumer` unless an ARN is given.
    FanOut(FanOut),
}

impl Default for Retrieval {
    fn default() -> Self {
        Self::Polling(Polling::default())
    }
}

impl From<Polling> for Retrieval {
    fn from(polling: Polling) -> Self {
        Self::Polling(polling)
    }
}

impl From<FanOut> for Retrieval {
    fn from(fan_out: FanOut) -> Self {
        Self::FanOut(fan_out)
    }
}

impl Retrieval {
    /// Also for shards that are polled because fan-out was refused.
    pub(crate) fn polling(&self) -> Polling {
        match self {
            Self::Polling(polling) => polling.clone(),
            Self::FanOut(_) => Polling::default(),
        }
    }

    pub(crate) fn idle_between_reads(&self) -> Duration {
        self.polling().idle_between_reads.min(MAX_DURATION)
    }
}

/// Settings of polling.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "pass it to WorkerBuilder::retrieval"]
#[doc(alias = "PollingConfig")]
pub struct Polling {
    idle_between_reads: Duration,
    max_idle_between_reads: Option<Duration>,
    in_step: bool,
}

impl Default for Polling {
    fn default() -> Self {
        Self { idle_between_reads: Duration::from_secs(1), max_idle_between_reads: None, in_step: true }
    }
}

impl Polling {
    /// Polling with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Pause between reads of a shard that has no more records. Default 1 s, at least 200 ms (a shard serves 5 reads a
    /// second to all its readers). Waiting records are read as fast as the shard's limits allow.
    #[doc(alias = "idleTimeBetweenReadsInMillis")]
    pub fn idle_between_reads(mut self, pause: Duration) -> Self {
        self.idle_between_reads = pause;
        self
    }

    /// Lets the pause of a shard that stays empty grow, by half with each empty read, up to `pause`. Default: it does not
    /// grow. At least [`idle_between_reads`](Self::idle_between_reads), at most 2 min (an iterator is good for 5).
    ///
    /// For streams with many shards that are empty for hours: fewer calls, and the first record after a silence is
    /// processed later, up to `pause` after it was put. Any record ends the growth.
    pub fn max_idle_between_reads(mut self, pause: Duration) -> Self {
        self.max_idle_between_reads = Some(pause);
        self
    }

    /// Reads in step, of a worker with 50 or more shards at the tip: ten times within the pause it reads a tenth of them at
    /// once, which takes a third less CPU than calls spread over time. No shard waits longer for it. Default: on.
    pub fn in_step(mut self, in_step: bool) -> Self {
        self.in_step = in_step;
        self
    }

    pub(crate) fn is_in_step(&self) -> bool {
        self.in_step
    }

    pub(crate) fn max_idle(&self) -> Option<Duration> {
        self.max_idle_between_reads
    }
}

/// Settings of enhanced fan-out.
///
/// All workers of an application subscribe as one registered consumer. The first to need it registers it; a stream has
/// room for 20. It stays registered, and billed, until
/// [`deregister_consumer`](crate::WorkerBuilder::deregister_consumer).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "give it to WorkerBuilder::retrieval"]
#[doc(alias = "FanOutConfig")]
pub struct FanOut {
    consumer_name: Option<Arc<str>>,
    pub(crate) consumer_arn: Option<Arc<str>>,
    pub(crate) or_polling: bool,
}

impl FanOut {
    /// A consumer with the application's name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Name of the consumer: 1 to 128 letters, digits, `_`, `.` and `-`. Default: the application's.
    #[doc(alias = "consumerName")]
    pub fn consumer_name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.consumer_name = Some(name.into());
        self
    }

    /// ARN of a registered consumer. Needed for a stream of another account; nothing is looked up or registered then.
    #[doc(alias = "consumerArn")]
    pub fn consumer_arn(mut self, arn: impl Into<Arc<str>>) -> Self {
        self.consumer_arn = Some(arn.into());
        self
    }

    /// Reads a shard by polling when fan-out is refused: no permission, no room for another consumer, no consumer of the
    /// given ARN. Fan-out is tried again every 5 minutes or so. Default: wait until fan-out is possible.
    pub fn or_polling(mut self) -> Self {
        self.or_polling = true;
        self
    }

    pub(crate) fn name<'a>(&'a self, application: &'a str) -> &'a str {
        self.consumer_name.as_deref().unwrap_or(application)
    }
}

/// Maximum that is read ahead of a shard's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefetch {
    pub(crate) records: u32,
    pub(crate) bytes: u32,
}

impl Default for Prefetch {
    fn default() -> Self {
        // Source: KCL `maxRecordsCount` and `maxByteSize` of its records fetcher factory.
        Self { records: 30_000, bytes: 8 << 20 }
    }
}
