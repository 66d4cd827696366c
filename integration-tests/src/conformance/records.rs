//! Checks of PutRecord and PutRecords: where records go, their numbers, their limits.

use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use super::check::{api, checks};
use super::expect::{Failure, Outcome, equal, holds, present, refused, refused_with};
use super::peer::Peer;
use super::stream::{BELOW_HALF, HALF, LAST, Number, Stream, entry, entry_to, number, shard_id};

const MIB: usize = 1 << 20;

const REQUEST_LIMIT: &str = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html: \"up to a limit \
    of 10 MiB for the entire request, including partition keys\"";

const RECORD_LIMIT: &str = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateMaxRecordSize.html";

checks! {
    Kinesis a_record_is_stored_with_key_and_data: api!("PutRecord");
    Kinesis a_put_tells_shard_and_number: api!("PutRecord");
    Kinesis data_of_any_bytes_is_kept: api!("PutRecord");
    Kinesis data_may_be_empty: api!("PutRecord");
    Kinesis the_md5_of_a_partition_key_chooses_the_shard: api!("PutRecord");
    Kinesis an_explicit_hash_key_chooses_the_shard: api!("PutRecord");
    Kinesis the_ends_of_ranges_belong_to_their_shards: api!("HashKeyRange");
    Kinesis an_explicit_hash_key_is_below_2_to_the_128: api!("PutRecord");
    Kinesis an_explicit_hash_key_is_a_decimal_number: api!("PutRecord");
    Kinesis a_partition_key_is_not_empty: api!("PutRecord");
    Kinesis a_partition_key_has_256_characters_at_most: api!("PutRecord");
    Kinesis a_partition_key_is_counted_in_characters: api!("PutRecord");
    Kinesis numbers_of_a_shard_grow: api!("PutRecord");
    Kinesis numbers_of_one_request_grow_in_its_order: api!("PutRecords");
    Kinesis results_are_in_the_order_of_the_entries: api!("PutRecords");
    Kinesis entries_choose_shards_by_explicit_hash_keys: api!("PutRecordsRequestEntry");
    Kinesis a_request_of_500_records_is_accepted: api!("PutRecords");
    Kinesis a_request_of_501_records_is_refused: api!("PutRecords");
    Kinesis a_request_of_no_records_is_refused: api!("PutRecords");
    Kinesis an_entry_with_an_empty_key_fails_the_request: api!("PutRecordsRequestEntry");
    IdleKinesis a_record_of_1_mib_with_its_key_is_accepted: RECORD_LIMIT;
    IdleKinesis a_record_above_1_mib_is_refused: RECORD_LIMIT;
    IdleKinesis the_key_counts_to_the_size_of_a_record: api!("PutRecordsRequestEntry");
    IdleKinesis an_entry_that_is_too_large_fails_the_request: api!("PutRecords");
    IdleKinesis a_request_above_5_mib_is_accepted: REQUEST_LIMIT;
    IdleKinesis a_request_above_10_mib_is_refused: REQUEST_LIMIT;
    IdleKinesis a_larger_record_size_takes_effect: RECORD_LIMIT;
    Kinesis a_record_size_above_10240_kib_is_refused: RECORD_LIMIT;
    Kinesis a_record_size_below_1024_kib_is_refused: RECORD_LIMIT;
}

async fn a_record_is_stored_with_key_and_data(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("a key", "some data").await?;
    let reading = stream.read_all(0).await?;
    let record = present(reading.records.first(), "record")?;
    equal("key and data", (record.partition_key(), record.data().as_ref()), (Some("a key"), b"some data".as_slice()))
}

async fn a_put_tells_shard_and_number(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let put = stream.put("k", "x").await?;
    let reading = stream.read_all(0).await?;
    let record = present(reading.records.first(), "record")?;
    equal("shard", put.shard_id(), shard_id(0))?;
    equal("sequence number", put.sequence_number(), record.sequence_number())
}

async fn data_of_any_bytes_is_kept(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let data: Vec<u8> = (0..=255).collect();
    stream.put("k", data.clone()).await?;
    let reading = stream.read_all(0).await?;
    equal("data", reading.records.first().map(|record| record.data().as_ref()), Some(data.as_slice()))
}

