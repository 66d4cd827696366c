//! The producer as a whole, over a Kinesis in memory and under paused time.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Wake,
    time::Duration,
};

use aws_types::SdkConfig;
use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    config::Aggregation,
    delivery::Delivery,
    error::{ConfigError, DeliveryErrorKind, PutError},
    event::Event,
    producer::{Producer, builder::ProducerBuilder},
    record::UserRecord,
    testing::{FakeKinesis, Reaction},
};

const MS: Duration = Duration::from_millis(1);

fn builder(kinesis: &FakeKinesis) -> ProducerBuilder {
    Producer::builder(&SdkConfig::builder().build(), "StockTradeStream").kinesis(kinesis.clone())
}

fn producer(kinesis: &FakeKinesis) -> Producer {
    builder(kinesis).build().expect("valid settings")
}

fn record(number: usize) -> UserRecord {
    UserRecord::new(format!("key-{}", number % 5), number.to_string())
}

/// Waits until `condition` holds, for at most a second.
async fn until(condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            sleep(MS).await;
        }
    };
    timeout(Duration::from_secs(1), holds).await.expect("it holds within a second");
}

fn error(code: &str) -> KinesisError {
    KinesisError::from_code(code, "scripted", Some(400))
}

/// Data of what a KCL would deliver.
fn consumed(kinesis: &FakeKinesis) -> Vec<String> {
    kinesis.delivered().iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[track_caller]
fn assert_order_per_key(kinesis: &FakeKinesis) {
    let mut last = std::collections::HashMap::new();
    for record in kinesis.delivered() {
        let number: usize = String::from_utf8_lossy(&record.data).parse().expect("a number");
        let before = last.insert(record.partition_key.clone(), number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?} of {}", record.partition_key);
    }
}

/// The delivery, whose resolution panics in the task.
fn panics_when_woken(mut delivery: Delivery) -> Delivery {
    struct Panic;
    impl Wake for Panic {
        fn wake(self: Arc<Self>) {
            panic!("as told");
        }
    }
    assert!(delivery.poll_unpin(&mut std::task::Context::from_waker(&Arc::new(Panic).into())).is_pending());
    delivery
}

#[tokio::test(start_paused = true)]
async fn contains_a_panic_of_the_event_hook() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).on_event(|event| panic!("{event:?} on purpose")).build().expect("valid settings");

    for n in 0..3 {
        producer.put(record(n)).await.expect("accepted").await.expect("stored");
    }

    producer.shutdown().await;
    assert_eq!(consumed(&kinesis), ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_delivered_with_its_place() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);

    let first = producer.put(record(0)).await.expect("accepted");
    let second = producer.put(record(1)).await.expect("accepted");

    let (first, second) = (first.await.expect("stored"), second.await.expect("stored"));
    assert_eq!(first.shard_id().as_str(), "shardId-000000000000");
    assert_eq!(first.sequence_number(), second.sequence_number());
    assert_eq!((first.sub_sequence_number(), second.sub_sequence_number()), (Some(0), Some(1)));
    assert_eq!((first.attempts(), first.failed_attempts().len()), (1, 0));
    assert_eq!(producer.outstanding_records(), 0);
}

#[tokio::test(start_paused = true)]
async fn put_waits_for_space_and_try_put_hands_the_record_back() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = builder(&kinesis).max_outstanding_records(3).build().expect("valid settings");
    let mut deliveries = Vec::new();
    for n in 0..3 {
        deliveries.push(producer.put(record(n)).await.expect("accepted"));
    }

    let refused = producer.try_put(record(3)).expect_err("full");
    assert!(matches!(refused, PutError::BufferFull { .. }));
    assert_eq!(refused.into_record(), record(3));
    assert!(timeout(4 * Duration::from_secs(1), producer.put(record(3))).await.is_err(), "waits while full");

    kinesis.on_put(|_| Reaction::Accept);
    let fourth = producer.put(record(3)).await.expect("accepted when there is space");
    deliveries.push(fourth);
    for delivery in deliveries {
        delivery.await.expect("stored");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_besides_records() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let builder = builder(&kinesis).max_record_bytes(1000).max_outstanding_bytes(1000);
    let producer = builder.build().expect("valid settings");

    let _first = producer.try_put(UserRecord::new("k", vec![0; 500])).expect("fits");
    let refused = producer.try_put(UserRecord::new("k", vec![0; 499])).expect_err("one byte too many");
    assert!(matches!(refused, PutError::BufferFull { .. }));
    let _second = producer.try_put(UserRecord::new("k", vec![0; 498])).expect("fits exactly");
    assert_eq!((producer.outstanding_records(), producer.outstanding_bytes()), (2, 1000));
}

