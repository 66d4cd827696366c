//! smoke
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_local::LocalAws;

#[tokio::test(start_paused = true)]
async fn what_was_put_is_got() {
    let aws = LocalAws::start().await;
    let kinesis = aws_sdk_kinesis::Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(2).send().await.unwrap();
    let put = kinesis.put_record().stream_name("s").partition_key("a").data(Blob::new("x")).send().await.unwrap();
    println!("{put:?}");
    let shards = kinesis.list_shards().stream_name("s").send().await.unwrap();
    println!("{shards:?}");
    let it = kinesis
        .get_shard_iterator()
        .stream_name("s")
        .shard_id(put.shard_id())
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .unwrap();
    let records = kinesis.get_records().shard_iterator(it.shard_iterator().unwrap()).send().await.unwrap();
    println!("{records:?}");
    assert_eq!(records.records().len(), 1);
    kinesis
        .update_shard_count()
        .stream_name("s")
        .target_shard_count(3)
        .scaling_type(aws_sdk_kinesis::types::ScalingType::UniformScaling)
        .send()
        .await
        .unwrap();
    println!("{:#?}", kinesis.describe_stream().stream_name("s").send().await.unwrap());
    println!("{:?}", kinesis.describe_stream_summary().stream_name("t").send().await.unwrap_err().into_service_error());
    let dynamo = aws_sdk_dynamodb::Client::new(&aws.sdk_config());
    println!("{:?}", dynamo.list_tables().send().await.unwrap());
    println!(
        "{:?}",
        dynamo.describe_continuous_backups().table_name("x").send().await.unwrap_err().into_service_error()
    );
}
