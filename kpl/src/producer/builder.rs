//! Makes a producer out of its settings.

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use aws_types::SdkConfig;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::{
    config::{AggregateKey, Aggregation, Config, MetricsGranularity, RecordOrder},
    context::{Context, Encode, OnEvent},
    error::{BoxError, ConfigError},
    event::Event,
    kinesis::{Kinesis, SdkKinesis},
    producer::{Producer, blocking::BlockingProducer},
    record::UserRecord,
    stream::Stream,
    streams::Streams,
};

/// Settings of a [`Producer`].
#[must_use = "the settings do nothing until `build` is called"]
pub struct ProducerBuilder {
    aws: SdkConfig,
    stream: String,
    kinesis: Option<Arc<dyn Kinesis>>,
    on_event: Option<OnEvent>,
    encode: Option<Encode>,
    config: Config,
}

impl ProducerBuilder {
    pub(crate) fn new(aws: &SdkConfig, stream: String) -> Self {
        Self { aws: aws.clone(), stream, kinesis: None, on_event: None, encode: None, config: Config::default() }
    }

    /// Longest time a record waits for company before it is sent. Default 100 ms, up to 24 hours, and below the
    /// [`record_ttl`](Self::record_ttl). Best effort: an aggregate waits up to a fifth of it (at most 50 ms) longer for
    /// those of other shards, and rate limits, requests in flight and retries add to it. Nothing waits for company while the
    /// buffer is full.
    ///
    /// Source: KPL `RecordMaxBufferedTime`.
    #[doc(alias = "RecordMaxBufferedTime")]
    pub fn record_max_buffered_time(mut self, time: Duration) -> Self {
        self.config.record_max_buffered_time = time;
        self
    }

    /// Sending at once of a record that finds nothing under way to its stream, and with it of what is put in the same turn of
    /// the runtime. Records that are put until the answer comes are sent then, together, and earlier if their time has come.
    /// Default `false`.
    ///
    /// Meant for `put(..).await?.await?` one after the other and in handlers of requests: a record takes one round trip, two
    /// if others are under way, and not [`record_max_buffered_time`](Self::record_max_buffered_time) as well. The price is more
    /// requests and Kinesis records: with round trips of 20 ms, 10 records a second to one shard make 10 of each rather than 5,
    /// and 1,000 a second 50 rather than 10, stored after 20 to 40 ms rather than 90 to 140. Source:
    /// `cargo run -p kinesis-kpl --example send_when_idle`; more of its figures are in `docs/performance.md`.
    pub fn send_when_idle(mut self, send: bool) -> Self {
        self.config.send_when_idle = send;
        self
    }

    /// Longest time from put to the start of the last attempt; then the record fails as expired. Default 30 s, at least
    /// 100 ms. `None` tries forever.
    ///
    /// Source: KPL `RecordTtl`.
    #[doc(alias = "RecordTtl")]
    pub fn record_ttl(mut self, ttl: impl Into<Option<Duration>>) -> Self {
        self.config.record_ttl = ttl.into();
        self
    }

