//! Checks of GetShardIterator and GetRecords: where reading starts, how it goes on, what an answer tells.

use std::time::Duration;

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::get_records::{GetRecordsError, GetRecordsOutput};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType::{self, AfterSequenceNumber, AtSequenceNumber, AtTimestamp};
use aws_sdk_kinesis::types::ShardIteratorType::{Latest, TrimHorizon};
use tokio::time::{Instant, sleep};

use super::check::{api, checks};
use super::expect::{Failure, Outcome, equal, holds, present, refused};
use super::peer::Peer;
use super::stream::{HALF, Stream, a_moment, entry, shard_id};

const FUTURE: &str = "observed at the service by the authors of kinesalite: its InvalidArgumentException says that \
    timestampInMillis \"cannot be greater than the currentTimestampInMillis\"";

checks! {
    Kinesis trim_horizon_reads_from_the_first_record: api!("GetShardIterator");
    Kinesis latest_reads_what_comes_after_it: api!("GetShardIterator");
    Kinesis at_sequence_number_reads_that_record_first: api!("GetShardIterator");
    Kinesis after_sequence_number_reads_the_next_record_first: api!("GetShardIterator");
    Kinesis at_the_starting_number_of_a_shard_reads_all: api!("GetShardIterator");
    Kinesis at_timestamp_includes_a_record_of_that_millisecond: api!("GetShardIterator");
    Kinesis at_timestamp_between_two_records_reads_the_second: api!("GetShardIterator");
    Kinesis at_timestamp_before_all_records_reads_all: api!("GetShardIterator");
    Kinesis at_timestamp_after_all_records_reads_none: api!("GetShardIterator");
    Kinesis at_timestamp_in_the_future_is_refused: FUTURE;
    Kinesis at_sequence_number_needs_a_number: api!("GetShardIterator");
    Kinesis at_timestamp_type_needs_a_time: api!("GetShardIterator");
    Kinesis an_iterator_has_one_of_five_types: api!("GetShardIterator");
    Kinesis an_iterator_reads_the_same_twice: api!("GetRecords");
    Kinesis next_iterators_read_each_record_once: api!("GetRecords");
    Kinesis an_iterator_at_the_tip_stays_usable: api!("GetRecords");
    VirtualTime an_iterator_lives_for_299_seconds: api!("GetShardIterator");
    VirtualTime an_iterator_expires_after_five_minutes: api!("GetRecords");
    VirtualTime every_next_iterator_lives_for_five_minutes: api!("GetRecords");
    Kinesis an_iterator_that_is_none_is_refused: api!("GetRecords");
    Kinesis records_come_from_their_shard_only: api!("GetRecords");
    Kinesis a_limit_of_records_is_kept: api!("GetRecords");
    Kinesis a_limit_of_10000_is_accepted: api!("GetRecords");
    Kinesis a_limit_above_10000_is_refused: api!("GetRecords");
    Kinesis a_limit_of_no_records_is_refused: api!("GetRecords");
    VirtualTime an_answer_has_10000_records_at_most: api!("GetRecords");
    IdleKinesis an_answer_has_10_mib_at_most: api!("GetRecords");
    Kinesis an_answer_at_the_tip_is_0_milliseconds_behind: api!("GetRecords");
    Kinesis an_answer_before_the_tip_tells_how_far_behind_it_is: api!("GetRecords");
    Kinesis arrival_times_have_milliseconds: api!("Record");
    Kinesis arrival_times_never_decrease: api!("Record");
}

/// A stream of one shard with five records, `0` to `4`, and their sequence numbers.
async fn five(peer: &Peer) -> Result<(Stream, Vec<String>), Failure> {
    let stream = Stream::create(peer, 1).await?;
    let mut numbers = Vec::new();
    for n in 0..5 {
        numbers.push(stream.put("k", n.to_string()).await?.sequence_number().to_owned());
    }
    Ok((stream, numbers))
}

async fn trim_horizon_reads_from_the_first_record(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    equal("records", stream.read_all(0).await?.texts(), ["0", "1", "2", "3", "4"])
}

async fn latest_reads_what_comes_after_it(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let iterator = stream.iterator(0, Latest).await?;
    stream.put("k", "new").await?;
    equal("records", stream.read(&iterator).await?.texts(), ["new"])
}

async fn at_sequence_number_reads_that_record_first(peer: Peer) -> Outcome {
    let (stream, numbers) = five(&peer).await?;
    let iterator = stream.iterator_by_number(0, AtSequenceNumber, &numbers[3]).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["3", "4"])
}

async fn after_sequence_number_reads_the_next_record_first(peer: Peer) -> Outcome {
    let (stream, numbers) = five(&peer).await?;
    let iterator = stream.iterator_by_number(0, AfterSequenceNumber, &numbers[3]).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["4"])
}

