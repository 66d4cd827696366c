//! Creating, describing, listing and deleting streams, and their settings.

use tracing::info;

use super::{listing, settings};
use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::stream::{Creation, Distribution, Mode, State, Stream};
use crate::kinesis::tags::Tags;
use crate::kinesis::{Error, Kinesis, iterator, request, response};
use crate::timestamp::Millis;
use crate::wire::Format;

/// Maximum number of open shards of a stream. docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
pub(super) const MAX_SHARDS: u32 = 10_000;

/// Shards of a new on-demand stream. docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html
const ON_DEMAND_SHARDS: u32 = 4;

/// Range of MaxRecordSizeInKiB. docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateMaxRecordSize.html
const RECORD_KIB: (i64, i64) = (1024, 10_240);

/// Range of retention in hours. docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html
const RETENTION_HOURS: (i64, i64) = (24, 8760);

/// Streams of one page of ListStreams. docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreams.html
const PAGE: i64 = 100;

impl Kinesis {
    /// Creates a provisioned stream, past the limits on calls.
    pub(crate) fn create(&mut self, name: &str, shards: u32, now: Millis) -> Result<(), Error> {
        let body = serde_json::json!({ "StreamName": name, "ShardCount": shards }).to_string();
        self.create_stream(request::parse(Format::Json, body.as_bytes())?, now).map(|_| ())
    }

    pub(super) fn create_stream(
        &mut self,
        request: request::CreateStream<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mode = request.stream_mode_details.and_then(|details| details.stream_mode);
        let mut check = Check::default();
        check.required(&request.stream_name, "streamName");
        check.stream_name(request.stream_name.as_deref());
        check.range(request.shard_count, "shardCount", 1, i64::MAX);
        check.one_of(mode.as_deref(), "streamModeDetails.streamMode", &["PROVISIONED", "ON_DEMAND"]);
        check.range(request.max_record_size_in_kib, "maxRecordSizeInKiB", RECORD_KIB.0, RECORD_KIB.1);
        let distribution = settings::distribution(&mut check, request.record_distribution_strategy.as_deref());
        check.finish()?;

        let name = request.stream_name.as_deref().unwrap_or_default();
        let tags = Tags::new(request.tags)?;
        let mode = if mode.as_deref() == Some("ON_DEMAND") { Mode::OnDemand } else { Mode::Provisioned };
        let shards = match (mode, request.shard_count) {
            (Mode::OnDemand, None) => i64::from(ON_DEMAND_SHARDS),
            (Mode::OnDemand, Some(_)) => {
                return Err(Error::validation("ShardCount must not be provided for an ON_DEMAND stream."));
            }
            (Mode::Provisioned, Some(shards)) => shards,
            (Mode::Provisioned, None) => {
                return Err(Error::validation("ShardCount must be provided for a PROVISIONED stream."));
            }
        };
        let shards = match u32::try_from(shards) {
            Ok(shards) if shards <= MAX_SHARDS => shards,
            _ => return Err(Error::too_many_shards(MAX_SHARDS, shards)),
        };
        settings::require_distribution(distribution, mode)?;
        self.advance(name, now);
        self.require_few_creating(now)?;
        self.require_shards(shards as usize)?;
        if self.streams.contains_key(name) {
            let text = format!("Stream {name} under account {ACCOUNT_ID} already exists.");
            return Err(Error::resource_in_use(text));
        }
        self.incarnations += 1;
        let until = now.plus(self.delays.creating);
        let (incarnation, eras, retained) = (self.incarnations, self.eras.clone(), self.retained.clone());
        let creation =
            Creation { name: name.to_owned(), incarnation, mode, shards, tags, distribution, eras, retained };
        let mut stream = Stream::create(creation, now, until);
        if let Some(kib) = request.max_record_size_in_kib {
            stream.max_record_kib = u32::try_from(kib).unwrap_or(stream.max_record_kib);
        }
        self.streams.insert(name.to_owned(), stream);
        info!(stream = name, shards, "stream created");
        Ok(response::Empty {})
    }

    pub(super) fn delete_stream(
        &mut self,
        request: request::DeleteStream<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let until = now.plus(self.delays.deleting);
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        if !stream.consumers.is_empty() && request.enforce_consumer_deletion != Some(true) {
            return Err(Error::resource_in_use(format!(
                "Stream {name} under account {ACCOUNT_ID} has active consumers. Deregister them, or set \
                 EnforceConsumerDeletion."
            )));
        }
        stream.state = State::Deleting { until };
        stream.wake_subscribers();
        self.advance(name, now);
        info!(stream = name, "stream deleted");
        Ok(response::Empty {})
    }

    pub(super) fn describe_stream_summary(
        &mut self,
        request: request::StreamOnly<'_>,
        now: Millis,
    ) -> Result<response::DescribeStreamSummary, Error> {
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        Ok(response::DescribeStreamSummary {
            stream_description_summary: response::StreamDescriptionSummary {
                stream: stream.summary(),
                stream_id: format!("{:032x}", stream.incarnation),
                retention_period_hours: stream.retention_hours,
                enhanced_monitoring: [response::EnhancedMetrics { shard_level_metrics: stream.metrics.clone() }],
                encryption_type: stream.encryption_type(),
                key_id: stream.key_id.clone(),
                open_shard_count: stream.open_shards().len(),
                consumer_count: stream.consumers.len(),
                max_record_size_in_kib: stream.max_record_kib,
                record_distribution_strategy: (stream.mode == Mode::OnDemand).then_some(match stream.distribution {
                    Distribution::UserPartitionKey => "USER_PARTITION_KEY",
                    Distribution::Auto { .. } => "AUTO",
                }),
            },
        })
    }