async fn data_may_be_empty(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "").await?;
    equal("records", stream.read_all(0).await?.texts(), [""])
}

async fn the_md5_of_a_partition_key_chooses_the_shard(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    // MD5: 0cc175b9.. and 92eb5ffe..
    equal("shard of \"a\"", stream.put("a", "x").await?.shard_id(), shard_id(0))?;
    equal("shard of \"b\"", stream.put("b", "x").await?.shard_id(), shard_id(1))
}

async fn an_explicit_hash_key_chooses_the_shard(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    equal("shard of 0", stream.put_to("0", "x").await?.shard_id(), shard_id(0))?;
    equal("shard of the last hash key", stream.put_to(LAST, "x").await?.shard_id(), shard_id(1))
}

async fn the_ends_of_ranges_belong_to_their_shards(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    equal("shard below the half", stream.put_to(BELOW_HALF, "x").await?.shard_id(), shard_id(0))?;
    equal("shard at the half", stream.put_to(HALF, "x").await?.shard_id(), shard_id(1))
}

async fn hash_key_refused(peer: &Peer, hash_key: &str, code: &str) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    let put = stream.kinesis.put_record().stream_name(&stream.name).partition_key("k").data(Blob::new("x"));
    refused(put.explicit_hash_key(hash_key).send().await, code)
}

async fn an_explicit_hash_key_is_below_2_to_the_128(peer: Peer) -> Outcome {
    hash_key_refused(&peer, "340282366920938463463374607431768211456", "InvalidArgumentException").await
}

async fn an_explicit_hash_key_is_a_decimal_number(peer: Peer) -> Outcome {
    hash_key_refused(&peer, "0x10", "ValidationException").await
}

async fn key_refused(peer: &Peer, key: &str) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    let put = stream.kinesis.put_record().stream_name(&stream.name).partition_key(key).data(Blob::new("x"));
    refused(put.send().await, "ValidationException")
}

async fn a_partition_key_is_not_empty(peer: Peer) -> Outcome {
    key_refused(&peer, "").await
}

async fn a_partition_key_has_256_characters_at_most(peer: Peer) -> Outcome {
    Stream::create(&peer, 1).await?.put(&"k".repeat(256), "x").await?;
    key_refused(&peer, &"k".repeat(257)).await
}

async fn a_partition_key_is_counted_in_characters(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let key = "ü".repeat(256);
    stream.put(&key, "x").await?;
    let reading = stream.read_all(0).await?;
    equal("key", reading.records.first().and_then(|record| record.partition_key()), Some(key.as_str()))
}

async fn numbers_of_a_shard_grow(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let mut last = number("0")?;
    for _ in 0..10 {
        let next = number(stream.put("k", "x").await?.sequence_number())?;
        holds(next > last, format!("{next:?} after {last:?}"))?;
        last = next;
    }
    Ok(())
}

/// Numbers of the results, in their order.
fn numbers(put: &PutRecordsOutput) -> Result<Vec<Number>, Failure> {
    put.records().iter().map(|result| number(present(result.sequence_number(), "SequenceNumber")?)).collect()
}

async fn numbers_of_one_request_grow_in_its_order(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let put = stream.put_all((0..100).map(|n| entry("k", format!("{n}"))).collect()).await?;
    let numbers = numbers(&put)?;
    equal("results", numbers.len(), 100)?;
    holds(numbers.is_sorted_by(|a, b| a < b), "numbers grow")
}

