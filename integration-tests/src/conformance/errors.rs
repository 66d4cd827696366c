//! Checks of refusals: what is not there, and what is in use, by the types that clients know.

use aws_sdk_kinesis::operation::{
    decrease_stream_retention_period::DecreaseStreamRetentionPeriodError, delete_stream::DeleteStreamError,
    describe_stream::DescribeStreamError, describe_stream_summary::DescribeStreamSummaryError,
    get_records::GetRecordsError, get_shard_iterator::GetShardIteratorError, list_shards::ListShardsError,
    merge_shards::MergeShardsError, put_record::PutRecordError, put_records::PutRecordsError,
    split_shard::SplitShardError, update_shard_count::UpdateShardCountError,
};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ScalingType, ShardIteratorType};

use super::check::{api, checks};
use super::expect::{Failure, Outcome, holds, refused, refused_as};
use super::peer::{Peer, unique};
use super::stream::{HALF, Stream, entry, shard_id};

checks! {
    Kinesis describing_a_missing_stream: api!("DescribeStream");
    Kinesis summarizing_a_missing_stream: api!("DescribeStreamSummary");
    Kinesis deleting_a_missing_stream: api!("DeleteStream");
    Kinesis listing_shards_of_a_missing_stream: api!("ListShards");
    Kinesis putting_a_record_to_a_missing_stream: api!("PutRecord");
    Kinesis putting_records_to_a_missing_stream: api!("PutRecords");
    Kinesis an_iterator_of_a_missing_stream: api!("GetShardIterator");
    Kinesis an_iterator_of_a_missing_shard: api!("GetShardIterator");
    Kinesis splitting_a_shard_of_a_missing_stream: api!("SplitShard");
    Kinesis splitting_a_missing_shard: api!("SplitShard");
    Kinesis merging_shards_of_a_missing_stream: api!("MergeShards");
    Kinesis merging_a_missing_shard: api!("MergeShards");
    Kinesis scaling_a_missing_stream: api!("UpdateShardCount");
    Kinesis changing_retention_of_a_missing_stream: api!("DecreaseStreamRetentionPeriod");
    Kinesis reading_a_deleted_stream: api!("GetRecords");
    Kinesis a_missing_stream_is_named: api!("CommonErrors");
    Kinesis an_iterator_needs_a_shard_id: api!("GetShardIterator");
    Kinesis a_record_needs_a_partition_key: api!("PutRecord");
}

async fn describing_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().describe_stream().stream_name(unique("missing"));
    refused_as(call.send().await, DescribeStreamError::is_resource_not_found_exception)
}

async fn summarizing_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().describe_stream_summary().stream_name(unique("missing"));
    refused_as(call.send().await, DescribeStreamSummaryError::is_resource_not_found_exception)
}

async fn deleting_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().delete_stream().stream_name(unique("missing"));
    refused_as(call.send().await, DeleteStreamError::is_resource_not_found_exception)
}

async fn listing_shards_of_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().list_shards().stream_name(unique("missing"));
    refused_as(call.send().await, ListShardsError::is_resource_not_found_exception)
}

async fn putting_a_record_to_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().put_record().stream_name(unique("missing")).partition_key("k").data(Blob::new("x"));
    refused_as(call.send().await, PutRecordError::is_resource_not_found_exception)
}

async fn putting_records_to_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().put_records().stream_name(unique("missing")).records(entry("k", "x"));
    refused_as(call.send().await, PutRecordsError::is_resource_not_found_exception)
}

async fn an_iterator_of_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().get_shard_iterator().stream_name(unique("missing")).shard_id(shard_id(0));
    let call = call.shard_iterator_type(ShardIteratorType::Latest);
    refused_as(call.send().await, GetShardIteratorError::is_resource_not_found_exception)
}

async fn an_iterator_of_a_missing_shard(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let call = stream.kinesis.get_shard_iterator().stream_name(&stream.name).shard_id(shard_id(1));
    let call = call.shard_iterator_type(ShardIteratorType::Latest);
    refused_as(call.send().await, GetShardIteratorError::is_resource_not_found_exception)
}

async fn split(peer: &Peer, name: &str, n: usize) -> Outcome {
    let call = peer.kinesis().split_shard().stream_name(name).shard_to_split(shard_id(n)).new_starting_hash_key(HALF);
    refused_as(call.send().await, SplitShardError::is_resource_not_found_exception)
}

async fn splitting_a_shard_of_a_missing_stream(peer: Peer) -> Outcome {
    split(&peer, &unique("missing"), 0).await
}

async fn splitting_a_missing_shard(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    split(&peer, &stream.name, 1).await
}

async fn merge(peer: &Peer, name: &str) -> Outcome {
    let call = peer.kinesis().merge_shards().stream_name(name).shard_to_merge(shard_id(0));
    let answer = call.adjacent_shard_to_merge(shard_id(1)).send().await;
    refused_as(answer, MergeShardsError::is_resource_not_found_exception)
}

async fn merging_shards_of_a_missing_stream(peer: Peer) -> Outcome {
    merge(&peer, &unique("missing")).await
}

async fn merging_a_missing_shard(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    merge(&peer, &stream.name).await
}

async fn scaling_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().update_shard_count().stream_name(unique("missing")).target_shard_count(2);
    let answer = call.scaling_type(ScalingType::UniformScaling).send().await;
    refused_as(answer, UpdateShardCountError::is_resource_not_found_exception)
}

async fn changing_retention_of_a_missing_stream(peer: Peer) -> Outcome {
    let call = peer.kinesis().decrease_stream_retention_period().stream_name(unique("missing"));
    let answer = call.retention_period_hours(24).send().await;
    refused_as(answer, DecreaseStreamRetentionPeriodError::is_resource_not_found_exception)
}

async fn reading_a_deleted_stream(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let iterator = stream.iterator(0, ShardIteratorType::TrimHorizon).await?;
    stream.kinesis.delete_stream().stream_name(&stream.name).send().await?;
    super::peer::until("the stream is gone", async || {
        let answer = stream.kinesis.get_records().shard_iterator(&iterator).send().await;
        match &answer {
            Ok(_) => Ok(false),
            Err(_) => refused_as(answer, GetRecordsError::is_resource_not_found_exception).map(|()| true),
        }
    })
    .await
}

async fn a_missing_stream_is_named(peer: Peer) -> Outcome {
    let name = unique("missing");
    let answer = peer.kinesis().describe_stream().stream_name(&name).send().await;
    let Err(error) = answer else { return Err(Failure::new("accepted")) };
    let message = aws_sdk_kinesis::error::ProvideErrorMetadata::message(&error).unwrap_or_default();
    holds(message.contains(&name), format!("{message:?} names {name}"))
}

async fn an_iterator_needs_a_shard_id(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let call = stream.kinesis.get_shard_iterator().stream_name(&stream.name);
    refused(call.shard_iterator_type(ShardIteratorType::Latest).send().await, "ValidationException")
}

async fn a_record_needs_a_partition_key(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let call = stream.kinesis.put_record().stream_name(&stream.name).data(Blob::new("x"));
    refused(call.send().await, "ValidationException")
}
