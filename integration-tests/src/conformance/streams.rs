//! Checks of streams: creating, describing, listing, deleting, by name and by ARN.

use aws_sdk_kinesis::types::{EncryptionType, ScalingType, ShardIteratorType, StreamMode, StreamStatus};

use super::check::{api, checks};
use super::context::pace;
use super::expect::{Failure, Outcome, equal, holds, present, refused};
use super::peer::{Peer, unique, until};
use super::stream::{HALF, Stream, create, entry, ids, shard_id};

checks! {
    Kinesis a_new_stream_becomes_active: api!("CreateStream");
    Kinesis a_new_stream_has_its_shards: api!("CreateStream");
    Kinesis a_new_stream_is_provisioned: api!("StreamDescriptionSummary");
    Kinesis a_new_stream_keeps_records_for_24_hours: api!("StreamDescriptionSummary");
    Kinesis a_new_stream_takes_records_of_1024_kib: api!("StreamDescriptionSummary");
    Kinesis a_new_stream_is_not_encrypted: api!("StreamDescriptionSummary");
    Kinesis a_stream_has_an_arn_that_ends_in_its_name: api!("StreamDescriptionSummary");
    Kinesis a_stream_tells_when_it_was_created: api!("StreamDescriptionSummary");
    Kinesis the_name_of_a_stream_is_taken: api!("CreateStream");
    Kinesis a_stream_is_created_with_a_record_size: api!("CreateStream");
    Kinesis a_stream_has_one_shard_at_least: api!("CreateStream");
    Kinesis a_name_has_128_characters_at_most: api!("CreateStream");
    Kinesis a_name_is_of_letters_digits_and_three_signs: api!("CreateStream");
    Kinesis streams_are_listed_after_a_name: api!("ListStreams");
    Kinesis streams_are_listed_with_their_summaries: api!("ListStreams");
    Kinesis a_page_of_streams_says_that_more_follow: api!("ListStreams");
    Kinesis describing_a_stream_pages_through_its_shards: api!("DescribeStream");
    Kinesis a_deleted_stream_goes: api!("DeleteStream");
    Kinesis a_stream_that_is_created_again_is_empty: api!("DeleteStream");
    Kinesis describing_takes_an_arn: api!("DescribeStream");
    Kinesis summarizing_takes_an_arn: api!("DescribeStreamSummary");
    Kinesis listing_shards_takes_an_arn: api!("ListShards");
    Kinesis putting_a_record_takes_an_arn: api!("PutRecord");
    Kinesis putting_records_takes_an_arn: api!("PutRecords");
    Kinesis reading_takes_an_arn: api!("GetRecords");
    Kinesis splitting_takes_an_arn: api!("SplitShard");
    Kinesis scaling_takes_an_arn: api!("UpdateShardCount");
    Kinesis changing_retention_takes_an_arn: api!("IncreaseStreamRetentionPeriod");
    Kinesis deleting_takes_an_arn: api!("DeleteStream");
}

async fn a_new_stream_becomes_active(peer: Peer) -> Outcome {
    let name = unique("stream");
    create(peer.kinesis().create_stream().stream_name(&name).shard_count(1)).await?;
    let describe = || peer.kinesis().describe_stream_summary().stream_name(&name).send();
    until("the stream is ACTIVE", async || {
        let answer = describe().await?;
        let summary = present(answer.stream_description_summary(), "StreamDescriptionSummary")?;
        match summary.stream_status() {
            StreamStatus::Creating => Ok(false),
            StreamStatus::Active => Ok(true),
            other => Err(Failure::new(format!("status {other:?}"))),
        }
    })
    .await
}

async fn a_new_stream_has_its_shards(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    equal("open shards", stream.summary().await?.open_shard_count(), 3)?;
    equal("shards", ids(&stream.shards().await?), [shard_id(0), shard_id(1), shard_id(2)])
}

async fn a_new_stream_is_provisioned(peer: Peer) -> Outcome {
    let summary = Stream::create(&peer, 1).await?.summary().await?;
    let mode = summary.stream_mode_details().map(|details| details.stream_mode());
    equal("stream mode", mode, Some(&StreamMode::Provisioned))
}

async fn a_new_stream_keeps_records_for_24_hours(peer: Peer) -> Outcome {
    let summary = Stream::create(&peer, 1).await?.summary().await?;
    equal("retention", summary.retention_period_hours(), 24)
}

