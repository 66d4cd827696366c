//! The builder of a producer: its settings, clients and hooks.

use std::{fmt, num::NonZero, sync::Arc, time::Duration};

use aws_types::SdkConfig;
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::{
    compressed::{Compression, Dictionary, FrameWriter},
    config::{AggregateKey, Aggregation, Config, Metrics, MetricsGranularity, RecordOrder},
    context::{Context, Encode},
    error::{BoxError, ConfigError},
    event::{Event, Events},
    kinesis::{Kinesis, SdkKinesis},
    producer::{Producer, blocking::BlockingProducer},
    record::UserRecord,
    stream::Stream,
    streams::Streams,
};

/// Settings of a [`Producer`]. Those that the KPL has, too, are found under its names.
#[must_use = "the settings do nothing until `build` is called"]
pub struct ProducerBuilder {
    aws: SdkConfig,
    stream: String,
    kinesis: Option<Arc<dyn Kinesis>>,
    has_region: bool,
    events: Events,
    encode: Option<Encode>,
    compression: Option<Compression>,
    dictionary: Option<Dictionary>,
    config: Config,
}

impl ProducerBuilder {
    pub(crate) fn new(aws: &SdkConfig, stream: String) -> Self {
        let (events, config) = (Events::default(), Config::default());
        let (compression, dictionary, has_region) = (None, None, aws.region().is_some());
        let (aws, kinesis, encode) = (aws.clone(), None, None);
        Self { aws, stream, kinesis, has_region, events, encode, compression, dictionary, config }
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        self
    }

    /// Maximum time that a record waits to be grouped with others. Default 100 ms, up to 24 hours, and below `record_ttl`. Best
    /// effort: an aggregate waits up to a fifth of it (at most 50 ms) longer for those of other shards; rate limits, requests in
    /// flight and retries add to it. While the buffer is full, nothing waits.
    #[doc(alias = "RecordMaxBufferedTime")]
    pub fn record_max_buffered_time(self, time: Duration) -> Self {
        self.with(|config| config.record_max_buffered_time = time)
    }

    /// Sends a record at once while no request to its stream is under way, together with those put in the same turn of the
    /// runtime. Records put before the answer are sent then, together, or earlier when due. Default `false`.
    ///
    /// For `put(..).await?.await?` one after the other. The price is more requests and Kinesis records: `docs/performance.md`.
    pub fn send_when_idle(self, send: bool) -> Self {
        self.with(|config| config.send_when_idle = send)
    }

    /// Maximum time from put to the start of the last attempt; then the record fails as expired. Default 30 s, at least
    /// 100 ms. `None` retries forever.
    #[doc(alias = "RecordTtl")]
    pub fn record_ttl(self, ttl: impl Into<Option<Duration>>) -> Self {
        self.with(|config| config.record_ttl = ttl.into())
    }

    /// Maximum bytes of a record, data and partition key together; 64 to 10,485,760. Default: the limit of the stream by
    /// DescribeStreamSummary, 1,048,576 if that is denied, 10,485,760 while it fails. A longer record is refused when it is put.
    /// A changed limit of the stream is noticed within five minutes.
    #[doc(alias = "MaxUserRecordSize")]
    pub fn max_record_bytes(self, bytes: usize) -> Self {
        self.with(|config| config.max_record_bytes = Some(bytes))
    }

    /// Grouping of user records into Kinesis records. On by default.
    #[doc(alias = "AggregationEnabled")]
    pub fn aggregation(self, aggregation: Aggregation) -> Self {
        self.with(|config| config.aggregation = aggregation)
    }

    /// Partition key of aggregates, for consumers that read it before they deaggregate. Default: `a`, as the KPL writes it.
    pub fn aggregate_key(self, key: AggregateKey) -> Self {
        self.with(|config| config.aggregate_key = key)
    }

    /// Order of records. Default: per hash key, which is that of the partition key without an explicit one.
    pub fn record_order(self, order: RecordOrder) -> Self {
        self.with(|config| config.record_order = order)
    }

    /// Maximum Kinesis records of one PutRecords request. Default 500; 1 to 500.
    #[doc(alias = "CollectionMaxCount")]
    pub fn collection_max_records(self, records: usize) -> Self {
        self.with(|config| config.collection_max_records = records)
    }

    /// Maximum bytes of one PutRecords request; a longer record is sent alone. Default 5,242,880; 52,224 to 10,485,760.
    #[doc(alias = "CollectionMaxSize")]
    pub fn collection_max_bytes(self, bytes: usize) -> Self {
        self.with(|config| config.collection_max_bytes = bytes)
    }

