//! Checks of the limits on throughput and calls, for peers that enforce them.

use std::time::Duration;

use aws_sdk_kinesis::operation::create_stream::CreateStreamError;
use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::operation::put_record::PutRecordError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use tokio::time::sleep;

use super::check::{api, checks, guide};
use super::expect::{Outcome, equal, holds, present, refused_as};
use super::peer::{Peer, unique};
use super::stream::{HALF, Stream, entry, entry_to};

const QUOTAS: &str = guide!("streams/latest/dev/service-sizes-and-limits");

const KIB: usize = 1 << 10;

checks! {
    Limits a_shard_takes_1000_records_a_second: QUOTAS;
    Limits a_shard_takes_1_mib_a_second: QUOTAS;
    Limits a_shard_that_is_busy_refuses_a_single_record: api!("PutRecord");
    Limits entries_above_the_limit_fail_one_by_one: api!("PutRecords");
    Limits an_entry_that_failed_has_no_number: api!("PutRecordsResultEntry");
    Limits an_entry_that_failed_is_not_stored: api!("PutRecords");
    Limits a_busy_shard_does_not_disturb_another: QUOTAS;
    Limits a_shard_takes_records_again_after_a_second: QUOTAS;
    Limits a_shard_is_read_5_times_a_second: api!("GetRecords");
    Limits a_shard_is_read_with_2_mib_a_second: api!("GetRecords");
    Limits streams_are_created_5_times_a_second: api!("CreateStream");
}

/// A stream on the peer with limits.
async fn limited(peer: &Peer, shards: i32) -> Result<Stream, super::Failure> {
    Stream::create(&peer.limited()?, shards).await
}

/// Puts this much into a shard, 500 records at a time, and tells how many entries failed.
async fn put(stream: &Stream, requests: usize, entries: usize, bytes: usize) -> Result<i32, super::Failure> {
    let mut failed = 0;
    for _ in 0..requests {
        let put = stream.put_all(vec![entry_to("0", vec![7; bytes]); entries]).await?;
        failed += put.failed_record_count().unwrap_or_default();
    }
    Ok(failed)
}

async fn a_shard_takes_1000_records_a_second(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    equal("failed entries of 1000", put(&stream, 2, 500, 1).await?, 0)?;
    equal("failed entries of 100 more", put(&stream, 1, 100, 1).await?, 100)
}

async fn a_shard_takes_1_mib_a_second(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    equal("failed entries of 900 KiB", put(&stream, 1, 9, 100 * KIB).await?, 0)?;
    equal("failed entries of 800 KiB more", put(&stream, 1, 8, 100 * KIB).await?, 7)
}

async fn a_shard_that_is_busy_refuses_a_single_record(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    put(&stream, 3, 500, 1).await?;
    let more = stream.kinesis.put_record().stream_name(&stream.name).partition_key("k").data(Blob::new("x")).send();
    refused_as(more.await, PutRecordError::is_provisioned_throughput_exceeded_exception)
}

async fn entries_above_the_limit_fail_one_by_one(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    put(&stream, 1, 400, 1).await?;
    put(&stream, 1, 400, 1).await?;
    let put = stream.put_all(vec![entry("k", "x"); 400]).await?;
    let failed: Vec<_> = put.records().iter().map(|result| result.error_code()).collect();
    let (stored, refused) = failed.split_at(200);
    holds(stored.iter().all(Option::is_none), "the first 200 entries are stored")?;
    let code = Some("ProvisionedThroughputExceededException");
    holds(refused.iter().all(|found| *found == code), format!("the other 200 entries failed with {code:?}"))
}

async fn an_entry_that_failed_has_no_number(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    put(&stream, 2, 500, 1).await?;
    let put = stream.put_all(vec![entry("k", "x")]).await?;
    let result = present(put.records().first(), "result")?;
    present(result.error_code(), "ErrorCode")?;
    present(result.error_message(), "ErrorMessage")?;
    equal("number and shard", (result.sequence_number(), result.shard_id()), (None, None))
}

async fn an_entry_that_failed_is_not_stored(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    let failed = put(&stream, 3, 500, 1).await?;
    equal("failed entries", failed, 500)?;
    equal("records", stream.read_all(0).await?.records.len(), 1000)
}

async fn a_busy_shard_does_not_disturb_another(peer: Peer) -> Outcome {
    let stream = limited(&peer, 2).await?;
    put(&stream, 3, 500, 1).await?;
    let put = stream.put_all(vec![entry_to("0", "x"), entry_to(HALF, "y")]).await?;
    let failed: Vec<_> = put.records().iter().map(|result| result.error_code().is_some()).collect();
    equal("entries that failed", failed, [true, false])
}

async fn a_shard_takes_records_again_after_a_second(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    put(&stream, 3, 500, 1).await?;
    sleep(Duration::from_millis(1100)).await;
    equal("failed entries", put(&stream, 2, 500, 1).await?, 0)
}

async fn a_shard_is_read_5_times_a_second(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    let iterator = stream.iterator(0, ShardIteratorType::Latest).await?;
    let read = || stream.kinesis.get_records().shard_iterator(&iterator).send();
    for _ in 0..5 {
        read().await?;
    }
    refused_as(read().await, GetRecordsError::is_provisioned_throughput_exceeded_exception)
}

async fn a_shard_is_read_with_2_mib_a_second(peer: Peer) -> Outcome {
    let stream = limited(&peer, 1).await?;
    for _ in 0..3 {
        stream.fill(vec![7; 1000 * KIB]).await?;
    }
    sleep(Duration::from_millis(1100)).await;
    let iterator = stream.iterator(0, ShardIteratorType::TrimHorizon).await?;
    let read = || stream.kinesis.get_records().shard_iterator(&iterator).send();
    equal("records", read().await?.records().len(), 3)?;
    refused_as(read().await, GetRecordsError::is_provisioned_throughput_exceeded_exception)
}

async fn streams_are_created_5_times_a_second(peer: Peer) -> Outcome {
    let kinesis = peer.limited()?.kinesis().clone();
    let create = || kinesis.create_stream().stream_name(unique("stream")).shard_count(1).send();
    for _ in 0..5 {
        create().await?;
    }
    refused_as(create().await, CreateStreamError::is_limit_exceeded_exception)
}
