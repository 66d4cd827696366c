//! Denied actions.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kinesis_local::LocalAws;

use super::code;

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

#[tokio::test(start_paused = true)]
async fn all_actions_of_a_service_can_be_denied_at_once() {
    let aws = LocalAws::start().await;
    let config = aws.sdk_config();
    let (kinesis, dynamodb) = (aws_sdk_kinesis::Client::new(&config), aws_sdk_dynamodb::Client::new(&config));
    aws.deny("dynamodb:*");
    aws.deny("kinesis:List*");

    assert_eq!(code(dynamodb.list_tables().send().await), "AccessDeniedException");
    assert_eq!(code(kinesis.list_streams().send().await), "AccessDeniedException");
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();

    aws.allow("dynamodb:*");
    dynamodb.list_tables().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "kinesis:PutRecordz is no action")]
async fn denying_an_action_that_does_not_exist_is_a_mistake() {
    LocalAws::start().await.deny("kinesis:PutRecordz");
}
