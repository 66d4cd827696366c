//! Records with a trace context.

use super::*;
use crate::{error::RecordError, hash_key::HashKey, trace_context::TraceContext};

fn context(number: usize) -> TraceContext {
    let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", number + 1);
    TraceContext::parse(&parent).expect("valid")
}

fn traced(number: usize) -> UserRecord {
    record(number).with_trace_context(context(number))
}

/// Data, whether it came in an aggregate, and `traceparent` of what consumers get.
fn found(kinesis: &FakeKinesis) -> Vec<(String, bool, Option<String>)> {
    let records = kinesis.delivered().into_iter().map(|record| {
        let data = String::from_utf8_lossy(&record.data).into_owned();
        let parent = record.trace_context.map(|context| context.traceparent().to_owned());
        (data, record.sub_sequence_number.is_some(), parent)
    });
    records.collect()
}

fn expected(number: usize) -> (String, bool, Option<String>) {
    (number.to_string(), true, Some(context(number).traceparent().to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_lone_traced_record_is_an_aggregate_of_one() {
    for by_key in [false, true] {
        let kinesis = FakeKinesis::new(1);
        let by_key = by_key.then_some(Aggregation::ByPartitionKey { max_bytes: 51_200, max_records: 1000 });
        let producer = builder(&kinesis).aggregation(by_key.unwrap_or_default()).build().expect("valid settings");

        let delivered = producer.put(traced(0)).await.expect("accepted").await.expect("stored");

        assert_eq!(delivered.sub_sequence_number(), Some(0));
        assert_eq!(found(&kinesis), [expected(0)]);
    }
}

#[tokio::test(start_paused = true)]
async fn traced_records_keep_their_context_among_others() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let records = (0..200).map(|number| if number % 3 == 0 { traced(number) } else { record(number) });

    assert!(producer.put_all(records).await.iter().all(Result::is_ok));

    for (number, found) in found(&kinesis).into_iter().enumerate() {
        let expected = if number % 3 == 0 { expected(number) } else { (number.to_string(), true, None) };
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_survives_a_split_and_a_refusal() {
    let kinesis = FakeKinesis::new(1);
    let calls = AtomicUsize::new(0);
    let producer = producer(&kinesis);
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    kinesis.on_put(move |_| match calls.fetch_add(1, Relaxed) {
        1 => Reaction::Fail(error("ValidationException")),
        _ => Reaction::Accept,
    });
    let shard = kinesis.shards()[0].shard_id.clone();
    kinesis.split(&shard);

    let deliveries = producer.put_all((1..9).map(traced)).await;

    assert!(deliveries.iter().all(Result::is_ok));
    let mut found = found(&kinesis).split_off(1);
    found.sort();
    found.dedup();
    assert_eq!(found, (1..9).map(expected).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_fails_comes_back_with_its_context() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("AccessDeniedException")));

    let failed = producer(&kinesis).put_all([traced(1), traced(2)]).await;

    let returned = failed.into_iter().map(|failed| match failed.expect_err("refused") {
        RecordError::Failed(error) => error.into_record(),
        RecordError::Refused(error) => panic!("refused: {error}"),
    });
    assert_eq!(returned.collect::<Vec<_>>(), [traced(1), traced(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_without_room_for_its_context_is_sent_without() {
    let kinesis = FakeKinesis::new(1);
    let whole = UserRecord::new("k", vec![b'x'; (1 << 20) - 1]).with_trace_context(context(0));
    let off = builder(&kinesis).aggregation(Aggregation::Off).build().expect("valid settings");

    producer(&kinesis).put(whole).await.expect("accepted").await.expect("stored");
    off.put(traced(1)).await.expect("accepted").await.expect("stored");

    let found: Vec<_> =
        kinesis.delivered().into_iter().map(|record| (record.data.len(), record.trace_context)).collect();
    assert_eq!(found, [((1 << 20) - 1, None), (1, None)]);
}

#[tokio::test(start_paused = true)]
async fn a_large_traced_record_that_just_fits_keeps_its_context() {
    let kinesis = FakeKinesis::new(1);
    // Beside the data: magic and digest 20, table 3, field and length 4, index 2, data 4, tag 72, partition key "a" 1.
    for (data, kept) in [((1 << 20) - 106, true), ((1 << 20) - 105, false)] {
        let record = UserRecord::new("k", vec![b'x'; data]).with_trace_context(context(0));
        producer(&kinesis).put(record).await.expect("accepted").await.expect("stored");
        let last = kinesis.delivered().pop().expect("stored");
        assert_eq!((last.data.len(), last.trace_context.is_some()), (data, kept));
    }
}

#[tokio::test(start_paused = true)]
async fn the_buffer_counts_trace_contexts_too() {
    let kinesis = FakeKinesis::new(1);
    let producer = producer(&kinesis);
    let with_state = context(1).with_tracestate("vendor=1").expect("valid");

    let delivery = producer.put(UserRecord::new("k", "v").with_trace_context(with_state)).await.expect("accepted");

    assert_eq!(producer.outstanding_bytes(), 2 + 55 + 8);
    delivery.await.expect("stored");
    assert_eq!(producer.outstanding_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn traced_records_of_shards_unknown_keep_their_context() {
    let kinesis = FakeKinesis::new(2);
    kinesis.on_list(|| Reaction::Fail(error("AccessDeniedException")));

    let explicit = traced(3).with_explicit_hash_key(HashKey(9));
    producer(&kinesis).put(explicit).await.expect("accepted").await.expect("stored");

    assert_eq!(found(&kinesis), [expected(3)]);
}
