//! GetShardIterator and GetRecords.

use crate::kinesis::check::{self, Check};
use crate::kinesis::iterator::ShardIterator;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::shard::{Shard, ShardId};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;
use crate::{ACCOUNT_ID, kinesis::stream::Stream};

/// Most records of an answer. docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
const MAX_RECORDS: i64 = 10_000;

/// Most bytes of an answer. Same source.
const MAX_BYTES: usize = 10 << 20;

const TYPES: [&str; 5] = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP", "TRIM_HORIZON", "LATEST"];

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
        let stream = self.stream(name, now)?;
        stream.require_data()?;
        let shard = stream.shard(shard).ok_or_else(|| Error::no_shard(shard, name))?;
        let from = position(&request, stream, shard, now)?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        let (stream, incarnation) = (stream.name.clone(), stream.incarnation);
        let iterator = ShardIterator { issued: now, stream, incarnation, shard: shard.id, from };
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

        let batch = shard.read(iterator.from, usize::try_from(limit).unwrap_or_default(), MAX_BYTES);
        let last = batch.last().map(|record| record.sequence_number);
        let at_tip = batch.reaches_tip();
        let records = batch.to_vec();
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

/// The lowest sequence number that the iterator is to read.
fn position(
    request: &request::GetShardIterator<'_>,
    stream: &Stream,
    shard: &Shard,
    now: Millis,
) -> Result<SequenceNumber, Error> {
    let iterator_type = request.shard_iterator_type.as_deref().unwrap_or_default();
    match (iterator_type, request.starting_sequence_number.as_deref()) {
        ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", Some(text)) => {
            let number = starting_number(text, stream, shard)?;
            Ok(if iterator_type == "AT_SEQUENCE_NUMBER" { number } else { number.successor() })
        }
        ("TRIM_HORIZON", None) => Ok(shard.starting),
        ("LATEST", None) => Ok(shard.tip()),
        ("AT_TIMESTAMP", None) => at_time(request.timestamp, shard, now),
        (iterator_type, number) => Err(Error::invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {iterator_type} and {} \
             StartingSequenceNumber.",
            if number.is_some() { "also a" } else { "no" }
        ))),
    }
}

fn starting_number(text: &str, stream: &Stream, shard: &Shard) -> Result<SequenceNumber, Error> {
    let refused = |why: &str| {
        Error::invalid_argument(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account \
             {ACCOUNT_ID} is invalid{why}.",
            shard.id, stream.name
        ))
    };
    let number = SequenceNumber::parse(text).ok_or_else(|| refused(""))?;
    if !shard.owns(number) {
        return Err(refused(" because it did not come from this stream"));
    }
    Ok(number)
}

fn at_time(time: Option<Millis>, shard: &Shard, now: Millis) -> Result<SequenceNumber, Error> {
    match time {
        None => Err(Error::invalid_argument(
            "Request specified AT_TIMESTAMP shard iterator type, but the request has no timestamp parameter.",
        )),
        Some(time) if time > now => Err(Error::invalid_argument(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             {}, currentTimestampInMillis: {}",
            time.0, now.0
        ))),
        Some(time) => Ok(shard.at_time(time)),
    }
}
