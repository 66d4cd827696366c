//! The end of a producer, and clocks that do odd things.

use super::*;
use crate::error::ShutdownError;

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_limit_resolves_everything_by_then() {
    let kinesis = FakeKinesis::new(4);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = builder(&kinesis).record_ttl(None).max_outstanding_records(1000).build().expect("valid settings");
    let mut deliveries = Vec::new();
    for n in 0..1000 {
        deliveries.push(producer.put(record(n)).await.expect("accepted"));
        sleep(MS).await;
    }
    let began = Instant::now();

    let ended = producer.shutdown_within(Duration::from_secs(3)).await;

    assert_eq!(ended, Err(ShutdownError::Abandoned { records: 1000 }));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let error = delivery.await.expect_err("abandoned");
        assert_eq!((error.kind(), error.record()), (&DeliveryErrorKind::Abandoned, &record(n)));
    }
    producer.shutdown_within(Duration::MAX).await.expect("nothing is left");
}

#[track_caller]
fn assert_nothing_outstanding(producer: &Producer) {
    let snapshot = producer.snapshot();
    assert_eq!((snapshot.outstanding_records, snapshot.outstanding_bytes), (0, 0));
    assert_eq!(snapshot.oldest_record_age, None);
}

#[tokio::test(start_paused = true)]
async fn counts_nothing_as_outstanding_after_a_shutdown_with_a_limit() {
    let kinesis = FakeKinesis::new(2);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = producer(&kinesis);
    for n in 0..10 {
        drop(producer.put(record(n)).await.expect("accepted"));
        sleep(100 * MS).await;
    }
    assert_eq!(producer.outstanding_records(), 10);

    producer.shutdown_within(100 * MS).await.expect_err("they are stuck");

    assert_nothing_outstanding(&producer);
}

#[tokio::test(start_paused = true)]
async fn counts_nothing_as_outstanding_after_a_panic_of_the_task() {
    let producer = producer(&FakeKinesis::new(1));
    let _panics = panics_when_woken(producer.try_put(record(0)).expect("accepted"));
    let deliveries: Vec<_> = (0..10).map(|n| producer.try_put(record(n)).expect("accepted")).collect();

    for delivery in deliveries {
        delivery.await.expect_err("the task has panicked");
    }

    assert_nothing_outstanding(&producer);
}

#[test]
fn counts_nothing_as_outstanding_after_the_end_of_the_runtime() {
    let runtime = paused_runtime();
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let producer = runtime.block_on(async {
        let producer = producer(&kinesis);
        drop(producer.put(record(0)).await.expect("accepted"));
        until(|| kinesis.requests().len() == 1).await;
        drop(producer.put(record(1)).await.expect("accepted"));
        producer
    });
    assert_eq!(producer.outstanding_records(), 2);

    drop(runtime);

    assert_nothing_outstanding(&producer);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_limit_ends_early_when_all_is_stored() {
    let kinesis = FakeKinesis::new(4);
    kinesis.set_latency(50 * MS);
    let producer = producer(&kinesis);
    let delivery = producer.put(record(0)).await.expect("accepted");
    let began = Instant::now();

    producer.shutdown_within(Duration::MAX).await.expect("all is stored");

    delivery.await.expect("stored");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_given_up_goes_on_without_its_limit() {
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(Duration::from_secs(2));
    let producer = producer(&kinesis);
    let delivery = producer.put(record(0)).await.expect("accepted");

    assert!(timeout(MS, producer.shutdown_within(Duration::from_secs(1))).await.is_err());

    delivery.await.expect("stored");
}

/// A function instance that is frozen between its invocations: the clock leaps, and then everything is due at once.
#[tokio::test(start_paused = true)]
async fn expires_late_records_after_a_leap_of_the_clock_and_stores_the_next() {
    let kinesis = FakeKinesis::new(2);
    let producer = builder(&kinesis).record_max_buffered_time(Duration::from_secs(20)).build().expect("valid settings");
    let late = producer.put(record(0)).await.expect("accepted");
    until(|| producer.snapshot().oldest_record_age.is_some()).await;

    tokio::time::advance(Duration::from_secs(3600)).await;

    assert_eq!(late.await.expect_err("an hour late").kind(), &DeliveryErrorKind::Expired);
    let next = producer.put(record(1)).await.expect("accepted");
    producer.flush().await;
    next.await.expect("stored");
}

#[tokio::test(start_paused = true)]
async fn a_flush_at_the_end_of_each_invocation_leaves_nothing_to_the_next() {
    let kinesis = FakeKinesis::new(2);
    kinesis.set_latency(5 * MS);
    let producer = producer(&kinesis);
    let mut took = Vec::new();
    for invocation in 0..10 {
        let began = Instant::now();
        for n in 0..20 {
            drop(producer.put(record(invocation * 20 + n)).await.expect("accepted"));
        }
        producer.flush().await;
        took.push(began.elapsed());
        assert_eq!(kinesis.delivered().len(), (invocation + 1) * 20);
        tokio::time::advance(Duration::from_secs(40)).await;
    }

    assert!(took[1..].iter().all(|took| *took == 5 * MS), "no longer than a request: {took:?}");
}

#[test]
fn ends_a_flush_after_the_records_before_it_when_the_runtime_stops() {
    struct Look {
        delivery: Mutex<Delivery>,
        resolved: Mutex<Option<bool>>,
    }
    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let resolved = self.delivery.lock().expect("not poisoned").poll_unpin(&mut cx).is_ready();
            *self.resolved.lock().expect("not poisoned") = Some(resolved);
        }
    }
    let runtime = paused_runtime();
    let kinesis = FakeKinesis::new(1);
    kinesis.on_put(|_| Reaction::Hang);
    let (producer, delivery) = runtime.block_on(async {
        let producer = producer(&kinesis);
        let delivery = producer.put(record(0)).await.expect("accepted");
        sleep(Duration::from_secs(1)).await;
        (producer, delivery)
    });
    let look = Arc::new(Look { delivery: Mutex::new(delivery), resolved: Mutex::new(None) });
    let mut flush = Box::pin(producer.flush());
    assert!(flush.poll_unpin(&mut std::task::Context::from_waker(&look.clone().into())).is_pending());

    drop(runtime);

    assert_eq!(*look.resolved.lock().expect("not poisoned"), Some(true), "when the flush ends");
}

/// An executor that polls a task where it is woken.
#[test]
fn ends_flushes_that_are_polled_by_their_waker() {
    struct Inline {
        flush: Mutex<Option<futures::future::BoxFuture<'static, ()>>>,
        ended: std::sync::mpsc::Sender<()>,
    }
    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let waker = self.clone().into();
            let mut flush = self.flush.lock().expect("not poisoned");
            if flush
                .as_mut()
                .is_some_and(|flush| flush.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_ready())
            {
                *flush = None;
                self.ended.send(()).expect("somebody waits");
            }
        }
    }
    let kinesis = FakeKinesis::new(1);
    kinesis.set_latency(50 * MS);
    let front = builder(&kinesis).build_blocking().expect("valid settings");
    let producer = front.as_async().clone();
    drop(producer.try_put(record(0)).expect("accepted"));
    let (ended, end) = std::sync::mpsc::channel();

    let flush = async move { producer.flush().await }.boxed();
    Arc::new(Inline { flush: Mutex::new(Some(flush)), ended }).wake();

    let found = end.recv_timeout(Duration::from_secs(5));
    if found.is_err() {
        std::mem::forget(front); // its thread is stuck
    }
    found.expect("all is stored");
}
