//! GetShardIterator and GetRecords.

use super::position::{Position, TYPES};
use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::iterator::ShardIterator;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::shard::ShardId;
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Maximum number of records of an answer. docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
const MAX_RECORDS: i64 = 10_000;

/// Maximum size of an answer in bytes. Same source.
const MAX_BYTES: usize = 10 << 20;

impl Kinesis {
    pub(super) fn get_shard_iterator(
        &mut self,
        request: request::GetShardIterator<'_>,
        now: Millis,
    ) -> Result<response::GetShardIterator, Error> {
        let mut check = Check::default();
        check.required(&request.shard_id, "shardId");
        check.required(&request.shard_iterator_type, "shardIteratorType");
        check.one_of(request.shard_iterator_type.as_deref(), "shardIteratorType", &TYPES);
        check.sequence_number(request.starting_sequence_number.as_ref(), "startingSequenceNumber");
        check.finish()?;

        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let shard_id = request.shard_id.as_deref().unwrap_or_default();
        let shard = ShardId::parse(shard_id).ok_or_else(|| Error::unknown_shard(shard_id, name))?;
        let is_limited = self.limits.are_enforced;
        let stream = self.stream(name, now)?;
        stream.require_data()?;
        let shard = stream.shard(shard).ok_or_else(|| Error::no_shard(shard, name))?;
        let position = Position {
            operation: "GetShardIterator",
            kind: request.shard_iterator_type.as_deref().unwrap_or_default(),
            number: request.starting_sequence_number.as_deref(),
            time: request.timestamp,
        };
        let from = position.find(stream, shard, now)?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        let (shard, incarnation) = (shard.id, stream.incarnation);
        if is_limited && !stream.trimmed_shard(shard, now).is_some_and(|shard| shard.meters.admit_iterator(now)) {
            return Err(Error::rate_exceeded(shard, name));
        }
        let iterator = ShardIterator { issued: now, stream: stream.name.clone(), incarnation, shard, from };
        Ok(response::GetShardIterator { shard_iterator: iterator.encode() })
    }

    pub(super) fn get_records(
        &mut self,
        request: request::GetRecords<'_>,
        now: Millis,
    ) -> Result<response::GetRecords, Error> {
        let mut check = Check::default();
        check.required(&request.shard_iterator, "shardIterator");
        check.range(request.limit, "limit", 1, i64::MAX);
        check.finish()?;
        let limit = request.limit.unwrap_or(MAX_RECORDS);
        if limit > MAX_RECORDS {
            return Err(Error::invalid_argument(format!("Limit {limit} exceeds the maximum of {MAX_RECORDS}.")));
        }
        let mut iterator = ShardIterator::decode(request.shard_iterator.as_deref().unwrap_or_default(), now)?;
        if request.stream_arn.is_some() || request.stream_name.is_some() {
            let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
            if name != iterator.stream {
                return Err(Error::invalid_argument("Invalid ShardIterator."));
            }
        }
        let is_limited = self.limits.are_enforced;
        let stream = self.stream(&iterator.stream, now)?;
        stream.require_data()?;
        if stream.incarnation != iterator.incarnation {
            return Err(Error::no_stream(&iterator.stream, ACCOUNT_ID));
        }
        let missing = || Error::no_shard(iterator.shard, &iterator.stream);
        let shard = stream.trimmed_shard(iterator.shard, now).ok_or_else(missing)?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        if is_limited && !shard.meters.admit_read(now) {
            return Err(Error::rate_exceeded(iterator.shard, &iterator.stream));
        }

        let batch = shard.read(iterator.from, usize::try_from(limit).unwrap_or_default(), MAX_BYTES);
        let last = batch.last().map(|record| record.sequence_number);
        let at_tip = batch.reaches_tip();
        let (records, size_bytes) = (batch.to_vec(), batch.size_bytes());
        shard.meters.read(size_bytes);
        // The answer that reaches the end of a closed shard says so itself, whether it holds records or not.
        let children = (at_tip && !shard.is_open()).then(|| shard.children.clone());
        let behind = last.filter(|_| !at_tip).map(|last| now.since(last.arrival()).as_millis());
        iterator.issued = now;
        iterator.from = last.map_or(iterator.from, SequenceNumber::successor);
        Ok(response::GetRecords {
            records,
            next_shard_iterator: children.is_none().then(|| iterator.encode()),
            millis_behind_latest: behind.and_then(|millis| u64::try_from(millis).ok()).unwrap_or_default(),
            child_shards: children.map(|ids| ids.iter().filter_map(|id| stream.shard(*id)).map(Into::into).collect()),
        })
    }
}
