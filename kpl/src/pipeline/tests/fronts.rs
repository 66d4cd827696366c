//! Other ways to put: batches, a sink, threads without a runtime, and the hook that encodes.

use std::thread;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, stream};

use super::*;
use crate::{error::RecordError, producer::blocking::BlockingProducer};

#[tokio::test(start_paused = true)]
async fn put_all_returns_the_outcomes_in_order_and_waits_for_no_company() {
    let kinesis = FakeKinesis::new(4);
    kinesis.set_latency(30 * MS);
    let producer = builder(&kinesis).record_max_buffered_time(Duration::from_secs(10)).build().expect("valid settings");
    let began = Instant::now();

    let records = (0..100).map(|n| if n == 7 { UserRecord::new("", "7") } else { record(n) });
    let outcomes = producer.put_all(records).await;

    assert_eq!(began.elapsed(), 60 * MS, "one listing and one request");
    assert_eq!(outcomes.len(), 100);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(n, 7),
            Err(error) => {
                assert!(n == 7 && matches!(error, RecordError::Refused(PutError::InvalidPartitionKey { .. })));
                assert_eq!(error.into_record().data(), "7");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn put_all_of_more_than_the_buffer_holds_goes_through() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).max_outstanding_records(10).build().expect("valid settings");

    let outcomes = producer.put_all((0..1000).map(record)).await;

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((kinesis.delivered().len(), producer.outstanding_records()), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn put_all_does_not_wait_for_what_others_put() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|entries| match entries[0].data.len() {
        60_000 => Reaction::Hang,
        _ => Reaction::Accept,
    });
    let producer = builder(&kinesis).aggregation(Aggregation::Off).build().expect("valid settings");
    let stuck = producer.put(UserRecord::new("k", vec![0; 60_000])).await.expect("accepted");
    until(|| kinesis.requests().len() == 1).await;

    let wait = Duration::from_secs(10);
    assert!(timeout(wait, producer.put_all([])).await.expect("nothing to wait for").is_empty());
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn put_all_waits_200_ms_for_shards_that_cannot_be_listed() {
    let kinesis = FakeKinesis::new(4);
    kinesis.on_list(|| Reaction::Hang);
    let producer = builder(&kinesis).record_max_buffered_time(Duration::from_secs(10)).build().expect("valid settings");
    let began = Instant::now();

    let outcomes = producer.put_all((0..10).map(record)).await;

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(began.elapsed(), 200 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_sink_stores_everything_when_it_is_closed() {
    let kinesis = FakeKinesis::new(2);
    kinesis.set_latency(10 * MS);
    let producer = builder(&kinesis).max_outstanding_records(50).build().expect("valid settings");

    let records = stream::iter(0..1000).map(|n| Ok(record(n)));
    records.forward(producer.sink()).await.expect("all are stored");

    assert_eq!((kinesis.delivered().len(), producer.outstanding_records()), (1000, 0));
    assert_order_per_key(&kinesis);
}

#[tokio::test(start_paused = true)]
async fn a_sink_hands_back_what_is_not_stored_and_goes_on() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|entries| match entries.iter().any(|entry| entry.data.len() > 100_000) {
        true => Reaction::Fail(error("ValidationException")),
        false => Reaction::Accept,
    });
    let mut sink = producer(&kinesis).sink();
    sink.feed(record(0)).await.expect("accepted");
    sink.feed(UserRecord::new("big", vec![0; 200_000])).await.expect("accepted");
    sink.feed(record(2)).await.expect("accepted");

    let failed = sink.flush().await.expect_err("one is not stored");
    assert_eq!(failed.record().partition_key(), "big");
    sink.flush().await.expect("nothing is left");
    let refused = sink.send(UserRecord::new("", "x")).await.expect_err("no partition key");
    assert!(matches!(refused, RecordError::Refused(_)));
    sink.close().await.expect("nothing is left");
    assert_eq!(consumed(&kinesis), ["0", "2"]);
}

fn blocking(kinesis: &FakeKinesis) -> BlockingProducer {
    builder(kinesis).max_outstanding_records(100).build_blocking().expect("valid settings")
}

#[test]
fn threads_without_a_runtime_put_and_wait() {
    let kinesis = FakeKinesis::new(2);
    let producer = blocking(&kinesis);

    thread::scope(|scope| {
        for thread in 0..4 {
            let producer = producer.clone();
            scope.spawn(move || {
                for n in 0..250 {
                    drop(producer.put(record(thread * 250 + n)).expect("accepted"));
                }
                producer.put(record(1000 + thread)).expect("accepted").wait().expect("stored");
            });
        }
    });
    let outcomes = producer.put_all((2000..2050).map(record));
    assert!(outcomes.iter().all(Result::is_ok));
    drop(producer.to_stream("other").expect("a name").put(record(3000)).expect("accepted"));
    producer.flush();

    assert_eq!(kinesis.delivered().len(), 1055);
    producer.shutdown();
    assert!(matches!(producer.try_put(record(0)), Err(PutError::ShutDown { .. })));
}

#[test]
fn dropping_the_last_blocking_handle_waits_until_everything_is_stored() {
    let kinesis = FakeKinesis::new(2);
    kinesis.set_latency(20 * MS);
    let producer = blocking(&kinesis);
    (0..50).for_each(|n| drop(producer.put(record(n)).expect("accepted")));

    drop(producer);

    assert_eq!(kinesis.delivered().len(), 50);
}

#[test]
fn dropping_the_last_blocking_handle_refuses_what_async_handles_put_then() {
    let kinesis = FakeKinesis::new(1);
    let producer = blocking(&kinesis);
    let handle = producer.as_async().clone();
    let stream = handle.to_stream("other").expect("a name");
    producer.put(record(0)).expect("accepted").wait().expect("stored");
    let (ended, end) = std::sync::mpsc::channel();

    thread::spawn(move || {
        drop(producer);
        ended.send(()).expect("somebody waits");
    });

    end.recv_timeout(Duration::from_secs(20)).expect("nothing is outstanding, and the pipeline is idle");
    for handle in [handle, stream] {
        assert!(matches!(handle.try_put(record(1)), Err(PutError::ShutDown { .. })));
    }
}

#[test]
fn a_blocking_shutdown_ends_in_time() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = blocking(&kinesis);
    let delivery = producer.put(record(0)).expect("accepted");

    let ended = producer.shutdown_within(50 * MS).expect_err("one record is stuck");

    assert_eq!(ended.to_string(), "1 records were not resolved in time");
    assert_eq!(delivery.wait().expect_err("abandoned").into_record(), record(0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_producer_of_a_runtime_serves_threads_as_well() {
    let kinesis = FakeKinesis::new(1);
    let front = producer(&kinesis).blocking();

    let putting = tokio::task::spawn_blocking(move || front.put(record(0)).expect("accepted").wait().expect("stored"));

    putting.await.expect("no panic");
    assert_eq!(consumed(&kinesis), ["0"]);
}

fn panics<R>(call: impl FnOnce() -> R) -> bool {
    std::panic::catch_unwind(AssertUnwindSafe(call)).is_err()
}

#[tokio::test(flavor = "current_thread")]
async fn blocking_calls_panic_in_async_code_also_when_they_need_not_wait() {
    let kinesis = FakeKinesis::new(1);
    let front = producer(&kinesis).blocking();
    let delivery = front.try_put(record(0)).expect("accepted: it never waits");
    front.as_async().flush().await;

    assert!(panics(|| front.put(record(1))));
    assert!(panics(|| front.put_all([])));
    assert!(panics(|| front.flush()));
    assert!(panics(|| delivery.wait()));
    assert!(panics(|| front.shutdown_within(MS)));
    assert!(panics(|| front.shutdown()));
    assert_eq!(consumed(&kinesis), ["0"]);
}

#[tokio::test(flavor = "current_thread")]
async fn blocking_calls_work_in_threads_of_a_runtime_that_may_block() {
    let kinesis = FakeKinesis::new(1);
    let front = producer(&kinesis).blocking();
    let (of_runtime, entered) = (front.clone(), front.clone());
    let handle = tokio::runtime::Handle::current();

    let putting = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::try_current().expect("a thread of the runtime");
        of_runtime.put(record(0)).expect("accepted").wait().expect("stored");
    });
    putting.await.expect("no panic");
    let putting = tokio::task::spawn_blocking(move || {
        let entering = move || {
            let _entered = handle.enter();
            entered.put(record(1)).expect("accepted").wait().expect("stored");
        };
        thread::spawn(entering).join()
    });

    assert!(putting.await.expect("no panic").is_ok());
    assert_eq!(consumed(&kinesis), ["0", "1"]);
}

/// Half of the data.
fn halved(record: &UserRecord) -> Result<Bytes, std::io::Error> {
    match record.data().len() {
        0 => Err(std::io::Error::other("no data")),
        bytes => Ok(record.data().slice(..bytes / 2)),
    }
}

#[tokio::test(start_paused = true)]
async fn data_are_sent_encoded_and_the_size_is_that_of_the_encoded_data() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).encode(halved).max_record_bytes(101).build().expect("valid settings");

    let first = producer.put(UserRecord::new("k", vec![1; 200])).await.expect("fits when encoded");
    first.await.expect("stored");
    let refused = producer.put(UserRecord::new("k", vec![1; 202])).await.expect_err("does not");

    assert_eq!(refused.to_string(), "record is 102 bytes, above the 101-byte limit");
    assert_eq!(refused.into_record().data().len(), 202, "as it was put");
    assert_eq!(kinesis.delivered()[0].data.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_encoded_record_that_is_not_stored_comes_back_as_it_was_put() {
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Fail(error("AccessDeniedException")));
    let producer = builder(&kinesis).encode(halved).build().expect("valid settings");
    let put = UserRecord::new("key", "12345678");

    let delivery = producer.put(put.clone()).await.expect("accepted");
    assert_eq!(producer.outstanding_bytes(), 3 + 4 + 8, "both forms");

    assert_eq!(delivery.await.expect_err("denied").into_record(), put);
    assert_eq!(producer.outstanding_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_encoded_is_refused_with_the_reason() {
    let producer = builder(&FakeKinesis::new(1)).encode(halved).build().expect("valid settings");

    let refused = producer.put(UserRecord::new("k", "")).await.expect_err("no data");

    assert_eq!(refused.to_string(), "record cannot be encoded");
    assert_eq!(std::error::Error::source(&refused).expect("a source").to_string(), "no data");
    assert_eq!(refused.into_record(), UserRecord::new("k", ""));
}