    pub(super) fn describe_stream(
        &mut self,
        request: request::DescribeStream<'_>,
        now: Millis,
    ) -> Result<response::DescribeStream, Error> {
        let mut check = Check::default();
        check.range(request.limit, "limit", 1, 10_000);
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        let page = listing::Page {
            after: listing::shard_id(request.exclusive_start_shard_id.as_deref(), name)?,
            limit: request.limit.unwrap_or(PAGE).min(PAGE),
        };
        let (shards, has_more_shards) = page.cut(stream, |_| true);
        Ok(response::DescribeStream {
            stream_description: response::StreamDescription {
                stream: stream.summary(),
                shards: shards.into_iter().map(Into::into).collect(),
                has_more_shards,
                retention_period_hours: stream.retention_hours,
                enhanced_monitoring: [response::EnhancedMetrics { shard_level_metrics: stream.metrics.clone() }],
                encryption_type: stream.encryption_type(),
                key_id: stream.key_id.clone(),
            },
        })
    }

    pub(super) fn list_streams(
        &mut self,
        request: request::ListStreams<'_>,
        now: Millis,
    ) -> Result<response::ListStreams, Error> {
        let mut check = Check::default();
        check.range(request.limit, "limit", 1, 10_000);
        check.stream_name(request.exclusive_start_stream_name.as_deref());
        check.finish()?;
        self.settle(now);

        let after = match (&request.next_token, &request.exclusive_start_stream_name) {
            (Some(token), _) => iterator::decode_streams_token(token, now)?,
            (None, Some(name)) => (**name).to_owned(),
            (None, None) => String::new(),
        };
        let limit = usize::try_from(request.limit.unwrap_or(PAGE).min(PAGE)).unwrap_or_default();
        let mut rest = self.streams.values().skip_while(|stream| stream.name <= after);
        let stream_summaries: Vec<_> = rest.by_ref().take(limit).map(Stream::summary).collect();
        let stream_names: Vec<_> = stream_summaries.iter().map(|stream| stream.stream_name.clone()).collect();
        let has_more_streams = rest.next().is_some();
        let last = stream_names.last().filter(|_| has_more_streams);
        let next_token = last.map(|name| iterator::encode_streams_token(name, now));
        Ok(response::ListStreams { stream_names, has_more_streams, next_token, stream_summaries })
    }

    pub(super) fn increase_retention(
        &mut self,
        request: request::SetRetention<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let (stream, hours) = self.retention(&request, now)?;
        if hours < stream.retention_hours {
            return Err(Error::invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {} can not be shorter than existing retention \
                 period ({} hours). Use DecreaseRetentionPeriod API.",
                stream.name, stream.retention_hours
            )));
        }
        stream.retention_hours = hours;
        Ok(response::Empty {})
    }

    pub(super) fn decrease_retention(
        &mut self,
        request: request::SetRetention<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let (stream, hours) = self.retention(&request, now)?;
        if hours > stream.retention_hours {
            return Err(Error::invalid_argument(format!(
                "Requested retention period ({hours} hours) for stream {} can not be longer than existing retention \
                 period ({} hours). Use IncreaseRetentionPeriod API.",
                stream.name, stream.retention_hours
            )));
        }
        stream.retention_hours = hours;
        Ok(response::Empty {})
    }

    /// The stream, and the hours it is asked to keep records.
    fn retention(&mut self, request: &request::SetRetention<'_>, now: Millis) -> Result<(&mut Stream, u32), Error> {
        let mut check = Check::default();
        check.required(&request.retention_period_hours, "retentionPeriodHours");
        check.finish()?;
        let hours = request.retention_period_hours.unwrap_or_default();
        let (bound, limit, relation) = match hours {
            ..24 => ("Minimum", RETENTION_HOURS.0, "short"),
            _ => ("Maximum", RETENTION_HOURS.1, "long"),
        };
        if !(RETENTION_HOURS.0..=RETENTION_HOURS.1).contains(&hours) {
            return Err(Error::invalid_argument(format!(
                "{bound} allowed retention period is {limit} hours. Requested retention period ({hours} hours) is too \
                 {relation}."
            )));
        }
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        Ok((stream, u32::try_from(hours).unwrap_or_default()))
    }

    pub(super) fn update_max_record_size(
        &mut self,
        request: request::UpdateMaxRecordSize<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.max_record_size_in_kib, "maxRecordSizeInKiB");
        check.range(request.max_record_size_in_kib, "maxRecordSizeInKiB", RECORD_KIB.0, RECORD_KIB.1);
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        let kib = request.max_record_size_in_kib.unwrap_or(RECORD_KIB.0);
        stream.max_record_kib = u32::try_from(kib).unwrap_or(stream.max_record_kib);
        Ok(response::Empty {})
    }
}
