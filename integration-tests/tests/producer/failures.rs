//! The producer under refusals, faults and silence: what may pass is tried again, what cannot is reported with its
//! cause, in few calls.

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use aws_types::{SdkConfig, region::Region};
use bytes::Bytes;
use integration_tests::{SHARD, STREAM, World, failures, user_record};
use kinesis_local::LocalAws;
use kpl::{Aggregation, ConfigError, DeliveryErrorKind, Producer, RecordOrder, UserRecord, aggregated::Deaggregator};
use tokio::time::{Instant, sleep};

fn producer(aws: &SdkConfig) -> Producer {
    Producer::builder(aws, STREAM).build().expect("settings are right")
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_for_a_wrong_clock_is_signed_anew() {
    let world = World::start(1).await;
    let text = "Signature expired: 20261128T100000Z is now earlier than 20261128T101000Z (20261128T101500Z - 5 min.)";
    for code in ["InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "RequestInTheFuture"] {
        world.local.faults().on("kinesis:PutRecords").times(1).refuse(400, code, text);
        assert!(failures(&world.producer(), (0..100).map(user_record)).await.is_empty(), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_costs_no_record() {
    let world = World::start(1).await;
    let producer = world.producer();
    for hours in 1..3 {
        assert!(failures(&producer, (0..100).map(user_record)).await.is_empty());
        world.local.set_clock_ahead(Duration::from_secs(3600 * hours));
        let put = producer.put(user_record(0)).await.expect("record is fine").await.expect("stored");
        assert_eq!(&*put.failed_attempts()[0].code, "InvalidSignatureException");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_fails_records_within_seconds_and_then_at_once() {
    let world = World::start(1).await;
    let text = "The request signature we calculated does not match the signature you provided.";
    world.local.faults().on("kinesis:*").refuse(400, "InvalidSignatureException", text);
    let (producer, begun) = (world.producer(), Instant::now());

    let failed = failures(&producer, (0..100).map(user_record)).await;
    assert!(failed.len() == 100 && begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(failed.iter().all(|error| error.to_string().ends_with(text)), "{}", failed[0]);
    let failed = failures(&producer, (0..100).map(user_record)).await;
    assert!(failed.iter().all(|error| error.attempts_made() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_appears_after_a_moment_gets_what_was_put_before() {
    let world = World::start(2).await;
    for code in ["ResourceNotFoundException", "ResourceInUseException"] {
        let fault = world.local.faults().on("kinesis:*").refuse(400, code, "not yet");
        let producer = world.producer();
        let appears = async {
            sleep(Duration::from_secs(2)).await;
            fault.remove();
        };

        let (failed, ()) = tokio::join!(failures(&producer, (0..100).map(user_record)), appears);
        assert!(failed.is_empty(), "{code}: {}", failed[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_for_a_proxy_is_taken_apart() {
    let world = World::start(1).await;
    world.local.faults().on("kinesis:PutRecords").larger_than(3 << 20).answer_bare(413, "");
    let builder = Producer::builder(&world.aws, STREAM).aggregation(Aggregation::Off);
    let producer = builder.build().expect("settings are right");
    let mut records: Vec<_> = (0..40).map(user_record).collect();
    records.insert(20, UserRecord::new("big", vec![0; 4 << 20]));

    let failed = failures(&producer, records).await;

    assert_eq!(failed.len(), 1, "{}", failed[0]);
    assert_eq!(failed[0].record().partition_key(), "big");
    assert!(failed[0].to_string().contains("413"), "{}", failed[0]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_code_is_judged_by_its_status() {
    let world = World::start(1).await;
    let puts = || world.local.faults().on("kinesis:PutRecords");
    for status in [401, 403, 404, 407] {
        for body in ["", "{}", "<html>no</html>"] {
            let fault = puts().answer_bare(status, body);
            let failed = failures(&world.producer(), [user_record(0), user_record(1)]).await;
            fault.remove();

            assert!(failed.len() == 2 && failed.iter().all(|error| error.attempts_made() == 1), "{status} {body}");
            let DeliveryErrorKind::Rejected { code, .. } = failed[0].kind() else { panic!("{}", failed[0]) };
            assert_eq!(**code, *format!("Http{status}"));
        }
    }
    for status in [408, 421, 425, 500, 503] {
        let fault = puts().times(2).answer_bare(status, "<html>later</html>");
        assert!(failures(&world.producer(), [user_record(0), user_record(1)]).await.is_empty(), "{status}");
        assert_eq!(fault.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_without_a_region_is_refused_and_records_fail_at_once_without_credentials() {
    let local = LocalAws::start().await;
    let complete = local.sdk_config();
    let builder = || {
        let version = complete.behavior_version().expect("there is one");
        let client = complete.http_client().expect("the embedded AWS is an HTTP client");
        SdkConfig::builder().behavior_version(version).http_client(client)
    };
    let aws = builder().region(Region::new("eu-west-1")).build();
    let credentials = complete.credentials_provider().expect("there are some");
    let no_region = builder().credentials_provider(credentials).build();
    let begun = Instant::now();
    let failed = failures(&producer(&aws), (0..10).map(user_record)).await;
    assert!(failed.len() == 10 && begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(failed[0].to_string().contains("identity") && failed[0].attempts_made() == 1, "{}", failed[0]);

    let build = |aws: &SdkConfig| Producer::builder(aws, STREAM).build();
    let with_endpoint = no_region.to_builder().endpoint_url("http://localhost:4567").build();
    for aws in [no_region, with_endpoint] {
        let refused = build(&aws).expect_err("there is no region");
        assert!(
            matches!(refused, ConfigError::MissingRegion) && refused.to_string().contains("AWS_REGION"),
            "{refused}"
        );
        let client = aws_sdk_kinesis::Client::new(&complete);
        let with_client = Producer::builder(&aws, STREAM).kinesis_client(client).build();
        assert!(with_client.is_ok(), "the client has a region");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_every_request_reaches_every_record_in_few_calls() {
    for (records, aggregation) in
        [(5_000, Aggregation::default()), (100_000, Aggregation::default()), (5_000, Aggregation::Off)]
    {
        let world = World::start(4).await;
        let text = "StreamARN does not match the endpoint's region";
        let fault = world.local.faults().on("kinesis:PutRecords").refuse(400, "InvalidArgumentException", text);
        world.local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(20));
        let producer = Producer::builder(&world.aws, STREAM).aggregation(aggregation).build().expect("settings");

        let failed = failures(&producer, (0..records).map(user_record)).await;

        assert_eq!(failed.len() as u64, records);
        for error in &failed {
            assert!(matches!(error.kind(), DeliveryErrorKind::Rejected { .. }), "{error}");
            assert!(error.to_string().ends_with(text) && error.attempts_made() > 0, "{error}");
        }
        assert!(fault.count() <= 48, "{} calls for {records} records", fault.count());
        fault.remove();
        assert!(failures(&producer, (0..100).map(user_record)).await.is_empty(), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_records_in_a_row_do_not_take_good_ones_down() {
    let world = World::start(1).await;
    let producer = world.producer();
    let bad = |_| UserRecord::new("bad", vec![0; 2 << 20]);

    let failed = failures(&producer, (0..20).map(bad).chain((0..100).map(user_record))).await;

    assert_eq!(failed.len(), 20);
    assert!(failed.iter().all(|error| error.record().partition_key() == "bad"));
}

#[tokio::test(start_paused = true)]
async fn a_description_that_is_throttled_once_leaves_the_limit_unknown() {
    let world = World::start(1).await;
    world.take_records_of(10_240).await;
    world.local.faults().on("kinesis:DescribeStreamSummary").times(1).throttle();
    let producer = world.producer();
    let big = || UserRecord::new("big", vec![0; 3 << 20]);

    producer.put(user_record(1)).await.expect("record is fine").await.expect("stored");
    assert_eq!(producer.max_record_bytes(), 10 << 20);
    producer.put(big()).await.expect("may be fine").await.expect("stored");

    let described = world.calls("kinesis:DescribeStreamSummary");
    for id in 0..30 {
        drop(producer.put(user_record(id)).await.expect("record is fine"));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(described.count(), 1, "it is asked for again after one or two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_permission_to_describe_that_comes_late_is_noticed() {
    let world = World::start(1).await;
    world.take_records_of(2048).await;
    world.local.deny("kinesis:DescribeStreamSummary");
    let producer = world.producer();
    producer.put(user_record(0)).await.expect("record is fine").await.expect("stored");
    assert_eq!(producer.max_record_bytes(), 1 << 20);

    world.local.allow("kinesis:DescribeStreamSummary");
    for id in 0..70 {
        sleep(Duration::from_secs(10)).await;
        producer.put(user_record(id)).await.expect("record is fine").await.expect("stored");
    }

    assert_eq!(producer.max_record_bytes(), 2 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_a_listing_that_hangs() {
    let world = World::start(2).await;
    world.local.faults().on("kinesis:ListShards").delay(Duration::from_secs(3600));
    let builder = Producer::builder(&world.aws, STREAM).record_max_buffered_time(Duration::from_secs(20));
    let (producer, begun) = (builder.build().expect("settings are right"), Instant::now());
    for id in 0..100 {
        drop(producer.put(user_record(id)).await.expect("record is fine"));
    }

    producer.flush().await;

    assert!(begun.elapsed() <= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(producer.outstanding_records(), 0);
}

/// Data of a stream of one shard, in order.
async fn stored(world: &World) -> Vec<String> {
    let iterator = world.kinesis.get_shard_iterator().stream_name(STREAM).shard_id(SHARD);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("shard exists");
    let read = world.kinesis.get_records().set_shard_iterator(iterator.shard_iterator);
    let read = read.send().await.expect("iterator is new");
    let user_records = read.records().iter().flat_map(|record| {
        Deaggregator::new().deaggregate("k", &Bytes::copy_from_slice(record.data().as_ref())).records
    });
    user_records.map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_refused_request_are_not_overtaken_by_later_ones() {
    for (order, aggregation) in [
        (RecordOrder::PerPartitionKey, Aggregation::default()),
        (RecordOrder::PerPartitionKey, Aggregation::Off),
        (RecordOrder::Strict, Aggregation::default()),
    ] {
        let world = World::start(1).await;
        let builder = Producer::builder(&world.aws, STREAM).aggregation(aggregation).record_order(order);
        let producer = builder.build().expect("settings are right");
        producer.put(UserRecord::new("k", "0")).await.expect("record is fine").await.expect("stored");
        let faults = world.local.faults();
        faults.on("kinesis:PutRecords").call(1).refuse(400, "InvalidArgumentException", "one is bad");
        faults.on("kinesis:PutRecords").call(2).fail_records(1);

        let failed = failures(&producer, (1..9).map(|id| UserRecord::new("k", id.to_string()))).await;

        assert!(failed.is_empty(), "{}", failed[0]);
        assert_eq!(stored(&world).await, (0..9).map(|id| id.to_string()).collect::<Vec<_>>(), "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_were_never_sent_name_what_every_request_met() {
    let world = World::start(1).await;
    world.local.faults().on("kinesis:PutRecords").unavailable();
    let builder = Producer::builder(&world.aws, STREAM).record_ttl(Duration::from_secs(10)).max_in_flight(1);
    let producer = builder.build().expect("settings are right");

    let failed = failures(&producer, (0..20_000).map(user_record)).await;

    assert_eq!(failed.len(), 20_000);
    assert!(failed.iter().any(|error| error.attempts_made() == 0), "one aggregate at a time is tried");
    for error in &failed {
        assert_eq!(error.kind(), &DeliveryErrorKind::Expired);
        assert!(error.to_string().contains("ServiceUnavailable"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_of_a_process_that_was_frozen_say_so() {
    let world = World::start(1).await;
    let producer = world.producer();
    producer.put(user_record(0)).await.expect("record is fine").await.expect("stored");
    let late = producer.put(user_record(1)).await.expect("record is fine");
    sleep(Duration::from_millis(1)).await;

    tokio::time::advance(Duration::from_secs(600)).await;

    let error = late.await.expect_err("ten minutes late");
    assert_eq!((error.kind(), error.attempts_made()), (&DeliveryErrorKind::Expired, 0));
    assert!(error.to_string().contains("nothing ran for 599"), "{error}");
}
