//! SHELL: the calls to Kinesis through the AWS SDK. Translates; decides nothing.

use std::{mem::take, time::Duration};

use aws_sdk_kinesis::{
    Client, Config,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    primitives::DateTime,
    types::{ConsumerStatus, ShardFilter as SdkFilter, ShardFilterType, StreamStatus},
};
use futures::future::FutureExt as _;
use kpl::ShardId;

use super::{
    Call, FanOutConsumer, Kinesis, Records, StreamDescription, Subscription,
    answer::{behind, children, failed, shard, start_at},
    fan_out,
    records::records,
};
use crate::{
    clock::ServiceClock,
    error::{KinesisError, KinesisErrorKind},
    model::{InitialPosition, Shard, StartAt, StreamIdentity},
};

/// Maximum duration of one call. Source: KCL `kinesisRequestTimeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The real service, or whatever the SDK's configuration points to.
#[derive(Debug)]
pub(crate) struct SdkKinesis {
    client: Client,
    /// One of name and ARN is set.
    name: Option<String>,
    arn: Option<String>,
}

impl SdkKinesis {
    /// SDK retries are off: when to try again is this library's business. The application's own time-outs win.
    pub(crate) fn client(aws: &Config, clock: ServiceClock) -> Client {
        let timeouts = aws.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let timeouts = timeouts.take_unset_from(TimeoutConfig::builder().operation_timeout(REQUEST_TIMEOUT));
        let config = aws.to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts.build());
        Client::from_conf(config.interceptor(clock).build())
    }

    /// A stream by its name or ARN. All streams of a worker share one client.
    pub(crate) fn new(client: Client, stream: String) -> Self {
        let (name, arn) = if stream.starts_with("arn:") { (None, Some(stream)) } else { (Some(stream), None) };
        Self { client, name, arn }
    }
}

fn filter(position: &InitialPosition) -> SdkFilter {
    let (kind, timestamp) = match position {
        InitialPosition::Latest => (ShardFilterType::AtLatest, None),
        InitialPosition::TrimHorizon => (ShardFilterType::AtTrimHorizon, None),
        InitialPosition::AtTimestamp(time) => (ShardFilterType::AtTimestamp, Some(DateTime::from(*time))),
    };
    SdkFilter::builder().r#type(kind).set_timestamp(timestamp).build().expect("filter has a type")
}

