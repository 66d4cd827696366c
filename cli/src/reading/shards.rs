//! SHELL: shards of a stream, as they are listed.

use std::time::Duration;

use aws_sdk_kinesis::{
    error::ProvideErrorMetadata as _,
    types::{Shard as SdkShard, ShardFilter, ShardFilterType},
};
use kpl::{HashKey, HashKeyRange, ShardId};
use tokio::time::sleep;

use super::position::Position;
use crate::{
    aws::{Aws, refusal::is_throttle, stream_name::StreamName},
    failure::Failure,
};

/// Pause after a throttled request for an iterator.
const THROTTLED: Duration = Duration::from_secs(1);

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) range: HashKeyRange,
    pub(crate) parents: Vec<ShardId>,
}

/// All shards that the stream knows, closed ones included, in the order of their ids.
pub(crate) async fn all_shards(aws: &Aws, stream: &StreamName) -> Result<Vec<SdkShard>, Failure> {
    list(aws, stream, None).await
}

/// The shards that were open at a position.
pub(crate) async fn open_at(aws: &Aws, stream: &StreamName, position: &Position) -> Result<Vec<Shard>, Failure> {
    let (kind, _, time) = position.request();
    let kind = match kind.as_str() {
        "AT_TIMESTAMP" => ShardFilterType::AtTimestamp,
        "LATEST" => ShardFilterType::AtLatest,
        _ => ShardFilterType::AtTrimHorizon,
    };
    let filter = ShardFilter::builder().r#type(kind).set_timestamp(time).build();
    let filter = filter.map_err(|error| Failure::new("the shards cannot be listed", error))?;
    Ok(list(aws, stream, Some(filter)).await?.iter().filter_map(shard).collect())
}

async fn list(aws: &Aws, stream: &StreamName, filter: Option<ShardFilter>) -> Result<Vec<SdkShard>, Failure> {
    let (client, mut shards, mut token) = (aws.kinesis(), Vec::new(), None);
    loop {
        let request = client.list_shards().set_next_token(token.clone());
        let request = match &token {
            None => {
                request.set_stream_name(stream.name()).set_stream_arn(stream.arn()).set_shard_filter(filter.clone())
            }
            Some(_) => request,
        };
        let answer = request.send().await;
        let answer = answer.map_err(|error| aws.explain("kinesis:ListShards", &format!("stream {stream}"), error))?;
        shards.extend(answer.shards.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            shards.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
            return Ok(shards);
        }
    }
}

/// A shard as the SDK has it; None if its hash keys cannot be read.
pub(crate) fn shard(shard: &SdkShard) -> Option<Shard> {
    let range = shard.hash_key_range.as_ref()?;
    let key = |text: &str| text.parse::<HashKey>().ok();
    let range = HashKeyRange { start: key(&range.starting_hash_key)?, end: key(&range.ending_hash_key)? };
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    let parents = parents.into_iter().flatten().map(|id| ShardId::from(id.as_str())).collect();
    Some(Shard { id: shard.shard_id.as_str().into(), range, parents })
}

/// An iterator at a position of a shard.
pub(crate) async fn iterator(
    aws: &Aws,
    stream: &StreamName,
    shard: &ShardId,
    position: &Position,
) -> Result<String, Failure> {
    let (kind, number, time) = position.request();
    let client = aws.kinesis();
    loop {
        let request = client.get_shard_iterator().shard_id(shard.as_str()).shard_iterator_type(kind.clone());
        let request = request.set_stream_name(stream.name()).set_stream_arn(stream.arn());
        let answer = request.set_starting_sequence_number(number.clone()).set_timestamp(time).send().await;
        match answer {
            Ok(answer) => return Ok(answer.shard_iterator.unwrap_or_default()),
            Err(error) if error.as_service_error().and_then(|it| it.code()).is_some_and(is_throttle) => {
                sleep(THROTTLED.mul_f64(0.5 + fastrand::f64())).await;
            }
            Err(error) => {
                return Err(aws.explain("kinesis:GetShardIterator", &format!("{shard} of stream {stream}"), error));
            }
        }
    }
}
