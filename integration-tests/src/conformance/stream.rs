//! [`Stream`]: a stream of a check's own, and what checks do with one.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::create_stream::CreateStreamError;
use aws_sdk_kinesis::operation::create_stream::builders::CreateStreamFluentBuilder;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_sdk_kinesis::operation::put_record::PutRecordOutput;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, ScalingType, Shard, ShardFilter, ShardFilterType, ShardIteratorType,
    StreamDescriptionSummary, StreamStatus,
};
use tokio::time::sleep;

use super::context::pace;
use super::expect::{Failure, Outcome, present};
use super::peer::{Peer, unique, until};

/// First hash key of the upper half.
pub(super) const HALF: &str = "170141183460469231731687303715884105728";

/// Last hash key of the lower half.
pub(super) const BELOW_HALF: &str = "170141183460469231731687303715884105727";

/// Last hash key.
pub(super) const LAST: &str = "340282366920938463463374607431768211455";

/// Long enough for two times to be told apart where they are told in milliseconds, short enough to be within a second.
const A_MOMENT: Duration = Duration::from_millis(30);

/// Pause of a check before it reads a busy shard again.
const WHEN_THROTTLED: Duration = Duration::from_millis(250);

/// Maximum number of answers of GetRecords that a check reads: more means that a shard never ends.
const MAX_ANSWERS: usize = 60;

/// The id of the n-th shard of a stream.
pub(super) fn shard_id(n: usize) -> String {
    format!("shardId-{n:012}")
}

/// An entry of PutRecords.
pub(super) fn entry(partition_key: &str, data: impl Into<Vec<u8>>) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().partition_key(partition_key).data(Blob::new(data));
    entry.build().expect("key and data are set")
}

/// An entry of PutRecords for the shard that has a hash key.
pub(super) fn entry_to(hash_key: &str, data: impl Into<Vec<u8>>) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().partition_key("k").explicit_hash_key(hash_key).data(Blob::new(data));
    entry.build().expect("key and data are set")
}

/// A filter of ListShards that needs nothing else.
pub(super) fn filter(filter_type: ShardFilterType) -> ShardFilter {
    ShardFilter::builder().r#type(filter_type).build().expect("type is set")
}

/// A filter of ListShards with a time.
pub(super) fn filter_by_time(filter_type: ShardFilterType, time: DateTime) -> ShardFilter {
    ShardFilter::builder().r#type(filter_type).timestamp(time).build().expect("type is set")
}

/// Lets a moment pass.
pub(super) async fn a_moment() {
    sleep(A_MOMENT).await;
}

/// Data of records, as text.
pub(super) fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(record.data().as_ref()).into_owned()).collect()
}

/// Ids of shards.
pub(super) fn ids(shards: &[Shard]) -> Vec<&str> {
    shards.iter().map(Shard::shard_id).collect()
}

/// A sequence number or a hash key, to be compared.
pub(super) fn number(text: &str) -> Result<Number, Failure> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return Err(Failure::new(format!("not a number: {text:?}")));
    }
    let digits = text.trim_start_matches('0').to_owned();
    Ok(Number { length: digits.len(), digits })
}

/// A decimal number of any length: a sequence number is longer than 128 bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number {
    length: usize,
    digits: String,
}

/// First and last hash key of a shard.
pub(super) fn range(shard: &Shard) -> Result<(u128, u128), Failure> {
    let range = present(shard.hash_key_range(), "hash key range")?;
    let bound = |text: &str| text.parse().map_err(|_| Failure::new(format!("not a hash key: {text:?}")));
    Ok((bound(range.starting_hash_key())?, bound(range.ending_hash_key())?))
}

/// Last sequence number of a shard, if it is closed.
pub(super) fn ending(shard: &Shard) -> Option<&str> {
    shard.sequence_number_range().and_then(|range| range.ending_sequence_number())
}

/// Records of a shard from a position to its tip or end.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) records: Vec<Record>,
    pub(super) last: GetRecordsOutput,
}

impl Reading {
    pub(super) fn texts(&self) -> Vec<String> {
        texts(&self.records)
    }

    /// True if the last answer gave no next iterator.
    pub(super) fn is_at_end(&self) -> bool {
        self.last.next_shard_iterator().is_none()
    }
}

/// Creates a stream, and waits while too many others are being created.
pub(super) async fn create(call: CreateStreamFluentBuilder) -> Result<(), SdkError<CreateStreamError>> {
    let mut tries = 0..40;
    loop {
        match call.clone().send().await {
            Err(error) if error.code() == Some("LimitExceededException") && tries.next().is_some() => {
                sleep(WHEN_THROTTLED).await;
            }
            answer => return answer.map(|_| ()),
        }
    }
}

