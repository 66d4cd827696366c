//! A full buffer: nothing waits for company that cannot come.

use futures::{FutureExt as _, SinkExt as _};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A producer whose records wait for company for a minute.
fn patient(kinesis: &FakeKinesis, change: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
    kinesis.set_latency(20 * MS);
    let builder = builder(kinesis).record_max_buffered_time(MINUTE).record_ttl(None);
    change(builder).build().expect("valid settings")
}

#[tokio::test(start_paused = true)]
async fn a_put_that_waits_for_space_sends_what_takes_it_up() {
    let kinesis = FakeKinesis::new(4);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_records(100));
    let began = Instant::now();

    for n in 0..1000 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let outcomes = producer.put_all((1000..2000).map(record)).await;

    assert!(outcomes.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(kinesis.delivered().len(), 2000);
    assert_order_per_key(&kinesis);
}

#[tokio::test(start_paused = true)]
async fn a_record_as_large_as_the_buffer_waits_for_no_company_of_others() {
    let kinesis = FakeKinesis::new(1);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_bytes(1 << 20));
    drop(producer.put(record(0)).await.expect("accepted"));
    let began = Instant::now();

    drop(producer.put(UserRecord::new("k", vec![0; (1 << 20) - 1])).await.expect("accepted"));

    assert!(began.elapsed() <= 40 * MS, "a listing and a request: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_put_that_is_refused_sends_what_takes_up_the_space() {
    let kinesis = FakeKinesis::new(1);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_records(3));
    for n in 0..3 {
        drop(producer.try_put(record(n)).expect("there is space"));
    }

    assert!(producer.try_put(record(3)).is_err());
    until(|| producer.outstanding_records() == 0).await;

    assert!(producer.try_put(record(3)).is_ok());
    assert_eq!((consumed(&kinesis), kinesis.requests().len()), (vec!["0".into(), "1".into(), "2".into()], 1));
}

#[tokio::test(start_paused = true)]
async fn each_time_that_the_buffer_is_full_a_put_that_is_refused_sends_it() {
    let kinesis = FakeKinesis::new(1);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_records(4).stream_shares(false));
    let other = producer.to_stream("other").expect("a name");

    for round in 0..5 {
        for n in 0..4 {
            let producer = if n == round { &other } else { &producer };
            drop(producer.try_put(record(n)).expect("there is space"));
        }
        (0..3).for_each(|_| assert!(producer.try_put(record(4)).is_err() && other.try_put(record(4)).is_err()));
        until(|| producer.outstanding_records() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_flushes_also_while_a_record_waits_for_space() {
    let kinesis = FakeKinesis::new(1);
    let mut sink = patient(&kinesis, |builder| builder.max_outstanding_records(5)).sink();
    let began = Instant::now();

    for n in 0..6 {
        sink.feed(record(n)).await.expect("accepted");
    }
    sink.flush().await.expect("all are stored");

    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(kinesis.delivered().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_waits_while_another_stream_takes_up_the_space_sends_that() {
    let kinesis = FakeKinesis::new(1);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_records(10));
    let other = producer.to_stream("other").expect("a name");
    for n in 0..10 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    let began = Instant::now();

    drop(other.put(record(10)).await.expect("accepted"));

    assert!(began.elapsed() <= 40 * MS, "a listing and a request: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_buffer_with_space_refuses_nothing_however_fast_records_come() {
    let kinesis = FakeKinesis::new(4);
    let producer = builder(&kinesis).max_outstanding_records(20_000).build().expect("valid settings");

    let refused = (0..20_000).filter(|n| producer.try_put(record(*n)).is_err()).count();

    assert_eq!((refused, producer.outstanding_records()), (0, 20_000));
    assert!(matches!(producer.try_put(record(0)), Err(PutError::BufferFull { .. })));
    let turns = tokio::spawn({
        let producer = producer.clone();
        async move {
            let mut turns = 0;
            while producer.outstanding_records() == 20_000 {
                yield_now().await;
                turns += 1;
            }
            turns
        }
    });
    producer.flush().await;
    assert_eq!(kinesis.delivered().len(), 20_000);
    let turns = turns.await.expect("no panic");
    assert!(turns > 1, "other tasks have their turn in between");
    assert_order_per_key(&kinesis);
}

#[tokio::test(start_paused = true)]
async fn collects_records_again_while_a_full_buffer_is_sent() {
    let kinesis = FakeKinesis::new(1);
    let producer = patient(&kinesis, |builder| builder.max_outstanding_records(10));
    for n in 0..11 {
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    until(|| producer.outstanding_records() == 1).await;

    assert_eq!(kinesis.delivered().len(), 10);
    assert!(producer.put(record(11)).now_or_never().is_some(), "there is space");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(kinesis.delivered().len(), 10);
}
