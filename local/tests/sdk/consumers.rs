//! Registering, describing, listing and deregistering consumers.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ConsumerStatus;
use kinesis_local::LocalAws;
use tokio::time::sleep;

use super::{code, kinesis, message};

const STREAM: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

async fn register(kinesis: &Client, name: &str) -> String {
    let answer = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name(name).send().await.unwrap();
    answer.consumer.unwrap().consumer_arn
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_found_by_name_and_by_arn() {
    let kinesis = kinesis(1).await;

    let answer = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await.unwrap();
    let registered = answer.consumer().unwrap();
    assert_eq!(registered.consumer_status(), &ConsumerStatus::Creating);
    let second = registered.consumer_creation_timestamp().secs();
    assert_eq!(registered.consumer_arn(), format!("{STREAM}/consumer/app:{second}"));

    let by_name = kinesis.describe_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await.unwrap();
    let by_arn = kinesis.describe_stream_consumer().consumer_arn(registered.consumer_arn()).send().await.unwrap();
    for answer in [by_name, by_arn] {
        let consumer = answer.consumer_description().unwrap();
        assert_eq!((consumer.consumer_name(), consumer.stream_arn()), ("app", STREAM));
        assert_eq!(consumer.consumer_status(), &ConsumerStatus::Active);
        assert_eq!(consumer.consumer_creation_timestamp(), registered.consumer_creation_timestamp());
    }
    let summary = kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary().unwrap().consumer_count(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn names_a_consumer_that_does_not_exist() {
    let kinesis = kinesis(1).await;
    let describe = || kinesis.describe_stream_consumer();

    let missing = describe().stream_arn(STREAM).consumer_name("app").send().await;
    assert_eq!(message(missing), "Consumer app under stream s under account 000000000000 not found.");
    for arn in [format!("{STREAM}/consumer/app:1"), format!("{STREAM}x/consumer/app:1")] {
        assert_eq!(code(describe().consumer_arn(arn).send().await), "ResourceNotFoundException");
    }
    assert_eq!(code(describe().consumer_arn(STREAM).send().await), "ValidationException");
    assert_eq!(code(describe().stream_arn(STREAM).send().await), "InvalidArgumentException");
    assert_eq!(code(describe().send().await), "InvalidArgumentException");
    let elsewhere = kinesis.register_stream_consumer().stream_arn(format!("{STREAM}x")).consumer_name("app");
    assert_eq!(code(elsewhere.send().await), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn consumers_are_listed_in_pages() {
    let kinesis = kinesis(1).await;
    for name in ["c", "a", "b"] {
        register(&kinesis, name).await;
    }

    let first = kinesis.list_stream_consumers().stream_arn(STREAM).max_results(2).send().await.unwrap();
    let rest = kinesis.list_stream_consumers().stream_arn(STREAM).next_token(first.next_token().unwrap()).send();
    let rest = rest.await.unwrap();

    let names = |consumers: &[aws_sdk_kinesis::types::Consumer]| {
        consumers.iter().map(|consumer| consumer.consumer_name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(first.consumers()), ["a", "b"]);
    assert_eq!((names(rest.consumers()), rest.next_token()), (vec!["c".to_owned()], None));

    sleep(Duration::from_secs(301)).await;
    let late = kinesis.list_stream_consumers().stream_arn(STREAM).next_token(first.next_token().unwrap()).send().await;
    assert_eq!(code(late), "ExpiredNextTokenException");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_until_the_consumer_is_deregistered() {
    let kinesis = kinesis(1).await;
    let arn = register(&kinesis, "app").await;

    let again = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await;
    assert!(again.unwrap_err().into_service_error().is_resource_in_use_exception());

    kinesis.deregister_stream_consumer().consumer_arn(arn).send().await.unwrap();
    register(&kinesis, "app").await;
    kinesis.deregister_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await.unwrap();
    let gone = kinesis.describe_stream_consumer().stream_arn(STREAM).consumer_name("app").send().await;
    assert!(gone.unwrap_err().into_service_error().is_resource_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_at_most_twenty_consumers_and_goes_only_with_them() {
    let kinesis = kinesis(1).await;
    for n in 0..20 {
        register(&kinesis, &n.to_string()).await;
    }

    let more = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("more").send().await;
    assert!(more.unwrap_err().into_service_error().is_limit_exceeded_exception());

    let in_use = kinesis.delete_stream().stream_name("s").send().await;
    assert!(in_use.unwrap_err().into_service_error().is_resource_in_use_exception());
    kinesis.delete_stream().stream_name("s").enforce_consumer_deletion(true).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn keeps_a_new_consumer_creating_for_as_long_as_configured() {
    let aws = LocalAws::builder()
        .registering_takes(Duration::from_secs(20))
        .deleting_takes(Duration::from_secs(10))
        .start()
        .await;
    let kinesis = Client::new(&aws.sdk_config());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    let status = async |arn: &str| {
        let answer = kinesis.describe_stream_consumer().consumer_arn(arn).send().await.unwrap();
        answer.consumer_description().unwrap().consumer_status().clone()
    };
    let mut arns = Vec::new();
    for n in 0..5 {
        arns.push(register(&kinesis, &n.to_string()).await);
    }

    let sixth = kinesis.register_stream_consumer().stream_arn(STREAM).consumer_name("more").send().await;
    assert!(sixth.unwrap_err().into_service_error().is_limit_exceeded_exception());
    assert_eq!(status(&arns[0]).await, ConsumerStatus::Creating);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(status(&arns[0]).await, ConsumerStatus::Active);

    kinesis.deregister_stream_consumer().consumer_arn(&arns[0]).send().await.unwrap();
    assert_eq!(status(&arns[0]).await, ConsumerStatus::Deleting);
    sleep(Duration::from_secs(10)).await;
    let gone = kinesis.describe_stream_consumer().consumer_arn(&arns[0]).send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn all_names_of_a_consumer_must_agree() {
    let kinesis = kinesis(1).await;
    let arn = register(&kinesis, "app").await;
    register(&kinesis, "other").await;
    let describe = |stream: &str, name| {
        kinesis.describe_stream_consumer().stream_arn(stream).consumer_name(name).consumer_arn(&arn)
    };

    let answer = describe(STREAM, "app").send().await.unwrap();
    assert_eq!(answer.consumer_description().unwrap().consumer_arn(), arn);

    let refusal = describe(STREAM, "other").send().await;
    assert_eq!(message(refusal), format!("ConsumerARN {arn} is not of the consumer other of StreamARN {STREAM}."));
    for (stream, name) in [(STREAM, "other"), ("arn:aws:kinesis:us-east-1:000000000000:stream/t", "app")] {
        assert_eq!(code(describe(stream, name).send().await), "InvalidArgumentException");
        let deregister = kinesis.deregister_stream_consumer().stream_arn(stream).consumer_name(name).consumer_arn(&arn);
        assert_eq!(code(deregister.send().await), "InvalidArgumentException");
    }
    assert_eq!(
        code(kinesis.describe_stream_consumer().consumer_arn(&arn).consumer_name("app").send().await),
        "InvalidArgumentException"
    );
    let deregister = kinesis.deregister_stream_consumer().stream_arn(STREAM).consumer_name("app").consumer_arn(&arn);
    deregister.send().await.unwrap();
    let gone = kinesis.describe_stream_consumer().consumer_arn(&arn).send().await;
    assert_eq!(code(gone), "ResourceNotFoundException");
}
