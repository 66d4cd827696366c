//! Putting and getting records: limits, positions, order, lag, expiry.

use std::time::Duration;

use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use tokio::time::sleep;

use super::{code, data, get, iterator, kinesis, message, put, shard};

const MIB: usize = 1 << 20;

fn entry(key: impl Into<String>, bytes: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(vec![7; bytes])).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn put_records_is_taken_up_to_its_limits_and_refused_beyond() {
    let kinesis = kinesis(1).await;
    let put = async |entries: Vec<PutRecordsRequestEntry>| match kinesis
        .put_records()
        .stream_name("s")
        .set_records(Some(entries))
        .send()
        .await
    {
        Ok(answer) => format!("{} stored, {} failed", answer.records().len(), answer.failed_record_count().unwrap()),
        Err(error) => error.code().unwrap().to_owned(),
    };
    let many = |n: usize| vec![entry("k", 1); n];
    // Ten records with one byte of key each, together of that size.
    let heavy = |bytes: usize| {
        let mut entries = vec![entry("k", MIB - 1); 9];
        entries.push(entry("k", bytes - 9 * MIB - 1));
        entries
    };

    for (what, entries, expected) in [
        ("500 records", many(500), "500 stored, 0 failed"),
        ("501 records", many(501), "ValidationException"),
        ("no records", vec![], "ValidationException"),
        ("a record of 1 MiB with its key", vec![entry("key", MIB - 3)], "1 stored, 0 failed"),
        ("a record of 1 MiB and 1 byte", vec![entry("key", MIB - 2)], "InvalidArgumentException"),
        ("a request of 10 MiB", heavy(10 * MIB), "10 stored, 0 failed"),
        ("a request of 10 MiB and 1 byte", [heavy(10 * MIB), many(1)].concat(), "InvalidArgumentException"),
        ("an empty record", vec![entry("k", 0)], "1 stored, 0 failed"),
        ("a key of 256 characters", vec![entry("ü".repeat(256), 1)], "1 stored, 0 failed"),
        ("a key of 257 characters", vec![entry("k".repeat(257), 1)], "ValidationException"),
        ("an empty key", vec![entry("", 1)], "ValidationException"),
    ] {
        assert_eq!(put(entries).await, expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn put_record_has_the_same_limits() {
    let kinesis = kinesis(1).await;
    let put = async |key: &str, bytes: usize| {
        kinesis.put_record().stream_name("s").partition_key(key).data(Blob::new(vec![7; bytes])).send().await
    };

    put("key", MIB - 3).await.unwrap();
    assert!(put("key", MIB - 2).await.unwrap_err().into_service_error().is_invalid_argument_exception());
    assert_eq!(code(put("", 1).await), "ValidationException");
    assert_eq!(
        message(put(&"k".repeat(257), 1).await),
        format!(
            "1 validation error detected: Value '{}' at 'partitionKey' failed to satisfy constraint: Member must have \
             length less than or equal to 256",
            "k".repeat(257)
        )
    );
}

#[tokio::test(start_paused = true)]
async fn the_record_limit_of_a_stream_can_be_raised() {
    let kinesis = kinesis(1).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let put = async |bytes: usize| {
        kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new(vec![7; bytes])).send().await
    };
    assert_eq!(code(put(2 * MIB - 1).await), "InvalidArgumentException");

    kinesis.update_max_record_size().stream_arn(arn).max_record_size_in_kib(2048).send().await.unwrap();

    put(2 * MIB - 1).await.unwrap();
    assert_eq!(code(put(2 * MIB).await), "InvalidArgumentException");
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary().unwrap().max_record_size_in_kib(), Some(2048));
}

#[tokio::test(start_paused = true)]
async fn an_explicit_hash_key_decides_the_shard() {
    let kinesis = kinesis(2).await;
    let put = async |hash_key: &str| {
        let request = kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
        request.explicit_hash_key(hash_key).send().await
    };

    for (hash_key, shard_id) in [
        ("0", shard(0)),
        ("170141183460469231731687303715884105727", shard(0)),
        ("170141183460469231731687303715884105728", shard(1)),
        ("340282366920938463463374607431768211455", shard(1)),
    ] {
        assert_eq!(put(hash_key).await.unwrap().shard_id(), shard_id, "{hash_key}");
    }
    assert_eq!(code(put("340282366920938463463374607431768211456").await), "InvalidArgumentException");
    for malformed in ["", "-1", "01", "x"] {
        assert_eq!(code(put(malformed).await), "ValidationException", "{malformed}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_come_back_in_order_as_they_were_put() {
    let kinesis = kinesis(1).await;
    let first = put(&kinesis, "a", "1").await;
    let second = put(&kinesis, "b", "2").await;
    assert_eq!(first.sequence_number().len(), 56);
    assert!(first.sequence_number() < second.sequence_number());

    let answer = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;

    assert_eq!(data(&answer), ["1", "2"]);
    let record = &answer.records()[1];
    assert_eq!((record.partition_key(), record.sequence_number()), (Some("b"), second.sequence_number()));
    assert_eq!(answer.millis_behind_latest(), Some(0));
    assert!(answer.next_shard_iterator().is_some() && answer.child_shards.is_none());
}

#[tokio::test(start_paused = true)]
async fn every_iterator_type_finds_its_place() {
    let kinesis = kinesis(1).await;
    put(&kinesis, "k", "1").await;
    let second = put(&kinesis, "k", "2").await;
    let latest = iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await;
    put(&kinesis, "k", "3").await;
    let at = async |iterator_type: ShardIteratorType| {
        let request = kinesis.get_shard_iterator().stream_name("s").shard_id(shard(0));
        let request = request.shard_iterator_type(iterator_type).starting_sequence_number(second.sequence_number());
        request.send().await.unwrap().shard_iterator.unwrap()
    };

    for (what, iterator, expected) in [
        ("TRIM_HORIZON", iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await, vec!["1", "2", "3"]),
        ("LATEST before", latest, vec!["3"]),
        ("LATEST after", iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await, vec![]),
        ("AT_SEQUENCE_NUMBER", at(ShardIteratorType::AtSequenceNumber).await, vec!["2", "3"]),
        ("AFTER_SEQUENCE_NUMBER", at(ShardIteratorType::AfterSequenceNumber).await, vec!["3"]),
    ] {
        assert_eq!(data(&get(&kinesis, &iterator).await), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn iterators_are_refused_when_they_make_no_sense() {
    let kinesis = kinesis(2).await;
    let number = put(&kinesis, "k", "x").await;
    let other = if number.shard_id() == shard(0) { shard(1) } else { shard(0) };
    let request = |shard_id: &str, iterator_type| {
        kinesis.get_shard_iterator().stream_name("s").shard_id(shard_id).shard_iterator_type(iterator_type)
    };
    let at = |shard_id: &str, number: &str| {
        request(shard_id, ShardIteratorType::AtSequenceNumber).starting_sequence_number(number).send()
    };

    assert_eq!(code(at(&other, number.sequence_number()).await), "InvalidArgumentException", "of another shard");
    assert_eq!(code(at(&other, "12345").await), "InvalidArgumentException", "of no shard");
    assert_eq!(code(at(&other, "latest").await), "ValidationException", "no number");
    assert_eq!(code(request(&other, ShardIteratorType::AtSequenceNumber).send().await), "InvalidArgumentException");
    assert_eq!(code(request(&other, ShardIteratorType::AtTimestamp).send().await), "InvalidArgumentException");
    assert_eq!(code(request(&other, "SOMEWHERE".into()).send().await), "ValidationException");
    assert_eq!(code(request(&shard(9), ShardIteratorType::Latest).send().await), "ResourceNotFoundException");
    assert_eq!(code(request("first", ShardIteratorType::Latest).send().await), "ResourceNotFoundException");
    let extra = request(&other, ShardIteratorType::Latest).starting_sequence_number(number.sequence_number());
    assert_eq!(code(extra.send().await), "InvalidArgumentException");
    let garbage = kinesis.get_records().shard_iterator("garbage").send().await;
    assert!(garbage.unwrap_err().into_service_error().is_invalid_argument_exception());
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_finds_its_place_to_the_millisecond() {
    let kinesis = kinesis(1).await;
    sleep(Duration::from_millis(1000)).await;
    for n in 0..5 {
        put(&kinesis, "k", &n.to_string()).await;
        sleep(Duration::from_millis(1)).await;
    }
    let all = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
    let arrivals: Vec<_> =
        all.records().iter().map(|r| r.approximate_arrival_timestamp().unwrap().to_millis().unwrap()).collect();
    assert!(arrivals.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{arrivals:?}");
    let from = async |time: DateTime| {
        let request = kinesis.get_shard_iterator().stream_name("s").shard_id(shard(0));
        request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(time).send().await
    };

    for (n, arrival) in arrivals.iter().enumerate() {
        for time in [DateTime::from_millis(*arrival), *all.records()[n].approximate_arrival_timestamp().unwrap()] {
            let answer = get(&kinesis, &from(time).await.unwrap().shard_iterator.unwrap()).await;
            assert_eq!(answer.records(), &all.records()[n..], "{time:?}");
        }
    }
    let before_the_stream = DateTime::from_secs(1);
    let answer = get(&kinesis, &from(before_the_stream).await.unwrap().shard_iterator.unwrap()).await;
    assert_eq!(answer.records().len(), 5);

    let now = DateTime::from_millis(arrivals[4] + 1);
    let answer = get(&kinesis, &from(now).await.unwrap().shard_iterator.unwrap()).await;
    assert!(answer.records().is_empty());
    let future = DateTime::from_millis(arrivals[4] + 2);
    assert!(from(future).await.unwrap_err().into_service_error().is_invalid_argument_exception());
}

#[tokio::test(start_paused = true)]
async fn an_iterator_expires_after_five_minutes() {
    let kinesis = kinesis(1).await;
    put(&kinesis, "k", "x").await;
    let iterator = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;

    sleep(Duration::from_millis(300_000)).await;
    assert_eq!(data(&get(&kinesis, &iterator).await), ["x"]);

    sleep(Duration::from_millis(1)).await;
    let late = kinesis.get_records().shard_iterator(&iterator).send().await.unwrap_err();
    assert!(late.into_service_error().is_expired_iterator_exception());
}

#[tokio::test(start_paused = true)]
async fn get_records_counts_up_to_its_limit() {
    let kinesis = kinesis(1).await;
    for n in 0..3 {
        put(&kinesis, "k", &n.to_string()).await;
    }
    let iterator = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
    let get = async |limit: i32| kinesis.get_records().shard_iterator(&iterator).limit(limit).send().await;

    assert_eq!(data(&get(1).await.unwrap()), ["0"]);
    assert_eq!(data(&get(10_000).await.unwrap()), ["0", "1", "2"]);
    assert_eq!(code(get(0).await), "ValidationException");
    assert_eq!(code(get(10_001).await), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn lag_is_real() {
    let kinesis = kinesis(1).await;
    for n in 0..3 {
        put(&kinesis, "k", &n.to_string()).await;
        sleep(Duration::from_secs(10)).await;
    }
    let mut next = iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;

    let mut lags = Vec::new();
    for _ in 0..4 {
        let answer = kinesis.get_records().shard_iterator(next).limit(1).send().await.unwrap();
        lags.push(answer.millis_behind_latest().unwrap());
        next = answer.next_shard_iterator.unwrap();
    }

    assert_eq!(lags, [30_000, 20_000, 0, 0]);
}
