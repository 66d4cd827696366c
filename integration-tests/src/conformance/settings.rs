//! Checks of tags, encryption, the capacity mode and other settings of streams.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_kinesis::operation::add_tags_to_stream::AddTagsToStreamError;
use aws_sdk_kinesis::operation::get_resource_policy::GetResourcePolicyError;
use aws_sdk_kinesis::types::{EncryptionType, MetricsName, ScalingType, StreamMode, StreamModeDetails, Tag};

use super::check::{api, checks, guide};
use super::consumers::active;
use super::expect::{Failure, Outcome, equal, holds, present, refused_as, refused_with};
use super::peer::{Peer, unique};
use super::stream::{Stream, create, entry};

const CAPACITY: &str = guide!("streams/latest/dev/how-do-i-size-a-stream");

const KEY: &str = "alias/aws/kinesis";

checks! {
    Kinesis a_stream_is_created_with_its_tags: api!("CreateStream");
    Kinesis tags_are_added_to_a_stream: api!("AddTagsToStream");
    Kinesis a_tag_of_the_same_key_is_replaced: api!("AddTagsToStream");
    Kinesis tags_are_removed_from_a_stream: api!("RemoveTagsFromStream");
    Kinesis tags_are_listed_in_pages: api!("ListTagsForStream");
    Kinesis tagging_a_missing_stream_is_refused: api!("AddTagsToStream");
    Kinesis a_stream_is_tagged_by_its_arn: api!("TagResource");
    Kinesis a_consumer_is_tagged_by_its_arn: api!("TagResource");
    Kinesis tags_are_removed_by_an_arn: api!("UntagResource");
    Kinesis an_on_demand_stream_begins_with_4_shards: CAPACITY;
    Kinesis an_on_demand_stream_tells_its_mode: api!("StreamDescriptionSummary");
    Kinesis an_on_demand_stream_takes_records: CAPACITY;
    Kinesis an_on_demand_stream_is_not_scaled: api!("UpdateShardCount");
    Kinesis the_mode_of_a_stream_can_be_changed: api!("UpdateStreamMode");
    Kinesis an_encrypted_stream_tells_its_key: api!("StartStreamEncryption");
    Kinesis putting_to_an_encrypted_stream_tells_so: api!("PutRecords");
    Kinesis a_record_tells_that_it_was_encrypted: api!("Record");
    Kinesis encryption_can_be_stopped: api!("StopStreamEncryption");
    Kinesis a_resource_policy_of_a_stream_is_kept: api!("PutResourcePolicy");
    Kinesis a_resource_policy_of_a_consumer_is_kept: api!("PutResourcePolicy");
    Kinesis a_resource_policy_is_deleted: api!("DeleteResourcePolicy");
    Kinesis a_resource_policy_of_a_missing_stream_is_refused: api!("GetResourcePolicy");
    Kinesis shard_level_metrics_can_be_enabled: api!("EnableEnhancedMonitoring");
    Kinesis the_limit_of_shards_is_told_with_their_number: api!("DescribeLimits");
}

