//! Links of limited bandwidth, and what answers in between.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use kinesis_local::{Link, LocalAws};
use tokio::time::{Instant, timeout};

use super::{code, get, iterator, shard};

/// A Kinesis with one stream, `s`, behind a link, and a client that tries once.
async fn kinesis(link: &Link) -> (LocalAws, Client) {
    let aws = LocalAws::start().await;
    let retries = RetryConfig::disabled();
    let kinesis = Client::new(&aws.sdk_config_over(link).into_builder().retry_config(retries).build());
    kinesis.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    (aws, kinesis)
}

async fn put_bytes(kinesis: &Client, bytes: usize) {
    let put = kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new(vec![0; bytes]));
    put.send().await.unwrap();
}

fn assert_about(measured: Duration, seconds: f64) {
    assert!((measured.as_secs_f64() / seconds - 1.0).abs() < 0.02, "{measured:?} instead of {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn requests_and_answers_take_their_time_on_a_link() {
    let link = Link::unlimited();
    let (_aws, kinesis) = kinesis(&link).await;
    let (sent, received, begun) = (link.bytes_sent(), link.bytes_received(), Instant::now());
    link.limit(10_000);

    put_bytes(&kinesis, 75_000).await;
    assert_about(begun.elapsed(), 10.0);
    assert!((100_000..100_100).contains(&(link.bytes_sent() - sent)));

    let begun = Instant::now();
    let answer = get(&kinesis, &iterator(&kinesis, &shard(0), ShardIteratorType::TrimHorizon).await).await;
    assert_eq!(answer.records()[0].data().as_ref().len(), 75_000);
    assert_about(begun.elapsed(), 10.1);
    assert!((100_000..101_500).contains(&(link.bytes_received() - received)));
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_share_a_link() {
    let link = Link::unlimited();
    let (_aws, kinesis) = kinesis(&link).await;
    link.limit(3_000_000);
    let begun = Instant::now();

    let timed = async |bytes: usize| {
        put_bytes(&kinesis, bytes).await;
        begun.elapsed()
    };
    let (large, other, small) = tokio::join!(timed(750_000), timed(750_000), timed(75_000));

    assert!(small < Duration::from_millis(150), "{small:?}");
    assert_about(large.max(other), 0.7);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_frees_the_link() {
    let link = Link::unlimited();
    let (_aws, kinesis) = kinesis(&link).await;
    link.limit(1_000);
    let sent = link.bytes_sent();

    timeout(Duration::from_secs(5), put_bytes(&kinesis, 75_000)).await.unwrap_err();

    // And the part that was on its way.
    assert_about(Duration::from_millis(link.bytes_sent() - sent), 5.05);
    let begun = Instant::now();
    kinesis.list_shards().stream_name("s").send().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn events_take_their_time_on_a_link() {
    let link = Link::unlimited();
    let (_aws, kinesis) = kinesis(&link).await;
    put_bytes(&kinesis, 75_000).await;
    let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    let consumer = kinesis.register_stream_consumer().stream_arn(stream).consumer_name("app").send().await.unwrap();
    let from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build().unwrap();
    link.limit(10_000);

    let begun = Instant::now();
    let call = kinesis.subscribe_to_shard().consumer_arn(consumer.consumer().unwrap().consumer_arn());
    let mut events = call.shard_id(shard(0)).starting_position(from).send().await.unwrap().event_stream;
    events.recv().await.unwrap().unwrap();

    assert_about(begun.elapsed(), 10.1);
}

#[tokio::test]
#[should_panic(expected = "a link that carries nothing")]
async fn a_link_that_carries_nothing_is_a_mistake() {
    Link::new(0);
}

#[tokio::test(start_paused = true)]
async fn a_bare_answer_has_its_status_and_no_code() {
    let (aws, kinesis) = kinesis(&Link::unlimited()).await;
    for (status, body) in [(403, ""), (408, "{}"), (413, "<html>too large</html>"), (503, "")] {
        let fault = aws.faults().on("kinesis:ListStreams").answer_bare(status, body);

        let error = kinesis.list_streams().send().await.unwrap_err();

        assert_eq!(fault.count(), 1);
        let raw = error.raw_response().unwrap();
        assert_eq!((raw.status().as_u16(), raw.body().bytes()), (status, Some(body.as_bytes())));
        assert!(raw.headers().get("x-amzn-requestid").is_none());
        assert!(!matches!(error, SdkError::DispatchFailure(_)));
        assert_eq!(code(Err::<(), _>(error)), "none");
        fault.remove();
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_strikes_requests_by_their_size() {
    let (aws, kinesis) = kinesis(&Link::unlimited()).await;
    let fault = aws.faults().on("kinesis:PutRecord").larger_than(10_000).answer_bare(413, "");
    let put = |bytes| {
        let put = kinesis.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new(vec![0; bytes])).send()
    };

    put(7_400).await.unwrap();
    assert_eq!(put(7_600).await.unwrap_err().raw_response().unwrap().status().as_u16(), 413);
    put(7_400).await.unwrap();

    assert_eq!(fault.count(), 1);
}