    /// Maximum send rate per shard, in percent of the shard's limit (1,000 records and 1 MiB per second). Default 150, so that
    /// several producers can share a stream: throttling lowers the rate to as little as a sixteenth, and it rises again as
    /// records are stored. Bursts are not scaled. Once the limit is reached, what waits for it is sent as many records at a time
    /// as it allows in 20 ms, or in [`record_max_buffered_time`](Self::record_max_buffered_time) if that is shorter.
    #[doc(alias = "RateLimit")]
    pub fn rate_limit_percent(self, percent: NonZero<u32>) -> Self {
        self.with(|config| config.rate_limit_percent = percent)
    }

    /// Maximum of accepted records that are not resolved, over all streams; [`Producer::put`] waits beyond. Default 100,000, at
    /// least 1. A put that waits, or is refused, has buffered records sent at once.
    pub fn max_outstanding_records(self, records: usize) -> Self {
        self.with(|config| config.max_outstanding_records = records)
    }

    /// Maximum bytes (data and partition keys) of accepted records that are not resolved; [`Producer::put`] waits beyond.
    /// Default 67,108,864, at least [`max_record_bytes`](Self::max_record_bytes).
    ///
    /// Upper bound of a producer's memory: this, 160 bytes per unresolved record, a quarter of this and a request of 5 MiB per
    /// stream, and 2 MiB. The AWS SDK holds what is in flight, up to a twelfth and a request, again in base64.
    pub fn max_outstanding_bytes(self, bytes: usize) -> Self {
        self.with(|config| config.max_outstanding_bytes = bytes)
    }

    /// Shares of the streams in the buffer, so that a stream whose records cannot be sent does not block puts to the others.
    /// Default `true`; of no effect on a producer of one stream, which uses all of the buffer.
    ///
    /// While several streams are in use, none takes up more records or bytes than it leaves free. A stream without outstanding
    /// records may put any record that fits. A stream is in use from its first record until nothing was put for five minutes;
    /// what it took up as the only one stays until it is resolved.
    pub fn stream_shares(self, shares: bool) -> Self {
        self.with(|config| config.stream_shares = shares)
    }

    /// Maximum PutRecords requests at a time to one stream. Default 24; 1 to 256. Fewer while requests fail or are slow.
    #[doc(alias = "MaxConnections")]
    pub fn max_in_flight(self, requests: u16) -> Self {
        self.with(|config| config.max_in_flight = requests)
    }

