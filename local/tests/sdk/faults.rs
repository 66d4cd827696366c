//! Injected faults, as the SDK's retries see them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, BillingMode, KeySchemaElement, KeyType, Put, TransactWriteItem,
};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StartingPosition};
use kinesis_local::{Fault, FaultRule, LocalAws};
use tokio::time::Instant;

use super::{code, data, get, iterator, message, shard};

/// A Kinesis with one stream, `s`, and a client with this number of attempts.
async fn kinesis(attempts: u32) -> (LocalAws, Client) {
    let aws = LocalAws::start().await;
    let retries = RetryConfig::standard().with_max_attempts(attempts);
    let kinesis = Client::new(&aws.sdk_config().into_builder().retry_config(retries).build());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    (aws, kinesis)
}

async fn put_nine(kinesis: &Client) -> Result<PutRecordsOutput, SdkError<PutRecordsError>> {
    let entry =
        |n: u32| PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new(n.to_string())).build().unwrap();
    kinesis.put_records().stream_name("s").set_records(Some((1..=9).map(entry).collect())).send().await
}

async fn stored(kinesis: &Client) -> usize {
    let iterator = iterator(kinesis, &shard(0), ShardIteratorType::TrimHorizon).await;
    get(kinesis, &iterator).await.records().len()
}