impl Kinesis for SdkKinesis {
    fn describe(&self) -> Call<'_, StreamDescription> {
        const ACTION: &str = "kinesis:DescribeStreamSummary";
        let call =
            self.client.describe_stream_summary().set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone());
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            let summary = output
                .stream_description_summary()
                .ok_or_else(|| KinesisError::other(ACTION, "answer without content"))?;
            let created = summary.stream_creation_timestamp().to_millis().ok().and_then(|ms| u64::try_from(ms).ok());
            Ok(StreamDescription {
                active: matches!(summary.stream_status(), StreamStatus::Active | StreamStatus::Updating),
                identity: StreamIdentity {
                    arn: summary.stream_arn().to_owned(),
                    // The service's own resolution; emulators differ below it from call to call.
                    created_seconds: created.map_or(0, |millis| millis / 1000),
                },
            })
        }
        .boxed()
    }

    fn list_shards<'a>(&'a self, position: Option<&'a InitialPosition>) -> Call<'a, Vec<Shard>> {
        const ACTION: &str = "kinesis:ListShards";
        async move {
            let mut shards = Vec::new();
            let first = self.client.list_shards().set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone());
            let mut page = first.set_shard_filter(position.map(filter)).send().await.map_err(failed(ACTION))?;
            loop {
                for listed in page.shards() {
                    shards.push(
                        shard(listed).ok_or_else(|| KinesisError::other(ACTION, "a listed shard cannot be read"))?,
                    );
                }
                let Some(token) = page.next_token().map(str::to_owned) else { return Ok(shards) };
                // With a token, the service accepts neither stream nor filter.
                page = self.client.list_shards().next_token(token).send().await.map_err(failed(ACTION))?;
            }
        }
        .boxed()
    }

    fn shard_iterator<'a>(&'a self, shard: &'a ShardId, start: &'a StartAt) -> Call<'a, String> {
        const ACTION: &str = "kinesis:GetShardIterator";
        let (kind, number, time) = start_at(start);
        let call = self.client.get_shard_iterator().set_stream_name(self.name.clone()).set_stream_arn(self.arn.clone());
        let call = call.shard_id(shard.as_str()).shard_iterator_type(kind);
        let call = call.set_starting_sequence_number(number).set_timestamp(time);
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            output.shard_iterator.ok_or_else(|| KinesisError::other(ACTION, "answer without an iterator"))
        }
        .boxed()
    }

    fn get_records<'a>(&'a self, iterator: &'a str, limit: i32) -> Call<'a, Records> {
        const ACTION: &str = "kinesis:GetRecords";
        let read = move |limit| {
            self.client.get_records().shard_iterator(iterator).limit(limit).set_stream_arn(self.arn.clone())
        };
        let call = read(limit);
        async move {
            let mut output = call.send().await.map_err(failed(ACTION))?;
            let records = match records(take(&mut output.records)) {
                // Its iterator would skip the unreadable record.
                Err(refused) if !refused.before.is_empty() => {
                    let before = i32::try_from(refused.before.len()).unwrap_or(limit);
                    output = read(before).send().await.map_err(failed(ACTION))?;
                    records(take(&mut output.records))
                }
                records => records,
            };
            Ok(Records {
                children: children(ACTION, output.child_shards())?,
                records: records.map_err(|refused| KinesisError::other(ACTION, refused.error))?,
                next_iterator: output.next_shard_iterator,
                behind_latest: output.millis_behind_latest.and_then(behind),
            })
        }
        .boxed()
    }

    fn find_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, Option<FanOutConsumer>> {
        const ACTION: &str = "kinesis:DescribeStreamConsumer";
        let call = self.client.describe_stream_consumer().stream_arn(stream_arn).consumer_name(name);
        async move {
            match call.send().await.map_err(failed(ACTION)) {
                Ok(output) => {
                    let found = output.consumer_description();
                    let found = found.ok_or_else(|| KinesisError::other(ACTION, "answer without content"))?;
                    let active = *found.consumer_status() == ConsumerStatus::Active;
                    Ok(Some(FanOutConsumer { arn: found.consumer_arn().to_owned(), active }))
                }
                Err(error) if error.kind == KinesisErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn register_consumer<'a>(&'a self, stream_arn: &'a str, name: &'a str) -> Call<'a, FanOutConsumer> {
        const ACTION: &str = "kinesis:RegisterStreamConsumer";
        let call = self.client.register_stream_consumer().stream_arn(stream_arn).consumer_name(name);
        async move {
            let output = call.send().await.map_err(failed(ACTION))?;
            let registered = output.consumer().ok_or_else(|| KinesisError::other(ACTION, "answer without content"))?;
            let active = *registered.consumer_status() == ConsumerStatus::Active;
            Ok(FanOutConsumer { arn: registered.consumer_arn().to_owned(), active })
        }
        .boxed()
    }

    fn deregister_consumer<'a>(&'a self, consumer_arn: &'a str) -> Call<'a, ()> {
        let call = self.client.deregister_stream_consumer().consumer_arn(consumer_arn);
        async move {
            call.send().await.map_err(failed("kinesis:DeregisterStreamConsumer"))?;
            Ok(())
        }
        .boxed()
    }

    fn subscribe<'a>(
        &'a self,
        consumer_arn: &'a str,
        shard: &'a ShardId,
        start: &'a StartAt,
    ) -> Call<'a, Subscription> {
        fan_out::subscribe(&self.client, consumer_arn, shard, start).boxed()
    }
}