    /// Maximum time to wait for the answer to a request. Default 6 s; 100 ms to 10 minutes. The records of a request that
    /// timed out are sent again and may be stored twice.
    #[doc(alias = "RequestTimeout")]
    pub fn request_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.request_timeout = timeout)
    }

    /// Failure of throttled records at once, without another attempt. Default `false`.
    #[doc(alias = "FailIfThrottled")]
    pub fn fail_if_throttled(self, fail: bool) -> Self {
        self.with(|config| config.fail_if_throttled = fail)
    }

    /// Settings of the [metrics](crate#metrics): level, dimensions, labels, names. Default: all metrics, by stream.
    pub fn metrics(self, metrics: Metrics) -> Self {
        self.with(|config| config.metrics = metrics)
    }

    /// Dimensions of the [metrics](crate#metrics). Default: by stream. [`metrics`](Self::metrics) has the other settings.
    #[doc(alias = "MetricsGranularity")]
    pub fn metrics_granularity(self, granularity: MetricsGranularity) -> Self {
        self.with(|config| config.metrics.granularity = granularity)
    }

    /// Calls `hook` for each [`Event`], on the producer's own tasks: it must return at once. Its panic is logged and contained.
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.events = Events::to(Arc::new(hook));
        self
    }

    /// Transforms the data of each record before it is sent, for compression or a schema registry, in the task or thread that
    /// puts it. A failed record is returned as it was put. Until it is resolved, both forms take up space in the buffer.
    ///
    /// ```no_run
    /// # fn example(builder: kpl::ProducerBuilder) -> kpl::ProducerBuilder {
    /// builder.encode(|record| {
    ///     let mut data = vec![1]; // the version of the schema
    ///     data.extend_from_slice(record.data());
    ///     Ok::<_, std::convert::Infallible>(data.into())
    /// })
    /// # }
    /// ```
    pub fn encode<E: Into<BoxError>>(
        mut self,
        encode: impl Fn(&UserRecord) -> Result<Bytes, E> + Send + Sync + 'static,
    ) -> Self {
        self.encode = Some(Arc::new(move |record: &UserRecord| encode(record).map_err(Into::into)));
        self
    }

    /// Compression of each Kinesis record, most often an aggregate, as one [frame](crate::compressed). None by default.
    ///
    /// **Other readers see an opaque record**: of the libraries, those of this workspace alone open frames. Aggregates take as many
    /// records as make the frame as long as [`aggregation`](Self::aggregation) allows, by the ratio of those before it, and at most
    /// 32 times that or a 32nd of [`max_outstanding_bytes`](Self::max_outstanding_bytes); what is longer nevertheless is divided.
    /// Records that become no shorter are sent as they are. A record is refused by its own length, not by that of its frame.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Dictionary for [`Compression::Zstd`], without effect on other codecs: for records sent alone, or in small aggregates.
    /// Consumers need it, too.
    pub fn compression_dictionary(mut self, dictionary: Dictionary) -> Self {
        self.dictionary = Some(dictionary);
        self
    }

    /// Numbering of user records, so that consumers recognise what a retry or a split wrote twice. Default `false`.
    ///
    /// A record keeps its number when it is sent again, in whatever company; `WorkerBuilder::copies` of `kinesis-kcl` drops what a
    /// shard has delivered before. A number is a [tag](https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md)
    /// of the first record of an aggregate, which other readers skip: 44 bytes an aggregate, and as many for each further run of
    /// successive numbers in one that is sent again among others.
    ///
    /// **Lone records are sent as aggregates of one**: functions in AWS Lambda, boto3 and others that read records without
    /// deaggregation see the aggregate. Sent without number are records that would exceed the maximum of a Kinesis record with it,
    /// those of a producer that does not aggregate or of a stream that ignores partition keys, and those that were stored in two
    /// wrong shards or in one that cannot be looked up. A producer draws new series of numbers at each start: **no process may be
    /// resumed twice from one snapshot of its memory**.
    pub fn record_numbers(self, number: bool) -> Self {
        self.with(|config| config.record_numbers = number)
    }

    /// Settings from outside the code, over those set before; what is set afterwards wins.
    #[cfg(feature = "serde")]
    pub fn settings(mut self, settings: &crate::settings::ProducerSettings) -> Self {
        settings.apply(&mut self.config);
        self.compression = settings.compression.unwrap_or(self.compression);
        self
    }

    /// All settings as they are now, for a line of the log at the start.
    #[cfg(feature = "serde")]
    pub fn current_settings(&self) -> crate::settings::ProducerSettings {
        crate::settings::ProducerSettings::of(&self.config, self.compression)
    }

    /// Client of Kinesis, in place of one made from the `SdkConfig`. Its retries are not used. Its interceptors see an input of
    /// PutRecords without records, and the request with them.
    pub fn kinesis_client(self, client: aws_sdk_kinesis::Client) -> Self {
        let has_region = client.config().region().is_some();
        Self { has_region, ..self.kinesis(SdkKinesis::new(client)) }
    }

    /// Implementation of [`Kinesis`], in place of the service, for tests.
    pub fn kinesis(mut self, kinesis: impl Kinesis) -> Self {
        self.kinesis = Some(Arc::new(kinesis));
        self.has_region = true;
        self
    }

    /// Builds the producer. Kinesis is not called before the first record.
    ///
    /// # Errors
    /// If a setting is out of bounds, a codec is not built in, no region is configured, or no tokio runtime is running here.
    ///
    /// # Panics
    /// If the `SdkConfig` has no behavior version and no client is set; with the first record, if the runtime has no timers.
    pub fn build(self) -> Result<Producer, ConfigError> {
        self.build_on(Handle::try_current().map_err(|_| ConfigError::NoRuntime))
    }

    /// Builds a producer with a runtime on a thread of its own, for programs without one. Dropping its last handle shuts the
    /// producer down, also for handles of [`BlockingProducer::as_async`], and blocks until everything is resolved.
    ///
    /// # Errors
    /// If a setting is out of bounds, no region is configured, or the thread cannot be started. Panics as [`build`](Self::build).
    pub fn build_blocking(self) -> Result<BlockingProducer, ConfigError> {
        BlockingProducer::start(|runtime| self.build_on(Ok(runtime)))
    }

    fn build_on(self, runtime: Result<Handle, ConfigError>) -> Result<Producer, ConfigError> {
        let Self { aws, stream, kinesis, has_region, events, encode, compression, dictionary, mut config } = self;
        let stream = Stream::parse(stream)?;
        let unused = dictionary.is_some() && !matches!(compression, Some(Compression::Zstd(_)));
        config.frames = compression.map(|compression| Arc::new(FrameWriter::new(compression, dictionary)));
        config.validate()?;
        if !has_region {
            return Err(ConfigError::MissingRegion);
        }
        let (mut defeated, runtime) = (config.defeated(), runtime?);
        defeated.extend(unused.then_some(("compression_dictionary", "compression is not zstd")));
        let kinesis = kinesis.unwrap_or_else(|| Arc::new(SdkKinesis::new(aws_sdk_kinesis::Client::new(&aws))));
        let context = Context::new(config, kinesis, events, encode);
        for (setting, reason) in defeated {
            context.events.emit(&Event::SettingDefeated { stream: stream.clone(), setting, reason });
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