#[tokio::test(start_paused = true)]
async fn retries_failures_before_their_effect_without_a_trace() {
    for attempts in [1, 3] {
        for fault in ["fail", "throttle", "drop_connection", "unavailable"] {
            let (aws, kinesis) = kinesis(attempts).await;
            let rule = aws.faults().on("kinesis:PutRecords").call(1);
            let fault = match fault {
                "fail" => rule.fail(),
                "throttle" => rule.throttle(),
                "unavailable" => rule.unavailable(),
                _ => rule.drop_connection(),
            };

            let put = put_nine(&kinesis).await;

            assert_eq!(put.is_ok(), attempts == 3, "{fault:?}");
            assert_eq!(stored(&kinesis).await, if attempts == 3 { 9 } else { 0 }, "{fault:?}");
            assert_eq!(fault.count(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_makes_duplicates() {
    for attempts in [1, 3] {
        for truncate in [false, true] {
            let (aws, kinesis) = kinesis(attempts).await;
            let rule = aws.faults().on("kinesis:PutRecords").call(1);
            if truncate {
                rule.truncate_body()
            } else {
                rule.lose_response()
            };

            let put = put_nine(&kinesis).await;

            assert_eq!(put.is_ok(), attempts == 3, "{put:?}");
            assert_eq!(stored(&kinesis).await, if attempts == 3 { 18 } else { 9 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_a_call_after_it_took_effect() {
    let (aws, kinesis) = kinesis(1).await;
    aws.faults().on("kinesis:PutRecords").after_effect().throttle();

    let throttled = put_nine(&kinesis).await.unwrap_err().into_service_error();

    assert!(throttled.is_provisioned_throughput_exceeded_exception());
    aws.faults().clear();
    assert_eq!(stored(&kinesis).await, 9);
}

#[tokio::test(start_paused = true)]
async fn some_records_fail_and_are_stored_or_not() {
    for (after_effect, left) in [(false, 6), (true, 9)] {
        let (aws, kinesis) = kinesis(3).await;
        let rule = aws.faults().on("kinesis:PutRecords").times(1);
        if after_effect {
            rule.after_effect().fail_records(3)
        } else {
            rule.fail_records(3)
        };

        let answer = put_nine(&kinesis).await.unwrap();

        assert_eq!(answer.failed_record_count(), Some(3));
        for (n, result) in (1..).zip(answer.records()) {
            assert_eq!(result.error_code(), (n % 3 == 0).then_some("InternalFailure"));
            assert_eq!(result.sequence_number().is_none(), n % 3 == 0);
        }
        assert_eq!(stored(&kinesis).await, left);
    }
}

#[tokio::test(start_paused = true)]
async fn latency_passes_in_virtual_time_on_either_side_of_the_effect() {
    let (aws, kinesis) = kinesis(1).await;
    let (second, begun) = (Duration::from_secs(1), Instant::now());
    aws.faults().on("kinesis:*").delay(2 * second);
    aws.faults().on("kinesis:PutRecords").after_effect().delay(second);

    put_nine(&kinesis).await.unwrap();
    assert_eq!(begun.elapsed(), 3 * second);

    let given_up = tokio::time::timeout(Duration::from_millis(2500), put_nine(&kinesis)).await;
    assert!(given_up.is_err());
    aws.faults().clear();
    assert_eq!(stored(&kinesis).await, 18);
}

#[tokio::test(start_paused = true)]
async fn credentials_expire() {
    let (aws, kinesis) = kinesis(1).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws.sdk_config());

    let fault = aws.faults().on("*").expire_credentials();
    assert_eq!(code(kinesis.list_streams().send().await), "ExpiredTokenException");
    assert_eq!(code(dynamodb.list_tables().send().await), "ExpiredTokenException");

    fault.remove();
    kinesis.list_streams().send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_refusal_can_be_injected() {
    let (aws, kinesis) = kinesis(1).await;
    aws.faults().on("kinesis:ListShards").every(2).refuse(400, "KMSDisabledException", "the key is disabled");
    let list = || kinesis.list_shards().stream_name("s").send();

    list().await.unwrap();
    let refused = list().await;
    assert_eq!(message(refused), "the key is disabled");
    list().await.unwrap();
    assert_eq!(code(list().await), "KMSDisabledException");
}

#[tokio::test(start_paused = true)]
async fn chance_repeats_itself_with_its_seed() {
    let outcomes = async |seed| {
        let (aws, kinesis) = kinesis(1).await;
        aws.faults().seed(seed);
        aws.faults().on("kinesis:ListStreams").with_probability(0.3).fail();
        let mut outcomes = Vec::new();
        for _ in 0..100 {
            outcomes.push(kinesis.list_streams().send().await.is_ok());
        }
        outcomes
    };

    let first = outcomes(7).await;

    assert_eq!(first, outcomes(7).await);
    assert_ne!(first, outcomes(8).await);
    assert!(first.contains(&true) && first.contains(&false));
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_is_cut() {
    let (aws, kinesis) = kinesis(1).await;
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let from = StartingPosition::builder().r#type(ShardIteratorType::Latest).build().unwrap();
    aws.faults().on("kinesis:SubscribeToShard").cut_event_stream(2);

    let call = kinesis.subscribe_to_shard().consumer_arn(consumer.consumer().unwrap().consumer_arn());
    let mut events = call.shard_id(shard(0)).starting_position(from).send().await.unwrap().event_stream;

    assert!(events.recv().await.unwrap().is_some());
    assert!(events.recv().await.unwrap().is_some());
    let cut = events.recv().await.unwrap_err();
    assert!(!matches!(cut, SdkError::ServiceError(_)), "{cut:?}");
}

async fn leases() -> (LocalAws, aws_sdk_dynamodb::Client) {
    let aws = LocalAws::start().await;
    let config = aws.sdk_config().into_builder().retry_config(RetryConfig::disabled()).build();
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let key = KeySchemaElement::builder().attribute_name("k").key_type(KeyType::Hash).build().unwrap();
    let attribute = aws_sdk_dynamodb::types::AttributeDefinition::builder().attribute_name("k");
    let attribute = attribute.attribute_type(aws_sdk_dynamodb::types::ScalarAttributeType::S).build().unwrap();
    let create = dynamodb.create_table().table_name("leases").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(key).attribute_definitions(attribute).send().await.unwrap();
    (aws, dynamodb)
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

#[tokio::test(start_paused = true)]
async fn dynamodb_is_throttled_and_fails_in_its_own_words() {
    let (aws, dynamodb) = leases().await;
    let put = || dynamodb.put_item().table_name("leases").item("k", text("s0")).send();

    let fault = aws.faults().on("dynamodb:PutItem").throttle();
    assert!(put().await.unwrap_err().into_service_error().is_provisioned_throughput_exceeded_exception());
    fault.remove();
    let fault = aws.faults().on("dynamodb:PutItem").fail();
    assert!(put().await.unwrap_err().into_service_error().is_internal_server_error());
    fault.remove();
    aws.faults().on("dynamodb:DescribeTable").throttle();
    assert_eq!(code(dynamodb.describe_table().table_name("leases").send().await), "ThrottlingException");
    aws.faults().on("dynamodb:BatchExecuteStatement").throttle();
    let statement = BatchStatementRequest::builder().statement("SELECT * FROM leases").build().unwrap();
    let batch = dynamodb.batch_execute_statement().statements(statement).send().await;
    assert!(batch.unwrap_err().into_service_error().is_request_limit_exceeded());
    aws.faults().on("dynamodb:PutItem").lose_response();
    assert!(matches!(put().await, Err(SdkError::DispatchFailure(_))));

    let found = dynamodb.get_item().table_name("leases").key("k", text("s0")).send().await.unwrap();
    assert!(found.item().is_some());
}

#[tokio::test(start_paused = true)]
async fn transactions_conflict() {
    let (aws, dynamodb) = leases().await;
    aws.faults().on("dynamodb:*").conflict();
    let put = |key: &str| {
        let put = Put::builder().table_name("leases").item("k", text(key)).build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };

    let canceled = dynamodb.transact_write_items().transact_items(put("a")).transact_items(put("b")).send().await;
    let single = dynamodb.put_item().table_name("leases").item("k", text("a")).send().await;

    assert!(single.unwrap_err().into_service_error().is_transaction_conflict_exception());
    let canceled = canceled.unwrap_err().into_service_error();
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        canceled,
    ) = canceled
    else {
        panic!("{canceled:?}")
    };
    let codes: Vec<_> = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect();
    assert_eq!(codes, ["TransactionConflict", "None"]);
}

#[tokio::test(start_paused = true)]
async fn faults_of_one_service_leave_the_others_alone() {
    let (aws, kinesis) = kinesis(1).await;
    aws.faults().on("dynamodb:*").fail();

    assert_eq!(data(&get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::Latest).await).await).len(), 0);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "s3:GetObject is not like")]
async fn a_rule_about_no_service_is_a_mistake() {
    let aws = LocalAws::start().await;

    aws.faults().on("s3:GetObject").fail();
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_can_never_strike_is_a_mistake() {
    type Mistake = fn(FaultRule) -> Fault;
    let aws = LocalAws::start().await;
    let mistakes: [(&str, Mistake); 11] = [
        ("kinesis:PutRecordz", FaultRule::fail),
        ("dynamodb:PutRecords", FaultRule::fail),
        ("kinesis:PutRecords", |rule| rule.call(0).fail()),
        ("kinesis:PutRecords", |rule| rule.every(0).fail()),
        ("kinesis:PutRecords", |rule| rule.call(3).every(2).fail()),
        ("kinesis:PutRecords", |rule| rule.times(0).fail()),
        ("kinesis:PutRecords", |rule| rule.with_probability(f64::NAN).fail()),
        ("kinesis:PutRecords", |rule| rule.with_probability(1.1).fail()),
        ("kinesis:PutRecords", |rule| rule.fail_records(0)),
        ("kinesis:PutRecord", |rule| rule.fail_records(1)),
        ("kinesis:*", FaultRule::conflict),
    ];

    for (action, mistake) in mistakes {
        let faults = aws.faults().clone();
        let set = AssertUnwindSafe(|| mistake(faults.on(action)));
        assert!(catch_unwind(set).is_err(), "{action}");
    }
    aws.faults().on("*").with_probability(0.0).fail_records(1);
}
