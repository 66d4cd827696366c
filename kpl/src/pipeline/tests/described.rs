//! Streams with limits of their own.

use super::*;
use crate::kinesis::StreamSummary;

fn summary(max_record_bytes: usize) -> StreamSummary {
    StreamSummary { max_record_bytes: Some(max_record_bytes), ..StreamSummary::default() }
}

/// A producer, and what it tells.
fn observed(builder: ProducerBuilder) -> (Producer, Arc<Mutex<Vec<Event>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let builder = builder.on_event(move |event| log.lock().expect("not poisoned").push(event.clone()));
    (builder.build().expect("valid settings"), seen)
}

#[tokio::test(start_paused = true)]
async fn a_streams_larger_limit_is_detected() {
    let kinesis = FakeKinesis::new(1);
    kinesis.describe_as(Ok(summary(4 << 20)));
    let producer = producer(&kinesis);

    let largest = UserRecord::new("k", vec![0; (4 << 20) - 1]);
    producer.put(largest).await.expect("the limit is not known").await.expect("stored");
    let refused = producer.put(UserRecord::new("k", vec![0; 4 << 20])).await.expect_err("now it is");

    assert_eq!(refused.to_string(), "record is 4194305 bytes, above the 4194304-byte limit");
    assert_eq!((producer.max_record_bytes(), kinesis.descriptions()), (4 << 20, 1));
}

#[tokio::test(start_paused = true)]
async fn a_configured_limit_holds_below_the_streams() {
    let kinesis = FakeKinesis::new(1);
    kinesis.describe_as(Ok(summary(4 << 20)));
    let producer = builder(&kinesis).max_record_bytes(1000).build().expect("valid settings");

    assert!(matches!(producer.try_put(UserRecord::new("k", vec![0; 1000])), Err(PutError::TooLarge { .. })));
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    assert_eq!(producer.max_record_bytes(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_denied_description_is_one_warning_and_repeated_after_ten_minutes() {
    let kinesis = FakeKinesis::new(2);
    kinesis.describe_as(Err(error("AccessDeniedException")));
    let (producer, seen) = observed(builder(&kinesis));

    for n in 0..100 {
        producer.put(record(n)).await.expect("accepted").await.expect("stored");
        sleep(Duration::from_secs(10)).await;
    }

    let seen = seen.lock().expect("not poisoned");
    assert_eq!(seen.iter().filter(|event| matches!(event, Event::StreamNotDescribed { .. })).count(), 1);
    assert_eq!((kinesis.descriptions(), producer.max_record_bytes()), (2, 1 << 20));
    assert!(kinesis.listings() > 10);
}

#[tokio::test(start_paused = true)]
async fn a_description_without_answer_delays_aggregation_only() {
    let kinesis = FakeKinesis::new(2);
    kinesis.set_latency(Duration::from_secs(60));
    let producer = builder(&kinesis).request_timeout(Duration::from_secs(100)).build().expect("valid settings");
    let began = Instant::now();

    let delivery = producer.put(record(0)).await.expect("accepted");

    delivery.await.expect("stored");
    assert_eq!(began.elapsed(), Duration::from_millis(60_100));
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_another_one_defeats_is_told_when_the_producer_is_built() {
    let (_producer, seen) = observed(builder(&FakeKinesis::new(1)).record_ttl(Duration::from_secs(1)));

    let seen = seen.lock().expect("not poisoned");
    assert!(matches!(seen[..], [Event::SettingDefeated { setting: "record_ttl", .. }]), "{seen:?}");
}