fn tags<const N: usize>(tags: [(&str, &str); N]) -> Option<HashMap<String, String>> {
    Some(tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

fn pairs(tags: &[Tag]) -> BTreeMap<&str, &str> {
    tags.iter().map(|tag| (tag.key(), tag.value().unwrap_or_default())).collect()
}

async fn tags_are(stream: &Stream, wanted: &[(&str, &str)]) -> Outcome {
    let list = stream.kinesis.list_tags_for_stream().stream_name(&stream.name).send().await?;
    equal("tags", pairs(list.tags()), wanted.iter().copied().collect::<BTreeMap<_, _>>())
}

/// A stream with the tags `env` and `team`.
async fn tagged(peer: &Peer) -> Result<Stream, Failure> {
    let stream = Stream::create(peer, 1).await?;
    let add = stream.kinesis.add_tags_to_stream().stream_name(&stream.name);
    add.set_tags(tags([("env", "test"), ("team", "a")])).send().await?;
    Ok(stream)
}

async fn a_stream_is_created_with_its_tags(peer: Peer) -> Outcome {
    let name = unique("stream");
    let call = peer.kinesis().create_stream().stream_name(&name).shard_count(1);
    create(call.set_tags(tags([("team", "a")]))).await?;
    tags_are(&Stream::created(&peer, name).await?, &[("team", "a")]).await
}

async fn tags_are_added_to_a_stream(peer: Peer) -> Outcome {
    tags_are(&tagged(&peer).await?, &[("env", "test"), ("team", "a")]).await
}

async fn a_tag_of_the_same_key_is_replaced(peer: Peer) -> Outcome {
    let stream = tagged(&peer).await?;
    let add = stream.kinesis.add_tags_to_stream().stream_name(&stream.name).set_tags(tags([("team", "b")]));
    add.send().await?;
    tags_are(&stream, &[("env", "test"), ("team", "b")]).await
}

async fn tags_are_removed_from_a_stream(peer: Peer) -> Outcome {
    let stream = tagged(&peer).await?;
    stream.kinesis.remove_tags_from_stream().stream_name(&stream.name).tag_keys("env").send().await?;
    tags_are(&stream, &[("team", "a")]).await
}

async fn tags_are_listed_in_pages(peer: Peer) -> Outcome {
    let stream = tagged(&peer).await?;
    let list = || stream.kinesis.list_tags_for_stream().stream_name(&stream.name).limit(1);
    let first = list().send().await?;
    equal("first page", (first.tags().len(), first.has_more_tags()), (1, true))?;
    let rest = list().exclusive_start_tag_key(first.tags()[0].key()).send().await?;
    equal("second page", (rest.tags().len(), rest.has_more_tags()), (1, false))?;
    let all = [first.tags(), rest.tags()].concat();
    equal("tags", pairs(&all), BTreeMap::from([("env", "test"), ("team", "a")]))
}

async fn tagging_a_missing_stream_is_refused(peer: Peer) -> Outcome {
    let add = peer.kinesis().add_tags_to_stream().stream_name(unique("missing")).set_tags(tags([("team", "a")]));
    refused_as(add.send().await, AddTagsToStreamError::is_resource_not_found_exception)
}

async fn resource_tags_are(stream: &Stream, arn: &str, wanted: &[(&str, &str)]) -> Outcome {
    let list = stream.kinesis.list_tags_for_resource().resource_arn(arn).send().await?;
    equal("tags", pairs(list.tags()), wanted.iter().copied().collect::<BTreeMap<_, _>>())
}

async fn a_stream_is_tagged_by_its_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let tag = stream.kinesis.tag_resource().resource_arn(&stream.arn).set_tags(tags([("team", "a")]));
    tag.send().await?;
    resource_tags_are(&stream, &stream.arn, &[("team", "a")]).await
}

async fn a_consumer_is_tagged_by_its_arn(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let consumer = active(&stream, "app").await?;
    stream.kinesis.tag_resource().resource_arn(&consumer).set_tags(tags([("team", "a")])).send().await?;
    resource_tags_are(&stream, &consumer, &[("team", "a")]).await
}

async fn tags_are_removed_by_an_arn(peer: Peer) -> Outcome {
    let stream = tagged(&peer).await?;
    stream.kinesis.untag_resource().resource_arn(&stream.arn).tag_keys("env").send().await?;
    tags_are(&stream, &[("team", "a")]).await
}

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().expect("mode is set")
}

async fn on_demand(peer: &Peer) -> Result<Stream, Failure> {
    let name = unique("stream");
    let call = peer.kinesis().create_stream().stream_name(&name);
    create(call.stream_mode_details(mode(StreamMode::OnDemand))).await?;
    Stream::created(peer, name).await
}

async fn mode_is(stream: &Stream, wanted: StreamMode) -> Outcome {
    let summary = stream.summary().await?;
    equal("stream mode", summary.stream_mode_details().map(|details| details.stream_mode()), Some(&wanted))
}

async fn an_on_demand_stream_begins_with_4_shards(peer: Peer) -> Outcome {
    equal("shards", on_demand(&peer).await?.shards().await?.len(), 4)
}

async fn an_on_demand_stream_tells_its_mode(peer: Peer) -> Outcome {
    mode_is(&on_demand(&peer).await?, StreamMode::OnDemand).await
}

async fn an_on_demand_stream_takes_records(peer: Peer) -> Outcome {
    let stream = on_demand(&peer).await?;
    stream.put_to("0", "x").await?;
    equal("records", stream.read_all(0).await?.texts(), ["x"])
}

async fn an_on_demand_stream_is_not_scaled(peer: Peer) -> Outcome {
    let stream = on_demand(&peer).await?;
    let scale = stream.kinesis.update_shard_count().stream_name(&stream.name).target_shard_count(8);
    let answer = scale.scaling_type(ScalingType::UniformScaling).send().await;
    refused_with(answer, &["ValidationException", "InvalidArgumentException"])
}

async fn the_mode_of_a_stream_can_be_changed(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    for wanted in [StreamMode::OnDemand, StreamMode::Provisioned] {
        let update = stream.kinesis.update_stream_mode().stream_arn(&stream.arn);
        update.stream_mode_details(mode(wanted.clone())).send().await?;
        stream.active().await?;
        mode_is(&stream, wanted).await?;
    }
    Ok(())
}

/// A stream with a record, `plain`, that is encrypted from then on.
async fn encrypted(peer: &Peer) -> Result<Stream, Failure> {
    let stream = Stream::create(peer, 1).await?;
    stream.put("k", "plain").await?;
    let start = stream.kinesis.start_stream_encryption().stream_name(&stream.name);
    start.encryption_type(EncryptionType::Kms).key_id(KEY).send().await?;
    stream.active().await?;
    Ok(stream)
}