async fn a_new_stream_takes_records_of_1024_kib(peer: Peer) -> Outcome {
    let summary = Stream::create(&peer, 1).await?.summary().await?;
    equal("MaxRecordSizeInKiB", summary.max_record_size_in_kib(), Some(1024))
}

async fn a_new_stream_is_not_encrypted(peer: Peer) -> Outcome {
    let summary = Stream::create(&peer, 1).await?.summary().await?;
    equal("encryption", summary.encryption_type(), Some(&EncryptionType::None))
}

async fn a_stream_has_an_arn_that_ends_in_its_name(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let parts: Vec<_> = stream.arn.split(':').collect();
    equal("parts of the ARN", parts.len(), 6)?;
    let region = stream.kinesis.config().region().map(ToString::to_string).unwrap_or_default();
    equal("service and region", (parts[2], parts[3]), ("kinesis", region.as_str()))?;
    equal("resource", parts[5], format!("stream/{}", stream.name))
}

async fn a_stream_tells_when_it_was_created(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "x").await?;
    let created = stream.summary().await?.stream_creation_timestamp().secs();
    let arrived = stream.arrival(0, 0).await?.secs();
    // A peer may take its time from creating a stream to taking records.
    let latest = created.saturating_add_unsigned(pace().patience.as_secs() + 60);
    holds((created..latest).contains(&arrived), format!("created at {created}, first record at {arrived}"))
}

async fn the_name_of_a_stream_is_taken(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let again = create(stream.kinesis.create_stream().stream_name(&stream.name).shard_count(1)).await;
    refused(again, "ResourceInUseException")
}

async fn a_stream_is_created_with_a_record_size(peer: Peer) -> Outcome {
    let name = unique("stream");
    let call = peer.kinesis().create_stream().stream_name(&name).shard_count(1);
    create(call.max_record_size_in_kib(2048)).await?;
    let stream = Stream::created(&peer, name).await?;
    equal("MaxRecordSizeInKiB", stream.summary().await?.max_record_size_in_kib(), Some(2048))
}

async fn a_stream_has_one_shard_at_least(peer: Peer) -> Outcome {
    let call = peer.kinesis().create_stream().stream_name(unique("stream")).shard_count(0);
    refused(call.send().await, "ValidationException")
}

async fn a_name_has_128_characters_at_most(peer: Peer) -> Outcome {
    let name = unique("stream");
    let longest = format!("{name}{}", "x".repeat(128 - name.len()));
    create(peer.kinesis().create_stream().stream_name(&longest).shard_count(1)).await?;
    let longer = create(peer.kinesis().create_stream().stream_name(longest + "x").shard_count(1)).await;
    refused(longer, "ValidationException")
}

async fn a_name_is_of_letters_digits_and_three_signs(peer: Peer) -> Outcome {
    let name = unique("Stream_1.0");
    create(peer.kinesis().create_stream().stream_name(&name).shard_count(1)).await?;
    let other = create(peer.kinesis().create_stream().stream_name(name + "/x").shard_count(1)).await;
    refused(other, "ValidationException")
}

/// Two streams whose names follow each other, whatever others there are.
async fn neighbours(peer: &Peer) -> Result<[String; 2], Failure> {
    let name = unique("pair");
    let names = [format!("{name}-a"), format!("{name}-b")];
    for name in &names {
        create(peer.kinesis().create_stream().stream_name(name).shard_count(1)).await?;
        Stream::created(peer, name.clone()).await?;
    }
    Ok(names)
}

async fn streams_are_listed_after_a_name(peer: Peer) -> Outcome {
    let [first, second] = neighbours(&peer).await?;
    let list = peer.kinesis().list_streams().exclusive_start_stream_name(&first).limit(1);
    equal("names", list.send().await?.stream_names(), [second])
}

async fn streams_are_listed_with_their_summaries(peer: Peer) -> Outcome {
    let [first, second] = neighbours(&peer).await?;
    let list = peer.kinesis().list_streams().exclusive_start_stream_name(&first).limit(1).send().await?;
    let summary = present(list.stream_summaries().first(), "StreamSummaries")?;
    equal("name", summary.stream_name(), second)?;
    equal("status", summary.stream_status(), &StreamStatus::Active)
}