async fn at_the_starting_number_of_a_shard_reads_all(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let shard = stream.shard(0).await?;
    let starting = present(shard.sequence_number_range(), "SequenceNumberRange")?.starting_sequence_number();
    let iterator = stream.iterator_by_number(0, AtSequenceNumber, starting).await?;
    equal("records", stream.read(&iterator).await?.texts().len(), 5)
}

/// A stream of one shard with two records, `a` and `b`, that arrived at these times: apart, but within one second, so
/// that times in whole seconds never tell them apart.
async fn apart(peer: &Peer) -> Result<(Stream, DateTime, DateTime), Failure> {
    for _ in 0..5 {
        let stream = Stream::create(peer, 1).await?;
        a_moment().await;
        stream.put("k", "a").await?;
        a_moment().await;
        stream.put("k", "b").await?;
        a_moment().await;
        let (first, second) = (stream.arrival(0, 0).await?, stream.arrival(0, 1).await?);
        if first.secs() == second.secs() {
            return Ok((stream, first, second));
        }
    }
    Err(Failure::new("no two records arrived within one second"))
}

/// Rounded: a time that was told as a fraction of seconds is off by a little.
fn millis(time: DateTime) -> i64 {
    time.secs() * 1000 + i64::from((time.subsec_nanos() + 500_000) / 1_000_000)
}

async fn at_timestamp_includes_a_record_of_that_millisecond(peer: Peer) -> Outcome {
    let (stream, _, second) = apart(&peer).await?;
    let iterator = stream.iterator_by_time(0, second).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["b"])
}

async fn at_timestamp_between_two_records_reads_the_second(peer: Peer) -> Outcome {
    let (stream, first, _) = apart(&peer).await?;
    let iterator = stream.iterator_by_time(0, DateTime::from_millis(millis(first) + 1)).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["b"])
}

async fn at_timestamp_before_all_records_reads_all(peer: Peer) -> Outcome {
    let (stream, _, _) = apart(&peer).await?;
    let iterator = stream.iterator_by_time(0, DateTime::from_secs(1)).await?;
    equal("records", stream.read(&iterator).await?.texts(), ["a", "b"])
}

async fn at_timestamp_after_all_records_reads_none(peer: Peer) -> Outcome {
    let (stream, _, second) = apart(&peer).await?;
    // Rounded up, so that a peer whose arrival times are whole seconds is asked for a later time, too.
    let later = millis(second) / 1000 * 1000 + 1000;
    sleep(Duration::from_millis(1100)).await;
    let iterator = stream.iterator_by_time(0, DateTime::from_millis(later)).await?;
    equal("records", stream.read(&iterator).await?.texts(), [""; 0])
}

async fn at_timestamp_in_the_future_is_refused(peer: Peer) -> Outcome {
    let (stream, _, second) = apart(&peer).await?;
    let call = stream.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard_id(0));
    let later = DateTime::from_secs(second.secs() + 3600);
    refused(call.shard_iterator_type(AtTimestamp).timestamp(later).send().await, "InvalidArgumentException")
}

async fn iterator_refused(peer: &Peer, kind: ShardIteratorType, code: &str) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    let call = stream.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard_id(0));
    refused(call.shard_iterator_type(kind).send().await, code)
}

async fn at_sequence_number_needs_a_number(peer: Peer) -> Outcome {
    iterator_refused(&peer, AtSequenceNumber, "InvalidArgumentException").await
}

async fn at_timestamp_type_needs_a_time(peer: Peer) -> Outcome {
    iterator_refused(&peer, AtTimestamp, "InvalidArgumentException").await
}

async fn an_iterator_has_one_of_five_types(peer: Peer) -> Outcome {
    iterator_refused(&peer, ShardIteratorType::from("AT_WHIM"), "ValidationException").await
}

async fn an_iterator_reads_the_same_twice(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let iterator = stream.iterator(0, TrimHorizon).await?;
    let first = stream.read(&iterator).await?.texts();
    equal("records", stream.read(&iterator).await?.texts(), first)
}

async fn next_iterators_read_each_record_once(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let mut iterator = stream.iterator(0, TrimHorizon).await?;
    let mut texts = Vec::new();
    for _ in 0..3 {
        let call = stream.kinesis.get_records().shard_iterator(&iterator).limit(2);
        let answer = call.send().await?;
        texts.extend(super::stream::texts(answer.records()));
        iterator = present(answer.next_shard_iterator, "NextShardIterator")?;
    }
    equal("records", texts, ["0", "1", "2", "3", "4"])
}

async fn an_iterator_at_the_tip_stays_usable(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let answer = stream.get(&stream.iterator(0, TrimHorizon).await?).await?;
    equal("records of an empty shard", answer.records().len(), 0)?;
    let next = present(answer.next_shard_iterator(), "NextShardIterator")?;
    stream.put("k", "x").await?;
    equal("records", stream.read(next).await?.texts(), ["x"])
}