    /// Most bytes of a record, data and partition key together. Default: what the stream is configured for, as
    /// DescribeStreamSummary reports, 1,048,576 if that is denied, and 10,485,760 as long as it fails; 64 to 10,485,760.
    ///
    /// A longer record is refused when it is put; before the stream was described, by Kinesis. That the limit of a stream
    /// was changed is noticed within five minutes.
    ///
    /// Source: KPL `MaxUserRecordSize`.
    #[doc(alias = "MaxUserRecordSize")]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.config.max_record_bytes = Some(bytes);
        self
    }

    /// Aggregation of user records into Kinesis records: whether, and how many of them into one. On by default.
    #[doc(alias = "AggregationEnabled")]
    pub fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.config.aggregation = aggregation;
        self
    }

    /// Partition key of the Kinesis records that are aggregates. Default: `a`, as the KPL has it.
    ///
    /// Only matters to consumers that look at it before they take records apart.
    pub fn aggregate_key(mut self, key: AggregateKey) -> Self {
        self.config.aggregate_key = key;
        self
    }

    /// How far the order of records is kept. Default: per hash key, which is that of the partition key without an explicit one.
    pub fn record_order(mut self, order: RecordOrder) -> Self {
        self.config.record_order = order;
        self
    }

    /// Most Kinesis records of one PutRecords request. Default 500; 1 to 500. Source: KPL `CollectionMaxCount`.
    #[doc(alias = "CollectionMaxCount")]
    pub fn collection_max_records(mut self, records: usize) -> Self {
        self.config.collection_max_records = records;
        self
    }

    /// Most bytes of one PutRecords request; a record that is longer goes alone. Default 5,242,880; 52,224 to
    /// 10,485,760. Source: KPL `CollectionMaxSize`.
    #[doc(alias = "CollectionMaxSize")]
    pub fn collection_max_bytes(mut self, bytes: usize) -> Self {
        self.config.collection_max_bytes = bytes;
        self
    }

    /// Most that goes to a shard, in percent of what the shard takes (1,000 records and 1 MiB each second). Default 150,
    /// so that several producers can share a stream and throttling tells them how: a shard that throttles is sent down to a
    /// sixteenth of it, and more again as it takes that. Bursts are not scaled.
    ///
    /// Source: KPL `RateLimit`.
    #[doc(alias = "RateLimit")]
    pub fn rate_limit_percent(mut self, percent: NonZero<u32>) -> Self {
        self.config.rate_limit_percent = percent;
        self
    }

    /// Most records that are accepted and not resolved, for all streams together; [`Producer::put`] waits beyond. Default
    /// 100,000, at least 1. A put that has to wait, or is refused, sends what is in the buffer without waiting for company.
    pub fn max_outstanding_records(mut self, records: usize) -> Self {
        self.config.max_outstanding_records = records;
        self
    }

    /// Most bytes (data and partition keys) of the records that are accepted and not resolved; [`Producer::put`] waits
    /// beyond. Default 67,108,864, at least [`max_record_bytes`](Self::max_record_bytes).
    ///
    /// The ceiling of a producer's memory is this, 160 bytes for each record that is not resolved, a quarter of this and a
    /// request of 5 MiB for each stream, and 2 MiB. A twelfth and a request may be in flight at a time, which exists twice, as
    /// it is kept and as it is sent; an eighth may be room that aggregates do not fill. On top of that comes what the AWS SDK
    /// makes of what is in flight, which is the same in base64.
    pub fn max_outstanding_bytes(mut self, bytes: usize) -> Self {
        self.config.max_outstanding_bytes = bytes;
        self
    }

    /// Shares of the streams in the buffer, so that one whose records cannot be sent does not hold up puts to the others.
    /// Default `true`; of no effect on a producer of one stream, which uses all of the buffer.
    ///
    /// While several streams are in use, none takes up more than it leaves free to the others, of
    /// [`max_outstanding_records`](Self::max_outstanding_records) and of
    /// [`max_outstanding_bytes`](Self::max_outstanding_bytes): up to half of the buffer if it alone has much outstanding, a
    /// third each if there are two of them, and so on. A stream without outstanding records takes any record that there is
    /// space for. A stream is in use from its first record until nothing was put for five minutes; what it took up while it
    /// was the only one remains until it is resolved. With `false`, each stream takes what there is.
    pub fn stream_shares(mut self, shares: bool) -> Self {
        self.config.stream_shares = shares;
        self
    }

    /// Most PutRecords requests at a time to one stream. Default 24; 1 to 256. Fewer while requests fail, or take long. Source:
    /// KPL `MaxConnections`.
    #[doc(alias = "MaxConnections")]
    pub fn max_in_flight(mut self, requests: u16) -> Self {
        self.config.max_in_flight = requests;
        self
    }

    /// Longest time to wait for the answer to a request. Default 6 s; 100 ms to 10 minutes. A request that timed out may
    /// have been carried out: its records are sent again and may then be there twice. After answers that take longer than a
    /// half of it, no more bytes than before are sent at a time.
    ///
    /// Source: KPL `RequestTimeout`.
    #[doc(alias = "RequestTimeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// Failure of records that are throttled at once, rather than another attempt. Default `false`.
    ///
    /// Source: KPL `FailIfThrottled`.
    #[doc(alias = "FailIfThrottled")]
    pub fn fail_if_throttled(mut self, fail: bool) -> Self {
        self.config.fail_if_throttled = fail;
        self
    }

    /// Dimensions of the metrics, which go to the recorder of the `metrics` crate that is installed when a stream's first
    /// record is put. Default: by stream. See the [crate's documentation](crate#metrics) for what is counted.
    ///
    /// Source: KPL `MetricsGranularity`.
    #[doc(alias = "MetricsGranularity")]
    pub fn metrics_granularity(mut self, granularity: MetricsGranularity) -> Self {
        self.config.metrics_granularity = granularity;
        self
    }

    /// Called with everything that happens inside of the producer, on its tasks: it must not block or panic.
    pub fn on_event(mut self, callback: impl Fn(&Stream, &Event) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(callback));
        self
    }

    /// Makes the data that are sent out of each record, for compression or a schema registry. Called by every put, before
    /// the size is checked, in the caller's task or thread: what takes long, or waits, holds the caller up.
    ///
    /// A record that is not stored comes back as it was put. Until then both forms take up space in the buffer.
    pub fn encode<E>(mut self, encode: impl Fn(&UserRecord) -> Result<Bytes, E> + Send + Sync + 'static) -> Self
    where
        E: Into<BoxError>,
    {
        self.encode = Some(Arc::new(move |record: &UserRecord| encode(record).map_err(Into::into)));
        self
    }

    /// Calls Kinesis through `client` rather than one made from the `SdkConfig`. Its retries are not used.
    pub fn client(self, client: aws_sdk_kinesis::Client) -> Self {
        self.kinesis(SdkKinesis::new(client))
    }

    /// Calls this instead of Kinesis, for tests.
    pub fn kinesis(mut self, kinesis: impl Kinesis) -> Self {
        self.kinesis = Some(Arc::new(kinesis));
        self
    }

    /// Makes the producer. Nothing is asked of Kinesis before the first record.
    ///
    /// # Errors
    /// If a setting is out of bounds, or no tokio runtime is running here.
    ///
    /// # Panics
    /// If the `SdkConfig` has no behavior version and is what the client is made from; with the first record, if the
    /// runtime has no timers.
    pub fn build(self) -> Result<Producer, ConfigError> {
        let runtime = Handle::try_current();
        self.build_on(|| runtime.map_err(|_| ConfigError::NoRuntime))
    }

    /// Makes a producer with a runtime on a thread of its own, for programs that have none. Dropping its last handle shuts the
    /// producer down, also for handles of [`BlockingProducer::as_async`], and blocks until everything is resolved.
    ///
    /// # Errors
    /// If a setting is out of bounds, or the thread cannot be started.
    ///
    /// # Panics
    /// If the `SdkConfig` has no behavior version and is what the client is made from.
    pub fn build_blocking(self) -> Result<BlockingProducer, ConfigError> {
        BlockingProducer::start(|runtime| self.build_on(|| Ok(runtime)))
    }

    fn build_on(self, runtime: impl FnOnce() -> Result<Handle, ConfigError>) -> Result<Producer, ConfigError> {
        let Self { aws, stream, kinesis, on_event, encode, config } = self;
        let stream = Stream::parse(stream)?;
        config.validate()?;
        let (defeated, runtime) = (config.defeated(), runtime()?);
        let kinesis = kinesis.unwrap_or_else(|| Arc::new(SdkKinesis::new(aws_sdk_kinesis::Client::new(&aws))));
        let context = Context::new(config, kinesis, on_event, encode);
        for (setting, reason) in defeated {
            context.notify(&stream, &Event::SettingDefeated { setting, reason });
        }
        Ok(Producer::new(Streams::new(context, runtime), stream))
    }
}

impl fmt::Debug for ProducerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ProducerBuilder");
        shown.field("stream", &self.stream).field("config", &self.config).finish_non_exhaustive()
    }
}