async fn a_page_of_streams_says_that_more_follow(peer: Peer) -> Outcome {
    neighbours(&peer).await?;
    let first = peer.kinesis().list_streams().limit(1).send().await?;
    holds(first.has_more_streams(), "HasMoreStreams")?;
    let token = present(first.next_token(), "NextToken")?;
    let second = peer.kinesis().list_streams().limit(1).next_token(token).send().await?;
    holds(second.stream_names() > first.stream_names(), format!("{first:?} before {second:?}"))
}

async fn describing_a_stream_pages_through_its_shards(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 3).await?;
    let describe = || stream.kinesis.describe_stream().stream_name(&stream.name).limit(2);
    let first = present(describe().send().await?.stream_description, "StreamDescription")?;
    equal("first page", ids(first.shards()), [shard_id(0), shard_id(1)])?;
    holds(first.has_more_shards(), "HasMoreShards of the first page")?;
    let rest = describe().exclusive_start_shard_id(shard_id(1)).send().await?;
    let rest = present(rest.stream_description, "StreamDescription")?;
    equal("second page", ids(rest.shards()), [shard_id(2)])?;
    equal("HasMoreShards of the last page", rest.has_more_shards(), false)
}

async fn gone(stream: &Stream) -> Outcome {
    until("the stream is gone", async || {
        match stream.kinesis.describe_stream().stream_name(&stream.name).send().await {
            Ok(_) => Ok(false),
            answer => refused(answer, "ResourceNotFoundException").map(|()| true),
        }
    })
    .await
}

async fn a_deleted_stream_goes(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.kinesis.delete_stream().stream_name(&stream.name).send().await?;
    gone(&stream).await
}

async fn a_stream_that_is_created_again_is_empty(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "x").await?;
    stream.kinesis.delete_stream().stream_name(&stream.name).send().await?;
    gone(&stream).await?;
    create(stream.kinesis.create_stream().stream_name(&stream.name).shard_count(1)).await?;
    stream.active().await?;
    equal("records", stream.read_all(0).await?.texts(), [""; 0])
}

async fn describing_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let answer = stream.kinesis.describe_stream().stream_arn(&stream.arn).send().await?;
    equal("name", answer.stream_description().map(|stream| stream.stream_name()), Some(stream.name.as_str()))
}

async fn summarizing_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let answer = stream.kinesis.describe_stream_summary().stream_arn(&stream.arn).send().await?;
    equal("name", answer.stream_description_summary().map(|stream| stream.stream_name()), Some(stream.name.as_str()))
}

async fn listing_shards_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 2).await?;
    let answer = stream.kinesis.list_shards().stream_arn(&stream.arn).send().await?;
    equal("shards", ids(answer.shards()), [shard_id(0), shard_id(1)])
}

async fn putting_a_record_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let data = aws_sdk_kinesis::primitives::Blob::new("x");
    stream.kinesis.put_record().stream_arn(&stream.arn).partition_key("k").data(data).send().await?;
    equal("records", stream.read_all(0).await?.texts(), ["x"])
}

async fn putting_records_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.kinesis.put_records().stream_arn(&stream.arn).records(entry("k", "x")).send().await?;
    equal("records", stream.read_all(0).await?.texts(), ["x"])
}

async fn reading_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.put("k", "x").await?;
    let iterator = stream.kinesis.get_shard_iterator().stream_arn(&stream.arn).shard_id(shard_id(0));
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
    let iterator = present(iterator.shard_iterator(), "ShardIterator")?;
    let answer = stream.kinesis.get_records().stream_arn(&stream.arn).shard_iterator(iterator).send().await?;
    equal("records", answer.records().len(), 1)
}

async fn splitting_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let split = stream.kinesis.split_shard().stream_arn(&stream.arn).shard_to_split(shard_id(0));
    split.new_starting_hash_key(HALF).send().await?;
    stream.active().await?;
    equal("open shards", stream.summary().await?.open_shard_count(), 2)
}

async fn scaling_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let scale = stream.kinesis.update_shard_count().stream_arn(&stream.arn).target_shard_count(2);
    scale.scaling_type(ScalingType::UniformScaling).send().await?;
    stream.active().await?;
    equal("open shards", stream.summary().await?.open_shard_count(), 2)
}

async fn changing_retention_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let increase = stream.kinesis.increase_stream_retention_period().stream_arn(&stream.arn);
    increase.retention_period_hours(48).send().await?;
    stream.active().await?;
    equal("retention", stream.summary().await?.retention_period_hours(), 48)
}

async fn deleting_takes_an_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    stream.kinesis.delete_stream().stream_arn(&stream.arn).send().await?;
    gone(&stream).await
}
