//! Tags and settings of streams: encryption, capacity mode, record distribution, shard-level metrics; limits.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, PutRecordsRequestEntry, RecordDistributionStrategy, ScalingType, ShardIteratorType,
    StreamMode, StreamModeDetails, StreamStatus, Tag,
};
use kinesis_local::LocalAws;
use tokio::time::sleep;

use super::{code, get, iterator, kinesis, message, put, shard};

const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

fn tags<const N: usize>(tags: [(&str, &str); N]) -> Option<HashMap<String, String>> {
    Some(tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

fn pairs(tags: &[Tag]) -> Vec<(&str, &str)> {
    tags.iter().map(|tag| (tag.key(), tag.value().unwrap_or_default())).collect()
}

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

async fn on_demand() -> Client {
    let kinesis = Client::new(&LocalAws::start().await.sdk_config());
    let create = kinesis.create_stream().stream_name("s").stream_mode_details(mode(StreamMode::OnDemand));
    create.send().await.unwrap();
    kinesis
}

#[tokio::test(start_paused = true)]
async fn tags_of_streams_are_added_listed_and_removed() {
    let kinesis = Client::new(&LocalAws::start().await.sdk_config());
    let create = kinesis.create_stream().stream_name("s").shard_count(1).set_tags(tags([("team", "a")]));
    create.send().await.unwrap();
    let add = kinesis.add_tags_to_stream().stream_name("s").set_tags(tags([("team", "b"), ("env", "test")]));
    add.send().await.unwrap();
    let list = || kinesis.list_tags_for_stream().stream_arn(STREAM);

    assert_eq!(pairs(list().send().await.unwrap().tags()), [("env", "test"), ("team", "b")]);
    let first = list().limit(1).send().await.unwrap();
    assert_eq!((pairs(first.tags()), first.has_more_tags()), (vec![("env", "test")], true));
    let rest = list().exclusive_start_tag_key("env").send().await.unwrap();
    assert_eq!((pairs(rest.tags()), rest.has_more_tags()), (vec![("team", "b")], false));

    kinesis.remove_tags_from_stream().stream_name("s").tag_keys("env").send().await.unwrap();
    assert_eq!(pairs(list().send().await.unwrap().tags()), [("team", "b")]);

    let many: HashMap<_, _> = (0..50).map(|n| (n.to_string(), String::new())).collect();
    let many = kinesis.add_tags_to_stream().stream_name("s").set_tags(Some(many)).send().await;
    assert_eq!(code(many), "InvalidArgumentException");
    let strange = kinesis.add_tags_to_stream().stream_name("s").set_tags(tags([("a*", "")])).send().await;
    assert_eq!(code(strange), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn consumers_have_tags_too() {
    let kinesis = kinesis(1).await;
    let register = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("app");
    let registered = register.set_tags(tags([("team", "a")])).send().await.unwrap();
    let arn = registered.consumer().unwrap().consumer_arn();

    kinesis.tag_resource().resource_arn(arn).set_tags(tags([("env", "test")])).send().await.unwrap();
    kinesis.tag_resource().resource_arn(STREAM).set_tags(tags([("of", "stream")])).send().await.unwrap();
    kinesis.untag_resource().resource_arn(arn).tag_keys("team").send().await.unwrap();

    let of = async |arn: &str| kinesis.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
    assert_eq!(pairs(of(arn).await.tags()), [("env", "test")]);
    assert_eq!(pairs(of(STREAM).await.tags()), [("of", "stream")]);
    let missing = kinesis.list_tags_for_resource().resource_arn(format!("{STREAM}/consumer/none:1")).send().await;
    assert_eq!(code(missing), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn encryption_shows_in_streams_answers_and_records() {
    let kinesis = kinesis(1).await;
    assert_eq!(put(&kinesis, "k", "plain").await.encryption_type(), None);

    let start = kinesis.start_stream_encryption().stream_name("s").encryption_type(EncryptionType::Kms);
    start.key_id("alias/aws/kinesis").send().await.unwrap();

    assert_eq!(put(&kinesis, "k", "secret").await.encryption_type(), Some(&EncryptionType::Kms));
    let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("x")).build().unwrap();
    let answer = kinesis.put_records().stream_name("s").records(entry).send().await.unwrap();
    assert_eq!(answer.encryption_type(), Some(&EncryptionType::Kms));
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let summary = summary.stream_description_summary().unwrap();
    assert_eq!(summary.encryption_type(), Some(&EncryptionType::Kms));
    assert_eq!(summary.key_id(), Some("alias/aws/kinesis"));

    let stop = kinesis.stop_stream_encryption().stream_name("s").encryption_type(EncryptionType::Kms);
    stop.key_id("alias/aws/kinesis").send().await.unwrap();
    put(&kinesis, "k", "plain").await;
    let read = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
    let encrypted: Vec<_> = read.records().iter().map(|record| record.encryption_type().is_some()).collect();
    assert_eq!(encrypted, [false, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_capacity_mode_can_be_changed() {
    let kinesis = kinesis(2).await;
    let scale = || {
        let scale = kinesis.update_shard_count().stream_name("s").target_shard_count(1);
        scale.scaling_type(ScalingType::UniformScaling).send()
    };
    let update = async |to: StreamMode| {
        kinesis.update_stream_mode().stream_arn(STREAM).stream_mode_details(mode(to)).send().await.unwrap();
    };

    update(StreamMode::OnDemand).await;
    assert_eq!(code(scale().await), "ValidationException");
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let summary = summary.stream_description_summary().unwrap();
    assert_eq!(summary.stream_mode_details().unwrap().stream_mode(), &StreamMode::OnDemand);
    assert_eq!((summary.stream_status(), summary.open_shard_count()), (&StreamStatus::Active, 2));

    update(StreamMode::Provisioned).await;
    scale().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_are_distributed_evenly_when_asked_to() {
    let kinesis = on_demand().await;
    let update = async |strategy: RecordDistributionStrategy| {
        let update = kinesis.update_stream_record_distribution_strategy().stream_arn(STREAM);
        update.record_distribution_strategy(strategy).send().await
    };
    let put = async || kinesis.put_record().stream_name("s").data(Blob::new("x")).send().await;
    assert_eq!(code(put().await), "ValidationException");

    update(RecordDistributionStrategy::Auto).await.unwrap();
    let mut shards = Vec::new();
    for _ in 0..8 {
        shards.push(put().await.unwrap().shard_id);
    }
    shards.sort();
    assert_eq!(shards, [0, 0, 1, 1, 2, 2, 3, 3].map(shard));
    let read = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
    assert_eq!(read.records()[0].partition_key(), None);
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let strategy = summary.stream_description_summary().unwrap().record_distribution_strategy().cloned();
    assert_eq!(strategy, Some(RecordDistributionStrategy::Auto));

    update(RecordDistributionStrategy::UserPartitionKey).await.unwrap();
    assert_eq!(code(put().await), "ValidationException");
    kinesis
        .update_stream_mode()
        .stream_arn(STREAM)
        .stream_mode_details(mode(StreamMode::Provisioned))
        .send()
        .await
        .unwrap();
    assert_eq!(code(update(RecordDistributionStrategy::Auto).await), "InvalidArgumentException");
}

#[tokio::test(start_paused = true)]
async fn shard_level_metrics_are_turned_on_and_off() {
    let kinesis = kinesis(1).await;

    let enable = kinesis.enable_enhanced_monitoring().stream_name("s").shard_level_metrics(MetricsName::All);
    let enabled = enable.send().await.unwrap();
    assert_eq!((enabled.current_shard_level_metrics().len(), enabled.desired_shard_level_metrics().len()), (0, 7));
    let disable = kinesis.disable_enhanced_monitoring().stream_name("s");
    let disabled = disable.shard_level_metrics(MetricsName::IncomingBytes).send().await.unwrap();
    assert_eq!((disabled.current_shard_level_metrics().len(), disabled.desired_shard_level_metrics().len()), (7, 6));

    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let metrics = summary.stream_description_summary().unwrap().enhanced_monitoring()[0].shard_level_metrics().to_vec();
    assert!(metrics.len() == 6 && !metrics.contains(&MetricsName::IncomingBytes), "{metrics:?}");
    let strange = kinesis.enable_enhanced_monitoring().stream_name("s").shard_level_metrics("Weird".into());
    assert_eq!(code(strange.send().await), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn an_account_has_at_most_twenty_thousand_shards() {
    let kinesis = on_demand().await;
    kinesis.create_stream().stream_name("t").shard_count(3).send().await.unwrap();

    let limits = kinesis.describe_limits().send().await.unwrap();
    assert_eq!((limits.shard_limit(), limits.open_shard_count()), (20_000, 7));
    assert_eq!((limits.on_demand_stream_count(), limits.on_demand_stream_count_limit()), (1, 50));

    kinesis.create_stream().stream_name("u").shard_count(10_000).send().await.unwrap();
    let more = kinesis.create_stream().stream_name("v").shard_count(9_994).send().await;
    assert!(more.unwrap_err().into_service_error().is_limit_exceeded_exception());
    kinesis.create_stream().stream_name("v").shard_count(9_993).send().await.unwrap();
    let split = kinesis.split_shard().stream_name("t").shard_to_split(shard(0)).new_starting_hash_key("1000");
    assert!(split.send().await.unwrap_err().into_service_error().is_limit_exceeded_exception());
}

#[tokio::test(start_paused = true)]
async fn an_account_has_as_many_shards_as_it_was_given() {
    let aws = LocalAws::builder().max_account_shards(30_000).start().await;
    let kinesis = Client::new(&aws.sdk_config());
    for name in ["s", "t", "u"] {
        aws.create_stream(name, 10_000).unwrap();
    }

    let limits = kinesis.describe_limits().send().await.unwrap();
    assert_eq!((limits.shard_limit(), limits.open_shard_count()), (30_000, 30_000));
    let refused = aws.create_stream("v", 1).unwrap_err().to_string();
    assert!(refused.contains("Limit: 30000"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_scaled_ten_times_a_day_when_limits_are_enforced() {
    let config = LocalAws::builder().enforce_limits().start().await.sdk_config();
    let kinesis = Client::new(&config.into_builder().retry_config(RetryConfig::disabled()).build());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let scale = async |n: i32| {
        sleep(Duration::from_secs(1)).await;
        let scale = kinesis.update_shard_count().stream_name("s").target_shard_count(n % 2 + 1);
        scale.scaling_type(ScalingType::UniformScaling).send().await
    };

    for n in 1..=10 {
        scale(n).await.unwrap();
    }
    assert_eq!(code(scale(11).await), "LimitExceededException");
    sleep(Duration::from_secs(86_400)).await;
    scale(11).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_of_ten_mebibytes_passes_where_it_is_allowed() {
    const MIB: usize = 1 << 20;
    let kinesis = kinesis(1).await;
    let put = |bytes: usize| {
        let data = Blob::new(vec![7; bytes - 1]);
        kinesis.put_record().stream_name("s").partition_key("k").data(data).send()
    };
    assert_eq!(code(put(MIB + 1).await), "InvalidArgumentException");

    kinesis.update_max_record_size().stream_arn(STREAM).max_record_size_in_kib(10_240).send().await.unwrap();

    put(10 * MIB).await.unwrap();
    assert_eq!(code(put(10 * MIB + 1).await), "InvalidArgumentException");
    let read = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
    assert_eq!(read.records()[0].data().as_ref().len(), 10 * MIB - 1);
}

/// A policy that lets another account read a resource.
fn policy(resource: &str, account: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{account}"}},"Action":"kinesis:GetRecords","Resource":"{resource}"}}]}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn streams_and_consumers_have_resource_policies() {
    let kinesis = kinesis(1).await;
    let registered = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await.unwrap();
    let get = async |arn: &str| kinesis.get_resource_policy().resource_arn(arn).send().await.unwrap().policy;

    for arn in [STREAM, registered.consumer().unwrap().consumer_arn()] {
        let delete = || kinesis.delete_resource_policy().resource_arn(arn).send();
        let put = |policy: String| kinesis.put_resource_policy().resource_arn(arn).policy(policy).send();
        assert_eq!(get(arn).await, "{}");
        assert_eq!(message(delete().await), format!("No resource policy found for resource ARN {arn}."));

        for account in ["111111111111", "222222222222"] {
            put(policy(arn, account)).await.unwrap();
            assert_eq!(get(arn).await, policy(arn, account));
        }
        assert_eq!(code(put(policy("other", "111111111111")).await), "InvalidArgumentException");
        assert_eq!(get(arn).await, policy(arn, "222222222222"));

        delete().await.unwrap();
        assert_eq!(get(arn).await, "{}");
    }
    let elsewhere = kinesis.get_resource_policy().resource_arn(format!("{STREAM}2")).send().await;
    assert_eq!(code(elsewhere), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn the_capacity_mode_is_switched_twice_a_day_when_limits_are_enforced() {
    let kinesis = Client::new(&LocalAws::builder().enforce_limits().start().await.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let switch = async |switched: StreamMode| {
        sleep(Duration::from_secs(1)).await;
        kinesis.update_stream_mode().stream_arn(STREAM).stream_mode_details(mode(switched)).send().await
    };
    switch(StreamMode::OnDemand).await.unwrap();
    switch(StreamMode::Provisioned).await.unwrap();

    assert_eq!(code(switch(StreamMode::OnDemand).await), "LimitExceededException");

    sleep(Duration::from_secs(86_400)).await;
    switch(StreamMode::OnDemand).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn five_streams_are_created_at_once_when_limits_are_enforced() {
    let builder = LocalAws::builder().enforce_limits().creating_takes(Duration::from_secs(10));
    let config = builder.start().await.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
    let kinesis = Client::new(&config);
    let create = |name: String| kinesis.create_stream().stream_name(name).shard_count(1).send();
    for n in 0..5 {
        create(format!("s{n}")).await.unwrap();
    }
    sleep(Duration::from_secs(5)).await;

    let refused = create("s5".to_owned()).await;
    assert!(message(refused).contains("5 streams in state CREATING"));

    sleep(Duration::from_secs(5)).await;
    create("s5".to_owned()).await.unwrap();
}