async fn results_are_in_the_order_of_the_entries(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let put = stream.put_all((0..20).map(|n| entry("k", format!("{n}"))).collect()).await?;
    let reading = stream.read_all(0).await?;
    let told: Vec<_> = put.records().iter().filter_map(|result| result.sequence_number()).collect();
    let read: Vec<_> = reading.records.iter().map(|record| record.sequence_number()).collect();
    equal("numbers", told, read)?;
    equal("data", reading.texts(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>())
}

async fn entries_choose_shards_by_explicit_hash_keys(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    let put = stream.put_all(vec![entry_to(HALF, "x"), entry_to(BELOW_HALF, "y")]).await?;
    let shards: Vec<_> = put.records().iter().filter_map(|result| result.shard_id()).collect();
    equal("shards", shards, [shard_id(1), shard_id(0)])
}

async fn a_request_of_500_records_is_accepted(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let put = stream.put_all(vec![entry("k", "x"); 500]).await?;
    equal("failed and results", (put.failed_record_count(), put.records().len()), (Some(0), 500))
}

async fn request_refused(peer: &Peer, entries: Vec<PutRecordsRequestEntry>, codes: &[&str]) -> Outcome {
    let stream = Stream::create(peer, 2).await?;
    let put = stream.kinesis.put_records().stream_name(&stream.name).set_records(Some(entries)).send().await;
    refused_with(put, codes)?;
    equal("records stored", (stream.read_all(0).await?.texts(), stream.read_all(1).await?.texts()), (vec![], vec![]))
}

async fn a_request_of_501_records_is_refused(peer: Peer) -> Outcome {
    request_refused(&peer, vec![entry("k", "x"); 501], &["ValidationException"]).await
}

async fn a_request_of_no_records_is_refused(peer: Peer) -> Outcome {
    request_refused(&peer, Vec::new(), &["ValidationException"]).await
}

async fn an_entry_with_an_empty_key_fails_the_request(peer: Peer) -> Outcome {
    request_refused(&peer, vec![entry("k", "x"), entry("", "x")], &["ValidationException"]).await
}

async fn a_record_of_1_mib_with_its_key_is_accepted(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("key", vec![7; MIB - 3]).await?;
    let reading = stream.read_all(0).await?;
    equal("bytes read", reading.records.first().map(|record| record.data().as_ref().len()), Some(MIB - 3))
}

/// Either code: the limit of the field, or that of the stream.
const TOO_LARGE: [&str; 2] = ["ValidationException", "InvalidArgumentException"];

async fn a_record_above_1_mib_is_refused(peer: Peer) -> Outcome {
    request_refused(&peer, vec![entry("k", vec![7; MIB + 1])], &TOO_LARGE).await
}

async fn the_key_counts_to_the_size_of_a_record(peer: Peer) -> Outcome {
    request_refused(&peer, vec![entry("key", vec![7; MIB - 2])], &TOO_LARGE).await
}

async fn an_entry_that_is_too_large_fails_the_request(peer: Peer) -> Outcome {
    request_refused(&peer, vec![entry("a", "x"), entry("b", vec![7; MIB + 1])], &TOO_LARGE).await
}

/// A request of so many records of just under 1 MiB, each for a shard of its own of 16.
fn large_request(records: usize) -> Vec<PutRecordsRequestEntry> {
    let hash_key = |n: usize| (u128::MAX / 16 * n as u128 + 16).to_string();
    (0..records).map(|n| entry_to(&hash_key(n), vec![7; MIB - 100])).collect()
}

async fn a_request_above_5_mib_is_accepted(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 16).await?;
    let put = stream.put_all(large_request(10)).await?;
    equal("failed and results", (put.failed_record_count(), put.records().len()), (Some(0), 10))
}

async fn a_request_above_10_mib_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 16).await?;
    let put = stream.kinesis.put_records().stream_name(&stream.name).set_records(Some(large_request(11)));
    refused(put.send().await, "InvalidArgumentException")
}

async fn a_larger_record_size_takes_effect(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.kinesis.update_max_record_size().stream_arn(&stream.arn).max_record_size_in_kib(3072).send().await?;
    stream.active().await?;
    equal("MaxRecordSizeInKiB", stream.summary().await?.max_record_size_in_kib(), Some(3072))?;
    stream.put("k", vec![7; 3 * MIB - 1]).await?;
    let reading = stream.read_all(0).await?;
    equal("bytes read", reading.records.first().map(|record| record.data().as_ref().len()), Some(3 * MIB - 1))
}

async fn record_size_refused(peer: &Peer, kib: i32) -> Outcome {
    let stream = Stream::create(peer, 1).await?;
    let update = stream.kinesis.update_max_record_size().stream_arn(&stream.arn).max_record_size_in_kib(kib);
    refused(update.send().await, "ValidationException")
}

async fn a_record_size_above_10240_kib_is_refused(peer: Peer) -> Outcome {
    record_size_refused(&peer, 10_241).await
}

async fn a_record_size_below_1024_kib_is_refused(peer: Peer) -> Outcome {
    record_size_refused(&peer, 1023).await
}