/// An active stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) kinesis: Client,
    pub(super) name: String,
    pub(super) arn: String,
}

impl Stream {
    /// Creates a stream and waits until it is active.
    pub(super) async fn create(peer: &Peer, shards: i32) -> Result<Self, Failure> {
        let name = unique("stream");
        create(peer.kinesis().create_stream().stream_name(&name).shard_count(shards)).await?;
        Self::created(peer, name).await
    }

    /// Takes over a stream that was created, when it is active.
    pub(super) async fn created(peer: &Peer, name: String) -> Result<Self, Failure> {
        let mut stream = Self { kinesis: peer.kinesis().clone(), name, arn: String::new() };
        stream.active().await?;
        stream.arn = stream.summary().await?.stream_arn().to_owned();
        Ok(stream)
    }

    pub(super) async fn summary(&self) -> Result<StreamDescriptionSummary, Failure> {
        let answer = self.kinesis.describe_stream_summary().stream_name(&self.name).send().await?;
        present(answer.stream_description_summary, "StreamDescriptionSummary")
    }

    /// Waits until the stream is active.
    pub(super) async fn active(&self) -> Outcome {
        until("stream is ACTIVE", async || Ok(*self.summary().await?.stream_status() == StreamStatus::Active)).await
    }

    pub(super) async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Ok(self.kinesis.list_shards().stream_name(&self.name).send().await?.shards().to_vec())
    }

    /// Ids of the shards that pass a filter.
    pub(super) async fn filtered(&self, filter: ShardFilter) -> Result<Vec<String>, Failure> {
        let answer = self.kinesis.list_shards().stream_name(&self.name).shard_filter(filter).send().await?;
        Ok(ids(answer.shards()).into_iter().map(str::to_owned).collect())
    }

    /// The shard of an id.
    pub(super) async fn shard(&self, n: usize) -> Result<Shard, Failure> {
        let shards = self.shards().await?;
        let found = shards.iter().find(|shard| shard.shard_id() == shard_id(n)).cloned();
        found.ok_or_else(|| Failure::new(format!("no {} in {:?}", shard_id(n), ids(&shards))))
    }

    pub(super) async fn put(&self, key: &str, data: impl Into<Vec<u8>>) -> Result<PutRecordOutput, Failure> {
        Ok(self.kinesis.put_record().stream_name(&self.name).partition_key(key).data(Blob::new(data)).send().await?)
    }

    /// Puts a record into the shard that has a hash key.
    pub(super) async fn put_to(&self, hash_key: &str, data: &str) -> Result<PutRecordOutput, Failure> {
        let put = self.kinesis.put_record().stream_name(&self.name).partition_key("k").explicit_hash_key(hash_key);
        Ok(put.data(Blob::new(data)).send().await?)
    }

    pub(super) async fn put_all(&self, entries: Vec<PutRecordsRequestEntry>) -> Result<PutRecordsOutput, Failure> {
        Ok(self.kinesis.put_records().stream_name(&self.name).set_records(Some(entries)).send().await?)
    }

    /// Puts a record and waits while the shard is busy.
    pub(super) async fn fill(&self, data: Vec<u8>) -> Outcome {
        for _ in 0..20 {
            let put =
                self.kinesis.put_record().stream_name(&self.name).partition_key("k").data(Blob::new(data.clone()));
            match put.send().await {
                Err(error) if is_throttled(&error) => sleep(WHEN_THROTTLED).await,
                answer => return answer.map(|_| ()).map_err(Into::into),
            }
        }
        Err(Failure::new("the shard stays busy"))
    }

    pub(super) async fn iterator(&self, n: usize, kind: ShardIteratorType) -> Result<String, Failure> {
        let call = self.kinesis.get_shard_iterator().stream_name(&self.name).shard_id(shard_id(n));
        let answer = call.shard_iterator_type(kind).send().await?;
        present(answer.shard_iterator, "ShardIterator")
    }

    /// An iterator at or after a sequence number.
    pub(super) async fn iterator_by_number(
        &self,
        n: usize,
        kind: ShardIteratorType,
        number: &str,
    ) -> Result<String, Failure> {
        let call = self.kinesis.get_shard_iterator().stream_name(&self.name).shard_id(shard_id(n));
        let answer = call.shard_iterator_type(kind).starting_sequence_number(number).send().await?;
        present(answer.shard_iterator, "ShardIterator")
    }

    /// An iterator at a time.
    pub(super) async fn iterator_by_time(&self, n: usize, time: DateTime) -> Result<String, Failure> {
        let call = self.kinesis.get_shard_iterator().stream_name(&self.name).shard_id(shard_id(n));
        let answer = call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(time).send().await?;
        present(answer.shard_iterator, "ShardIterator")
    }

    /// One answer of GetRecords; waits while the shard is busy.
    pub(super) async fn get(&self, iterator: &str) -> Result<GetRecordsOutput, Failure> {
        for _ in 0..20 {
            match self.kinesis.get_records().shard_iterator(iterator).send().await {
                Err(error) if is_throttled::<GetRecordsError, _>(&error) => sleep(WHEN_THROTTLED).await,
                answer => return Ok(answer?),
            }
        }
        Err(Failure::new("the shard stays busy"))
    }

    /// Reads until answers hold no records, as many as the peer's pace has, or there is no next iterator.
    pub(super) async fn read(&self, iterator: &str) -> Result<Reading, Failure> {
        let mut iterator = iterator.to_owned();
        let (pace, mut records, mut empty) = (pace(), Vec::new(), 0);
        for _ in 0..MAX_ANSWERS {
            let answer = self.get(&iterator).await?;
            empty = if answer.records().is_empty() { empty + 1 } else { 0 };
            records.extend_from_slice(answer.records());
            match answer.next_shard_iterator() {
                Some(next) if empty < pace.empty_answers => iterator = next.to_owned(),
                _ => return Ok(Reading { records, last: answer }),
            }
            if empty > 0 {
                sleep(pace.between_answers).await;
            }
        }
        Err(Failure::new(format!("still records after {MAX_ANSWERS} answers")))
    }

    /// Reads until there is no next iterator. The end may come a moment after the last record.
    pub(super) async fn read_to_end(&self, iterator: &str) -> Result<Reading, Failure> {
        let mut reading = self.read(iterator).await?;
        for _ in 0..MAX_ANSWERS {
            let Some(next) = reading.last.next_shard_iterator() else { return Ok(reading) };
            a_moment().await;
            let further = self.read(next).await?;
            reading.records.extend(further.records);
            reading.last = further.last;
        }
        Err(Failure::new(format!("still a NextShardIterator after {MAX_ANSWERS} answers without records")))
    }

    /// Reads a closed shard from its beginning to its end.
    pub(super) async fn read_closed(&self, n: usize) -> Result<Reading, Failure> {
        let iterator = self.iterator(n, ShardIteratorType::TrimHorizon).await?;
        self.read_to_end(&iterator).await
    }

    /// Reads a shard from its beginning.
    pub(super) async fn read_all(&self, n: usize) -> Result<Reading, Failure> {
        let iterator = self.iterator(n, ShardIteratorType::TrimHorizon).await?;
        self.read(&iterator).await
    }

    /// Arrival of a record of a shard.
    pub(super) async fn arrival(&self, n: usize, record: usize) -> Result<DateTime, Failure> {
        let reading = self.read_all(n).await?;
        let record = present(reading.records.get(record), "record")?;
        present(record.approximate_arrival_timestamp().copied(), "ApproximateArrivalTimestamp")
    }

    /// Splits a shard and waits until that is done.
    pub(super) async fn split(&self, n: usize, at: &str) -> Outcome {
        let split = self.kinesis.split_shard().stream_name(&self.name).shard_to_split(shard_id(n));
        split.new_starting_hash_key(at).send().await?;
        self.active().await
    }

    /// Merges two shards and waits until that is done.
    pub(super) async fn merge(&self, n: usize, adjacent: usize) -> Outcome {
        let merge = self.kinesis.merge_shards().stream_name(&self.name).shard_to_merge(shard_id(n));
        merge.adjacent_shard_to_merge(shard_id(adjacent)).send().await?;
        self.active().await
    }

    /// Scales to a number of shards and waits until that is done.
    pub(super) async fn scale(&self, target: i32) -> Outcome {
        let scale = self.kinesis.update_shard_count().stream_name(&self.name).target_shard_count(target);
        scale.scaling_type(ScalingType::UniformScaling).send().await?;
        self.active().await
    }
}

/// True if a call was refused because the shard is busy.
fn is_throttled<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.as_service_error().and_then(|error| error.code()) == Some("ProvisionedThroughputExceededException")
}
