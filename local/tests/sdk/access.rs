//! Denied actions.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kinesis_local::LocalAws;

#[tokio::test(start_paused = true)]
async fn a_denied_action_fails_until_it_is_allowed() {
    let aws = LocalAws::start().await;
    let kinesis = aws_sdk_kinesis::Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let entry = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("x")).build().unwrap();
    let put = || kinesis.put_records().stream_name("s").records(entry.clone()).send();

    aws.deny("kinesis:PutRecords");
    let denied = put().await.unwrap_err().into_service_error();
    assert!(denied.is_access_denied_exception());
    assert_eq!(
        denied.meta().message(),
        Some(
            "User: arn:aws:iam::000000000000:user/local is not authorized to perform: kinesis:PutRecords on resource: \
             arn:aws:kinesis:us-east-1:000000000000:stream/s because no identity-based policy allows the \
             kinesis:PutRecords action"
        )
    );
    kinesis.list_shards().stream_name("s").send().await.unwrap();

    aws.clone().allow("kinesis:PutRecords");
    put().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn actions_can_be_denied_from_the_start() {
    let aws = LocalAws::builder().deny("dynamodb:ListTables").start().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws.sdk_config());

    let denied = dynamodb.list_tables().send().await.unwrap_err().into_service_error();

    assert_eq!(denied.meta().code(), Some("AccessDeniedException"));
    assert!(denied.meta().message().unwrap().contains("not authorized to perform: dynamodb:ListTables"));
}
