//! SplitShard, MergeShards and UpdateShardCount: checks whether they are allowed. `reshard.rs` carries them out.

use tracing::info;

use super::streams::MAX_SHARDS;
use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::limits::require_rare;
use crate::kinesis::reshard::Reshard;
use crate::kinesis::shard::{Shard, ShardId};
use crate::kinesis::stream::{Mode, State, Stream};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// UpdateShardCount of a stream in 24 hours, when limits are enforced.
/// docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
const MAX_SCALINGS: usize = 10;

impl Kinesis {
    pub(super) fn split_shard(
        &mut self,
        request: request::SplitShard<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.shard_to_split, "shardToSplit");
        check.required(&request.new_starting_hash_key, "newStartingHashKey");
        check.hash_key(request.new_starting_hash_key.as_ref(), "newStartingHashKey");
        check.finish()?;

        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let at = check::hash_key(request.new_starting_hash_key.as_deref().unwrap_or_default(), "NewStartingHashKey")?;
        let stream = self.stream(name, now)?;
        require_provisioned(stream)?;
        stream.require_active()?;
        let shard = open_shard(stream, request.shard_to_split.as_deref().unwrap_or_default())?;
        if at.0 <= shard.range.start.0.saturating_add(1) || at >= shard.range.end {
            return Err(Error::invalid_argument(format!(
                "NewStartingHashKey {at} used in SplitShard() on shard {} in stream {name} under account {ACCOUNT_ID} \
                 is not both greater than one plus the shard's StartingHashKey {} and less than the shard's \
                 EndingHashKey {}.",
                shard.id, shard.range.start, shard.range.end
            )));
        }
        if stream.open_shards().len() >= MAX_SHARDS as usize {
            return Err(Error::too_many_shards(MAX_SHARDS, 1));
        }
        let change = Reshard::Split { shard: shard.id, at };
        self.start(name, change, now)?;
        Ok(response::Empty {})
    }

    pub(super) fn merge_shards(
        &mut self,
        request: request::MergeShards<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.shard_to_merge, "shardToMerge");
        check.required(&request.adjacent_shard_to_merge, "adjacentShardToMerge");
        check.finish()?;

        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        require_provisioned(stream)?;
        stream.require_active()?;
        let one = open_shard(stream, request.shard_to_merge.as_deref().unwrap_or_default())?;
        let other = open_shard(stream, request.adjacent_shard_to_merge.as_deref().unwrap_or_default())?;
        let (lower, upper) = if one.range.start <= other.range.start { (one, other) } else { (other, one) };
        if !lower.range.is_followed_by(&upper.range) {
            return Err(Error::invalid_argument(format!(
                "Shards {} and {} in stream {name} under account {ACCOUNT_ID} are not an adjacent pair of shards \
                 eligible for merging",
                one.id, other.id
            )));
        }
        let change = Reshard::Merge { lower: lower.id, upper: upper.id };
        self.start(name, change, now)?;
        Ok(response::Empty {})
    }

    pub(super) fn update_shard_count(
        &mut self,
        request: request::UpdateShardCount<'_>,
        now: Millis,
    ) -> Result<response::UpdateShardCount, Error> {
        let mut check = Check::default();
        check.required(&request.target_shard_count, "targetShardCount");
        check.range(request.target_shard_count, "targetShardCount", 1, i64::MAX);
        check.required(&request.scaling_type, "scalingType");
        check.one_of(request.scaling_type.as_deref(), "scalingType", &["UNIFORM_SCALING"]);
        check.finish()?;

        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let target = request.target_shard_count.unwrap_or_default();
        let is_limited = self.limits.are_enforced;
        let stream = self.stream(name, now)?;
        require_provisioned(stream)?;
        stream.require_active()?;
        let current = stream.open_shards().len();
        let target_shard_count = scaling_target(current, target)?;
        if is_limited {
            let done = format!("Stream {name} under account {ACCOUNT_ID} was scaled");
            require_rare(&mut stream.scalings, MAX_SCALINGS, &done, now)?;
        }
        let stream_arn = stream.arn();
        self.start(name, Reshard::Scale { target: target_shard_count }, now)?;
        let stream_name = name.to_owned();
        Ok(response::UpdateShardCount { stream_name, stream_arn, current_shard_count: current, target_shard_count })
    }

    /// Begins a change that was found to be allowed; it is done at once unless there is a delay.
    fn start(&mut self, name: &str, change: Reshard, now: Millis) -> Result<(), Error> {
        let until = now.plus(self.delays.updating);
        let more = match change {
            Reshard::Split { .. } => 1,
            Reshard::Merge { .. } => 0,
            Reshard::Scale { target } => (target as usize).saturating_sub(self.stream(name, now)?.open_shards().len()),
        };
        self.require_shards(more)?;
        let stream = self.stream(name, now)?;
        stream.state = State::Updating { until, change: Some(change) };
        stream.advance(now);
        info!(stream = name, ?change, "reshard begun");
        Ok(())
    }
}

/// The number of shards to scale to: at most double, at least half of the current number.
fn scaling_target(current: usize, target: i64) -> Result<u32, Error> {
    let open = i64::try_from(current).unwrap_or(i64::MAX);
    let relation = if target > open.saturating_mul(2) {
        "scale up over double"
    } else if target.saturating_mul(2) < open {
        "scale down below half"
    } else {
        return match u32::try_from(target) {
            Ok(target) if target <= MAX_SHARDS => Ok(target),
            _ => Err(Error::too_many_shards(MAX_SHARDS, target - open)),
        };
    };
    Err(Error::limit_exceeded(format!(
        "UpdateShardCount cannot {relation} your current open shard count. Current open shard count: {current}, Target \
         shard count: {target}"
    )))
}

fn require_provisioned(stream: &Stream) -> Result<(), Error> {
    match stream.mode {
        Mode::Provisioned => Ok(()),
        Mode::OnDemand => Err(Error::validation(format!(
            "Stream {} under account {ACCOUNT_ID} is in ON_DEMAND capacity mode. This operation is only supported for \
             streams in PROVISIONED capacity mode.",
            stream.name
        ))),
    }
}

fn open_shard<'s>(stream: &'s Stream, id: &str) -> Result<&'s Shard, Error> {
    let missing = || Error::unknown_shard(id, &stream.name);
    let shard = ShardId::parse(id).and_then(|id| stream.shard(id)).ok_or_else(missing)?;
    if !shard.is_open() {
        return Err(Error::invalid_argument(format!(
            "Shard {id} in stream {} under account {ACCOUNT_ID} is not OPEN",
            stream.name
        )));
    }
    Ok(shard)
}