#[tokio::test(start_paused = true)]
async fn a_put_that_is_cancelled_is_not_sent_and_takes_no_space() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(50 * MS);
    let producer = builder(&kinesis).max_outstanding_records(1).build().expect("valid settings");
    let first = producer.put(record(0)).await.expect("accepted");

    let waiting = timeout(10 * MS, producer.put(record(1))).await;
    assert!(waiting.is_err());
    first.await.expect("stored");

    producer.put(record(2)).await.expect("accepted").await.expect("stored");
    assert_eq!(consumed(&kinesis), ["0", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_dropped_does_not_take_the_record_back() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);

    drop(producer.put(record(0)).await.expect("accepted"));
    producer.flush().await;

    assert_eq!(consumed(&kinesis), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_when_all_that_was_put_before_is_resolved_and_not_later() {
    let kinesis = FakeKinesis::new(2);
    kinesis.set_latency(30 * MS);
    let producer = builder(&kinesis).record_max_buffered_time(Duration::from_secs(10)).build().expect("valid settings");
    for n in 0..100 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    let began = Instant::now();

    producer.flush().await;

    assert_eq!(consumed(&kinesis).len(), 100);
    assert_eq!(began.elapsed(), 60 * MS, "one listing and one request");
    assert_eq!(producer.outstanding_records(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_wait_for_what_is_put_since() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).record_max_buffered_time(Duration::from_secs(10)).build().expect("valid settings");
    drop(producer.put(record(0)).await.expect("accepted"));

    let mut flush = Box::pin(producer.flush());
    assert!(futures::poll!(&mut flush).is_pending());
    drop(producer.put(record(1)).await.expect("accepted"));
    flush.await;

    assert!(producer.outstanding_records() <= 1);
    assert_eq!(consumed(&kinesis)[0], "0");
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_nothing_ends_at_once() {
    producer(&FakeKinesis::new(1)).flush().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_resolves_every_delivery_and_refuses_later_puts() {
    let kinesis = FakeKinesis::new(3);
    kinesis.set_latency(20 * MS);
    let producer = producer(&kinesis);
    let mut deliveries = Vec::new();
    for n in 0..1000 {
        deliveries.push(producer.put(record(n)).await.expect("accepted"));
    }
    let clone = producer.clone();

    producer.shutdown().await;

    let ended = Instant::now();
    for delivery in deliveries {
        delivery.await.expect("stored");
    }
    assert_eq!(ended.elapsed(), Duration::ZERO, "all were resolved");
    for refused in [clone.put(record(0)).await, clone.try_put(record(0))] {
        let refused = refused.expect_err("shut down");
        assert!(matches!(refused, PutError::ShutDown { .. }));
        assert_eq!(refused.into_record(), record(0));
    }
    clone.flush().await;
    clone.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_puts_that_wait_for_space() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(50 * MS);
    let producer = builder(&kinesis).max_outstanding_records(1).build().expect("valid settings");
    let first = producer.put(record(0)).await.expect("accepted");
    let mut waiting = Box::pin(producer.put(record(1)));
    assert!(futures::poll!(&mut waiting).is_pending(), "there is no space");

    producer.shutdown().await;

    first.await.expect("stored");
    let refused = waiting.await.expect_err("shut down");
    assert!(matches!(refused, PutError::ShutDown { .. }));
}

#[tokio::test(start_paused = true)]
async fn shutdown_goes_on_if_its_future_is_dropped() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(50 * MS);
    let producer = producer(&kinesis);
    let delivery = producer.put(record(0)).await.expect("accepted");

    assert!(timeout(MS, producer.shutdown()).await.is_err());

    assert!(producer.try_put(record(1)).is_err());
    delivery.await.expect("stored");
}

#[tokio::test(start_paused = true)]
async fn records_are_sent_after_the_last_handle_is_dropped() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let delivery = producer.put(record(0)).await.expect("accepted");

    drop(producer);

    delivery.await.expect("stored");
}

fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

#[test]
fn resolves_deliveries_with_their_records_when_the_runtime_stops() {
    let (runtime, other) = (paused_runtime(), paused_runtime());
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let (producer, in_flight, buffered) = runtime.block_on(async {
        let producer = producer(&kinesis);
        let in_flight = producer.put(record(0)).await.expect("accepted");
        until(|| kinesis.requests().len() == 1).await;
        let buffered = producer.put(record(1)).await.expect("accepted");
        (producer, in_flight, buffered)
    });

    drop(runtime);

    for (n, delivery) in [in_flight, buffered].into_iter().enumerate() {
        let error = other.block_on(delivery).expect_err("abandoned");
        assert_eq!((error.kind(), error.record()), (&DeliveryErrorKind::Abandoned, &record(n)));
    }
    assert!(matches!(producer.try_put(record(2)), Err(PutError::ShutDown { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_split_half_way_loses_nothing_and_keeps_the_order_of_each_key() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(15 * MS);
    let producer = producer(&kinesis);
    for n in 0..5000 {
        if n == 2500 {
            kinesis.split(&kinesis.shards()[0].shard_id);
        }
        drop(producer.put(record(n)).await.expect("accepted"));
        if n % 10 == 0 {
            sleep(MS).await;
        }
    }

    producer.shutdown().await;

    assert_eq!(kinesis.delivered().len(), 5000);
    assert_order_per_key(&kinesis);
    assert!(kinesis.listings() >= 2);
}

#[tokio::test(start_paused = true)]
async fn part_of_a_request_that_fails_is_sent_again() {
    let kinesis = FakeKinesis::new(4);
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |entries| match calls.fetch_add(1, Relaxed) {
        0 => Reaction::FailEntries(vec![(entries.len() - 1, error("InternalFailure"))]),
        _ => Reaction::Accept,
    });
    let producer = producer(&kinesis);
    for n in 0..100 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }

    producer.shutdown().await;

    assert_eq!(kinesis.delivered().len(), 100);
    let requests = kinesis.requests();
    assert_eq!((requests.len(), requests[1].len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn throttling_is_met_with_growing_pauses() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("ProvisionedThroughputExceededException")));
    let producer = producer(&kinesis);

    let failed = producer.put(record(0)).await.expect("accepted").await.expect_err("never accepted");

    assert_eq!(failed.kind(), &DeliveryErrorKind::Expired);
    assert_eq!(&*failed.attempts()[0].code, "ProvisionedThroughputExceededException");
    // Without pauses that grow there would be hundreds in 30 s.
    assert!((8..60).contains(&failed.attempts_made()), "{} attempts", failed.attempts_made());
    assert_eq!(kinesis.requests().len() as u32, failed.attempts_made());
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_fails_records_soon_and_then_at_once_with_the_cause() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("ResourceNotFoundException")));
    kinesis.on_list(|| Reaction::Fail(error("ResourceNotFoundException")));
    let producer = producer(&kinesis);
    let began = Instant::now();

    let failed = producer.put(record(0)).await.expect("accepted").await.expect_err("no such stream");

    assert!(failed.to_string().ends_with(" attempts: ResourceNotFoundException: scripted"), "{failed}");
    assert_eq!(failed.into_record(), record(0));
    assert!(began.elapsed() < Duration::from_secs(4), "it could have been created just now");
    let failed = producer.put(record(1)).await.expect("accepted").await.expect_err("no such stream");
    assert_eq!(failed.to_string(), "record not stored after 1 attempt: ResourceNotFoundException: scripted");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_not_accepted_fails_alone() {
    let kinesis = FakeKinesis::new(2);
    kinesis.on_put(|entries| match entries.iter().any(|entry| entry.data.len() > 100_000) {
        true => Reaction::Fail(error("ValidationException")),
        false => Reaction::Accept,
    });
    let producer = producer(&kinesis);
    let mut deliveries = Vec::new();
    for n in 0..50 {
        let record = if n == 20 { UserRecord::new("big", vec![0; 200_000]) } else { record(n) };
        deliveries.push(producer.put(record).await.expect("accepted"));
    }

    producer.flush().await;

    for (n, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.is_err(), n == 20, "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_fails_its_records_and_no_others() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Panic);
    let producer = producer(&kinesis);
    let failed = producer.put(record(0)).await.expect("accepted").await.expect_err("the call panics");

    let text = "record not stored after 1 attempt: CallPanicked: put records panics";
    assert_eq!(failed.to_string(), text);
    kinesis.on_put(|_| Reaction::Accept);
    producer.put(record(1)).await.expect("accepted").await.expect("stored");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_panics_disables_aggregation_only() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_list(|| Reaction::Panic);
    let producer = producer(&kinesis);

    let delivered = producer.put(record(0)).await.expect("accepted").await.expect("stored");

    assert_eq!(delivered.sub_sequence_number(), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_answer_is_given_up_and_made_again() {
    let kinesis = FakeKinesis::new(1);
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |_| if calls.fetch_add(1, Relaxed) == 0 { Reaction::Hang } else { Reaction::Accept });
    let producer = producer(&kinesis);

    let delivered = producer.put(record(0)).await.expect("accepted").await.expect("stored");

    assert_eq!(delivered.attempts(), 2);
    assert_eq!(delivered.failed_attempts()[0].to_string(), "Timeout: no answer within 6s");
    assert_eq!(delivered.failed_attempts()[0].duration, Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_happens() {
    let kinesis = FakeKinesis::new(2);
    kinesis.on_put(|_| Reaction::Fail(error("AccessDeniedException")));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let builder = builder(&kinesis).on_event(move |event| log.lock().expect("not poisoned").push(event.clone()));
    let producer = builder.build().expect("valid settings");

    producer.put(record(0)).await.expect("accepted").await.expect_err("denied");

    let stream = producer.stream().clone();
    let (code, message) = ("AccessDeniedException".into(), "scripted".into());
    let failed = Event::CallFailed { stream: stream.clone(), kinesis_records: 1, code, message };
    assert_eq!(*seen.lock().expect("not poisoned"), [Event::ShardMapUpdated { stream, open_shards: 2 }, failed]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_resolves_deliveries_and_surfaces_at_shutdown() {
    let producer = producer(&FakeKinesis::new(1));
    let _panics = panics_when_woken(producer.put(record(0)).await.expect("accepted"));

    let failed = producer.put(record(0)).await.expect("accepted").await.expect_err("the task has panicked");

    assert_eq!(failed.kind(), &DeliveryErrorKind::Abandoned);
    assert!(matches!(producer.put(record(1)).await, Err(PutError::ShutDown { .. })));
    let panic = AssertUnwindSafe(producer.shutdown()).catch_unwind().await.expect_err("re-raised");
    assert_eq!(panic_text(&*panic), "as told");
}

#[tokio::test(start_paused = true)]
async fn a_record_at_the_limit_is_accepted_and_one_byte_more_is_not() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let limit = 1024 * 1024;

    let delivery = producer.put(UserRecord::new("keys", vec![0; limit - 4])).await.expect("at the limit");
    delivery.await.expect("stored");
    let refused = producer.put(UserRecord::new("keys", vec![0; limit])).await.expect_err("above the limit");

    assert_eq!(refused.to_string(), "record is 1048580 bytes, above the 1048576-byte limit");
    assert_eq!(refused.into_record().data().len(), limit);
    let refused = producer.put(UserRecord::new("keys", vec![0; limit - 3])).await.expect_err("above the limit");
    assert_eq!(refused.to_string(), "record is 1048577 bytes, above the 1048576-byte limit");
}

#[tokio::test(start_paused = true)]
async fn ten_mebibyte_records_go_one_at_a_time() {
    let kinesis = FakeKinesis::new(1);
    let ten = 10 * 1024 * 1024;
    let builder = builder(&kinesis).max_record_bytes(ten).collection_max_bytes(ten);
    let producer = builder.build().expect("valid settings");

    for _ in 0..2 {
        drop(producer.put(UserRecord::new("k", vec![0; ten - 1])).await.expect("accepted"));
    }
    producer.shutdown().await;

    assert_eq!(kinesis.requests().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn partition_keys_are_counted_in_characters() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);

    for key in ["é".repeat(256), "𝄞".repeat(256), "k".into()] {
        let delivery = producer.put(UserRecord::new(key, "")).await.expect("1 to 256 characters");
        delivery.await.expect("stored");
    }
    for (key, chars) in [(String::new(), 0), ("é".repeat(257), 257), ("k".repeat(257), 257)] {
        let refused = producer.try_put(UserRecord::new(key.as_str(), "")).expect_err("not acceptable");
        assert_eq!(refused.to_string(), format!("partition key has {chars} characters, Kinesis accepts 1 to 256"));
        assert_eq!(refused.into_record().partition_key(), key);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_producer_does_nothing() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect("stored");

    sleep(Duration::from_secs(3600)).await;

    assert_eq!((kinesis.requests().len(), kinesis.listings()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_of_different_shards_run_side_by_side() {
    let kinesis = FakeKinesis::new(64);
    kinesis.set_latency(Duration::from_secs(1));
    let builder = builder(&kinesis).aggregation(Aggregation::Off).max_in_flight(5);
    let producer = builder.record_max_buffered_time(Duration::ZERO).build().expect("valid settings");
    let first = producer.put(UserRecord::new("first", "64")).await.expect("accepted");
    first.await.expect("stored, and the shards are listed");

    for n in 0..64 {
        drop(producer.put(UserRecord::new(format!("key-{n}"), n.to_string())).await.expect("accepted"));
        sleep(MS).await;
    }
    producer.shutdown().await;

    assert_eq!(kinesis.most_running(), 5);
    assert_eq!(kinesis.delivered().len(), 65);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_producer() {
    let kinesis = FakeKinesis::new(3);
    kinesis.set_latency(10 * MS);
    let producer = builder(&kinesis).max_outstanding_records(500).build().expect("valid settings");
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let producer = producer.clone();
            tokio::spawn(async move {
                for n in 0..500 {
                    let record = UserRecord::new(format!("caller-{caller}"), n.to_string());
                    drop(producer.put(record).await.expect("accepted"));
                    assert!(producer.outstanding_records() <= 500);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }

    producer.shutdown().await;

    assert_eq!(kinesis.delivered().len(), 8000);
    assert_order_per_key(&kinesis);
}

#[test]
fn a_producer_needs_a_runtime_and_valid_settings() {
    let build = || builder(&FakeKinesis::new(1)).record_ttl(None).record_ttl(Duration::from_secs(1));

    assert_eq!(build().build().expect_err("no runtime"), ConfigError::NoRuntime);
    let refused = build().max_in_flight(0).build().expect_err("out of bounds");
    assert_eq!(refused.to_string(), "max_in_flight is 0, accepted: 1 to 256");
    let refused = Producer::builder(&SdkConfig::builder().build(), "no stream").build().expect_err("a space");
    assert_eq!(refused.to_string(), r#"stream "no stream" is not a stream name or a stream ARN"#);
}

mod described;
mod ending;
mod fronts;
mod full;
mod health;
mod idle;
mod many;
mod metering;
mod nested;
mod numbered;
mod outage;
mod streams;
mod traced;