async fn an_iterator_lives_for_299_seconds(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let iterator = stream.iterator(0, TrimHorizon).await?;
    sleep(Duration::from_secs(299)).await;
    equal("records", stream.get(&iterator).await?.records().len(), 5)
}

async fn an_iterator_expires_after_five_minutes(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let iterator = stream.iterator(0, TrimHorizon).await?;
    sleep(Duration::from_secs(301)).await;
    let late = stream.kinesis.get_records().shard_iterator(&iterator).send().await;
    refused(late, "ExpiredIteratorException")
}

async fn every_next_iterator_lives_for_five_minutes(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let mut iterator = stream.iterator(0, TrimHorizon).await?;
    for _ in 0..5 {
        sleep(Duration::from_secs(200)).await;
        iterator = present(stream.get(&iterator).await?.next_shard_iterator, "NextShardIterator")?;
    }
    Ok(())
}

async fn an_iterator_that_is_none_is_refused(peer: Peer) -> Outcome {
    refused(peer.kinesis().get_records().shard_iterator("none").send().await, "InvalidArgumentException")
}

async fn records_come_from_their_shard_only(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    stream.put_to("0", "lower").await?;
    stream.put_to(HALF, "upper").await?;
    equal("lower shard", stream.read_all(0).await?.texts(), ["lower"])?;
    equal("upper shard", stream.read_all(1).await?.texts(), ["upper"])
}

/// The answer to a request for so many of five records.
async fn get_with_limit(
    peer: &Peer,
    limit: i32,
) -> Result<Result<GetRecordsOutput, SdkError<GetRecordsError>>, Failure> {
    let (stream, _) = five(peer).await?;
    let iterator = stream.iterator(0, TrimHorizon).await?;
    Ok(stream.kinesis.get_records().shard_iterator(iterator).limit(limit).send().await)
}

async fn a_limit_of_records_is_kept(peer: Peer) -> Outcome {
    equal("records", get_with_limit(&peer, 2).await??.records().len(), 2)
}

async fn a_limit_of_10000_is_accepted(peer: Peer) -> Outcome {
    equal("records", get_with_limit(&peer, 10_000).await??.records().len(), 5)
}

async fn a_limit_above_10000_is_refused(peer: Peer) -> Outcome {
    refused(get_with_limit(&peer, 10_001).await?, "InvalidArgumentException")
}

async fn a_limit_of_no_records_is_refused(peer: Peer) -> Outcome {
    refused(get_with_limit(&peer, 0).await?, "ValidationException")
}

async fn an_answer_has_10000_records_at_most(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    for _ in 0..21 {
        stream.put_all(vec![entry("k", "x"); 500]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    let answer = stream.get(&stream.iterator(0, TrimHorizon).await?).await?;
    equal("records", answer.records().len(), 10_000)
}

async fn an_answer_has_10_mib_at_most(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    for _ in 0..12 {
        stream.fill(vec![7; 1_000_000]).await?;
    }
    let answer = stream.get(&stream.iterator(0, TrimHorizon).await?).await?;
    let bytes: usize = answer.records().iter().map(|record| record.data().as_ref().len()).sum();
    holds((1_000_000..=10 << 20).contains(&bytes), format!("{bytes} bytes are at most 10 MiB"))
}

async fn an_answer_at_the_tip_is_0_milliseconds_behind(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    equal("MillisBehindLatest", stream.read_all(0).await?.last.millis_behind_latest(), Some(0))
}

async fn an_answer_before_the_tip_tells_how_far_behind_it_is(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "a").await?;
    stream.put("k", "b").await?;
    let put = Instant::now();
    sleep(Duration::from_secs(2)).await;
    let iterator = stream.iterator(0, TrimHorizon).await?;
    let least = put.elapsed().as_millis();
    let answer = stream.kinesis.get_records().shard_iterator(iterator).limit(1).send().await?;
    let behind = u128::try_from(present(answer.millis_behind_latest(), "MillisBehindLatest")?).unwrap_or_default();
    holds((least..60_000).contains(&behind), format!("{behind} is the age of a record, {least} milliseconds at least"))
}

async fn arrival_times_have_milliseconds(peer: Peer) -> Outcome {
    let (_, first, second) = apart(&peer).await?;
    holds(first.subsec_nanos() != 0 || second.subsec_nanos() != 0, format!("{first:?} or {second:?} is no full second"))
}

async fn arrival_times_never_decrease(peer: Peer) -> Outcome {
    let (stream, _) = five(&peer).await?;
    let reading = stream.read_all(0).await?;
    let times: Vec<_> = reading.records.iter().filter_map(|record| record.approximate_arrival_timestamp()).collect();
    equal("times", times.len(), 5)?;
    holds(times.is_sorted(), format!("{times:?} are in order"))
}
