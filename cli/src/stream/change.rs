//! SHELL: changes of a stream: each shows a plan, asks, calls, and waits until the stream is ACTIVE.

use std::time::Duration;

use aws_sdk_kinesis::types::{ScalingType, StreamMode, StreamModeDetails};
use clap::Args;

use super::{
    facts::{self, ShardFacts},
    plan::{self, SplitPoint},
    progress,
};
use crate::{
    aws::{Aws, stream_name::StreamName},
    confirm::{Consent, confirm},
    failure::Failure,
    reading::shards,
    text,
};

/// Arguments of `kds stream create`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CreateArguments {
    /// Name of the stream
    stream: StreamName,
    /// Shards of a provisioned stream
    #[arg(long, value_name = "N", required_unless_present = "on_demand", value_parser = clap::value_parser!(i32).range(1..))]
    shards: Option<i32>,
    /// A stream that scales by itself
    #[arg(long, conflicts_with = "shards")]
    on_demand: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `kds stream delete`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DeleteArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// Deregister its fan-out consumers with it
    #[arg(long)]
    with_consumers: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `kds stream split`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SplitArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// The shard
    shard: String,
    /// First hash key of the upper child: a number, a part of the shard such as 25%, or key:PARTITION_KEY
    #[arg(long, value_name = "POINT", default_value = "50%")]
    at: SplitPoint,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `kds stream merge`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MergeArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// A shard
    shard: String,
    /// The shard whose hash keys begin where those of the first end, or the other way round
    other: String,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `kds stream scale`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScaleArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// Open shards in the end, of equal size
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    to: i32,
    #[command(flatten)]
    consent: Consent,
}

/// Creates a stream.
pub(super) async fn create(aws: &Aws, arguments: CreateArguments) -> Result<(), Failure> {
    let CreateArguments { stream, shards, on_demand, consent } = arguments;
    let Some(name) = stream.name() else {
        return Err(Failure::usage(format!("{stream} is an ARN"), "give the name of the new stream"));
    };
    let size = shards.map_or("on demand".to_owned(), |shards| text::counted(u64::from(shards.unsigned_abs()), "shard"));
    confirm(&format!("create stream {name} in {}: {size}\n", aws.region()), consent.yes)?;
    let request = aws.kinesis().create_stream().stream_name(name).set_shard_count(shards);
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build();
    let mode = mode.map_err(|error| Failure::new("the stream cannot be created", error))?;
    let request = if on_demand { request.stream_mode_details(mode) } else { request };
    let sent = request.send().await;
    sent.map_err(|error| aws.explain("kinesis:CreateStream", &format!("stream {stream}"), error))?;
    progress::until_active(aws, &stream).await
}

/// Deletes a stream with its records.
pub(super) async fn delete(aws: &Aws, arguments: DeleteArguments) -> Result<(), Failure> {
    let DeleteArguments { stream, with_consumers, consent } = arguments;
    let facts = facts::read(aws, &stream).await?;
    let consumers = facts.consumers.as_ref().map_or(0, Vec::len);
    if consumers > 0 && !with_consumers {
        let what = format!("stream {stream} has {}", text::counted(consumers as u64, "fan-out consumer"));
        return Err(Failure::new(what, "pass --with-consumers to deregister them too"));
    }
    let open = text::counted(u64::from(facts.open_shards.unsigned_abs()), "open shard");
    let plan = format!(
        "delete stream {} in {}: {open}, up to {} of records, {}\n",
        facts.name,
        aws.region(),
        text::duration(Duration::from_secs(3_600 * u64::from(facts.retention_hours.unsigned_abs()))),
        text::counted(consumers as u64, "fan-out consumer"),
    );
    confirm(&plan, consent.yes)?;
    let request = aws.kinesis().delete_stream().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let sent = request.enforce_consumer_deletion(with_consumers).send().await;
    sent.map_err(|error| aws.explain("kinesis:DeleteStream", &format!("stream {stream}"), error))?;
    progress::until_gone(aws, &stream).await
}

/// Splits a shard.
pub(super) async fn split(aws: &Aws, arguments: SplitArguments) -> Result<(), Failure> {
    let SplitArguments { stream, shard, at, consent } = arguments;
    let shards = provisioned(aws, &stream).await?;
    let split = plan::split(&shards, &shard, &at)?;
    confirm(&split.text(), consent.yes)?;
    let request = aws.kinesis().split_shard().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let sent = request.shard_to_split(&shard).new_starting_hash_key(split.at.to_string()).send().await;
    sent.map_err(|error| aws.explain("kinesis:SplitShard", &format!("{shard} of stream {stream}"), error))?;
    progress::until_active(aws, &stream).await
}

/// Merges two shards.
pub(super) async fn merge(aws: &Aws, arguments: MergeArguments) -> Result<(), Failure> {
    let MergeArguments { stream, shard, other, consent } = arguments;
    let shards = provisioned(aws, &stream).await?;
    let (lower, upper) = plan::merge(&shards, &shard, &other)?;
    confirm(&format!("merge {lower} and {upper} of stream {stream} into one shard\n"), consent.yes)?;
    let request = aws.kinesis().merge_shards().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let sent = request.shard_to_merge(&lower).adjacent_shard_to_merge(&upper).send().await;
    sent.map_err(|error| aws.explain("kinesis:MergeShards", &format!("{lower} of stream {stream}"), error))?;
    progress::until_active(aws, &stream).await
}

/// Changes the number of open shards.
pub(super) async fn scale(aws: &Aws, arguments: ScaleArguments) -> Result<(), Failure> {
    let ScaleArguments { stream, to, consent } = arguments;
    let open = provisioned(aws, &stream).await?.iter().filter(|shard| shard.is_open).count();
    confirm(&plan::scale(stream.as_str(), open, usize::try_from(to).unwrap_or(usize::MAX))?, consent.yes)?;
    let request = aws.kinesis().update_shard_count().target_shard_count(to);
    let request = request.set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let sent = request.scaling_type(ScalingType::UniformScaling).send().await;
    sent.map_err(|error| aws.explain("kinesis:UpdateShardCount", &format!("stream {stream}"), error))?;
    progress::until_active(aws, &stream).await
}

/// The shards of a stream whose shards people may change.
async fn provisioned(aws: &Aws, stream: &StreamName) -> Result<Vec<ShardFacts>, Failure> {
    let summary = facts::summary(aws, stream).await?;
    if summary.stream_mode_details.is_some_and(|details| details.stream_mode == StreamMode::OnDemand) {
        let what = format!("stream {stream} is on demand");
        return Err(Failure::new(what, "Kinesis scales it by itself, its shards cannot be changed"));
    }
    if summary.stream_status.as_str() != "ACTIVE" {
        let what = format!("stream {stream} is {}", summary.stream_status);
        return Err(Failure::new(what, "wait until it is ACTIVE"));
    }
    Ok(shards::all_shards(aws, stream).await?.iter().map(ShardFacts::of).collect())
}