async fn an_encrypted_stream_tells_its_key(peer: Peer) -> Outcome {
    let summary = encrypted(&peer).await?.summary().await?;
    equal("encryption", (summary.encryption_type(), summary.key_id()), (Some(&EncryptionType::Kms), Some(KEY)))
}

async fn putting_to_an_encrypted_stream_tells_so(peer: Peer) -> Outcome {
    let stream = encrypted(&peer).await?;
    let single = stream.put("k", "x").await?;
    equal("encryption of a record", single.encryption_type(), Some(&EncryptionType::Kms))?;
    let many = stream.put_all(vec![entry("k", "y")]).await?;
    equal("encryption of records", many.encryption_type(), Some(&EncryptionType::Kms))
}

async fn a_record_tells_that_it_was_encrypted(peer: Peer) -> Outcome {
    let stream = encrypted(&peer).await?;
    stream.put("k", "secret").await?;
    let reading = stream.read_all(0).await?;
    equal("records", reading.texts(), ["plain", "secret"])?;
    let is_encrypted = |n: usize| reading.records[n].encryption_type() == Some(&EncryptionType::Kms);
    equal("which are encrypted", (is_encrypted(0), is_encrypted(1)), (false, true))
}

async fn encryption_can_be_stopped(peer: Peer) -> Outcome {
    let stream = encrypted(&peer).await?;
    let stop = stream.kinesis.stop_stream_encryption().stream_name(&stream.name);
    stop.encryption_type(EncryptionType::Kms).key_id(KEY).send().await?;
    stream.active().await?;
    equal("encryption", stream.summary().await?.encryption_type(), Some(&EncryptionType::None))
}

async fn shard_level_metrics_can_be_enabled(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let enable = stream.kinesis.enable_enhanced_monitoring().stream_name(&stream.name);
    let answer = enable.shard_level_metrics(MetricsName::IncomingBytes).send().await?;
    equal("metrics before", answer.current_shard_level_metrics().len(), 0)?;
    equal("metrics after", answer.desired_shard_level_metrics(), [MetricsName::IncomingBytes])?;
    let summary = stream.summary().await?;
    let metrics = present(summary.enhanced_monitoring().first(), "EnhancedMonitoring")?;
    equal("metrics told", metrics.shard_level_metrics(), [MetricsName::IncomingBytes])
}

async fn the_limit_of_shards_is_told_with_their_number(peer: Peer) -> Outcome {
    Stream::create(&peer, 3).await?;
    let limits = peer.kinesis().describe_limits().send().await?;
    let (open, limit) = (limits.open_shard_count(), limits.shard_limit());
    holds(3 <= open && open <= limit, format!("{open} open shards, 3 at least, are within the limit of {limit}"))
}

/// Gives an account, the stream's own, a right to the resource.
async fn share(stream: &Stream, arn: &str, action: &str) -> Result<String, Failure> {
    let account = present(stream.arn.split(':').nth(4), "account in the ARN")?;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{account}"}},"Action":["kinesis:{action}"],"Resource":"{arn}"}}]}}"#
    );
    stream.kinesis.put_resource_policy().resource_arn(arn).policy(&policy).send().await?;
    Ok(policy)
}

/// The policy of the resource. That there is none is told in more than one way.
async fn policy(stream: &Stream, arn: &str) -> Result<Option<String>, Failure> {
    match stream.kinesis.get_resource_policy().resource_arn(arn).send().await {
        Ok(answer) => Ok(Some(answer.policy).filter(|policy| !["", "{}"].contains(&policy.as_str()))),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn a_resource_policy_of_a_stream_is_kept(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let put = share(&stream, &stream.arn, "GetRecords").await?;
    equal("policy", policy(&stream, &stream.arn).await?, Some(put))
}

async fn a_resource_policy_of_a_consumer_is_kept(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let consumer = active(&stream, "app").await?;
    let put = share(&stream, &consumer, "SubscribeToShard").await?;
    equal("policy", policy(&stream, &consumer).await?, Some(put))?;
    equal("policy of the stream", policy(&stream, &stream.arn).await?, None)
}

async fn a_resource_policy_is_deleted(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    share(&stream, &stream.arn, "GetRecords").await?;
    stream.kinesis.delete_resource_policy().resource_arn(&stream.arn).send().await?;
    equal("policy", policy(&stream, &stream.arn).await?, None)
}

async fn a_resource_policy_of_a_missing_stream_is_refused(peer: Peer) -> Outcome {
    let stream = Stream::create(&peer, 1).await?;
    let missing = stream.arn.replace(&stream.name, &unique("missing"));
    let get = stream.kinesis.get_resource_policy().resource_arn(missing);
    refused_as(get.send().await, GetResourcePolicyError::is_resource_not_found_exception)
}
