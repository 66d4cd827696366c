//! A service that is down or slow.

use std::sync::atomic::AtomicBool;

use super::*;

/// Puts 2,000 records a second to 1,000 shards for `seconds`; returns the requests of each second.
async fn requests_per_second(producer: &Producer, kinesis: &FakeKinesis, seconds: usize) -> Vec<usize> {
    let mut counts = Vec::new();
    for second in 0..seconds {
        let before = kinesis.requests().len();
        for put in 0..20 {
            for n in 0..100 {
                let record = UserRecord::new(format!("key-{}", (second * 20 + put) * 100 + n), "x");
                drop(producer.put(record).await.expect("accepted"));
            }
            sleep(50 * MS).await;
        }
        counts.push(kinesis.requests().len() - before);
    }
    counts
}

async fn assert_calls_do_not_multiply(reaction: impl Fn(&[Entry]) -> Reaction + Send + 'static) {
    let kinesis = FakeKinesis::new(1000);
    kinesis.set_latency(20 * MS);
    let down = Arc::new(AtomicBool::new(false));
    let is_down = down.clone();
    kinesis.on_put(move |entries| if is_down.load(Relaxed) { reaction(entries) } else { Reaction::Accept });
    let failures = Arc::new(AtomicUsize::new(0));
    let count = failures.clone();
    let builder = builder(&kinesis).on_event(move |event| {
        count.fetch_add(usize::from(matches!(event, Event::CallFailed { .. })), Relaxed);
    });
    let producer = builder.build().expect("valid settings");

    let well = requests_per_second(&producer, &kinesis, 5).await;
    down.store(true, Relaxed);
    let ill = requests_per_second(&producer, &kinesis, 20).await;
    down.store(false, Relaxed);

    let max = well.iter().max().expect("five seconds");
    assert!(ill.iter().all(|requests| requests <= max), "{well:?}, then {ill:?}");
    assert!(failures.load(Relaxed) <= ill.iter().sum());
    producer.flush().await;
    assert_eq!(kinesis.delivered().len(), 50_000, "nothing has expired");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_met_with_no_more_calls_than_before() {
    assert_calls_do_not_multiply(|_| {
        Reaction::Fail(KinesisError::from_code("ServiceUnavailable", "scripted", Some(503)))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_fails_each_entry_is_met_with_no_more_calls_than_before() {
    assert_calls_do_not_multiply(|entries| {
        Reaction::FailEntries((0..entries.len()).map(|n| (n, error("InternalFailure"))).collect())
    })
    .await;
}

/// Passes calls through two tasks, as an HTTP client does.
struct Remote(FakeKinesis);

impl crate::kinesis::Kinesis for Remote {
    fn put_records(
        &self,
        request: PutRecordsRequest,
    ) -> crate::kinesis::BoxFuture<'_, Result<Vec<crate::kinesis::EntryResult>, KinesisError>> {
        let kinesis = self.0.clone();
        let call = async move { kinesis.put_records(request).await };
        let call = tokio::spawn(async { tokio::spawn(call).await.expect("no panic") });
        Box::pin(async { call.await.expect("no panic") })
    }

    fn list_shards(
        &self,
        stream: Stream,
    ) -> crate::kinesis::BoxFuture<'_, Result<Vec<crate::kinesis::Shard>, KinesisError>> {
        self.0.list_shards(stream)
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lies_there_after_a_freeze_wins_over_the_time_out() {
    let kinesis = FakeKinesis::new(1);
    let producer = builder(&kinesis).kinesis(Remote(kinesis.clone())).build().expect("valid settings");
    producer.put(record(0)).await.expect("accepted").await.expect("stored");
    kinesis.set_latency(100 * MS);
    let delivery = producer.put(record(1)).await.expect("accepted");
    sleep(150 * MS).await;

    tokio::time::advance(Duration::from_secs(9)).await;

    assert_eq!(delivery.await.expect("stored").attempts(), 1);
    assert_eq!(kinesis.requests().len(), 2);
}

/// A stream that is deleted and created again, while ListShards hangs.
async fn forgotten_shards() -> Producer {
    let kinesis = FakeKinesis::new(2);
    let builder = builder(&kinesis).record_max_buffered_time(Duration::from_secs(20)).record_ttl(None);
    let producer = builder.build().expect("valid settings");
    drop(producer.put(record(0)).await.expect("accepted"));
    producer.flush().await;
    kinesis.on_list(|| Reaction::Hang);
    let calls = AtomicUsize::new(0);
    kinesis.on_put(move |_| match calls.fetch_add(1, Relaxed) {
        0 => Reaction::Fail(error("ResourceNotFoundException")),
        _ => Reaction::Accept,
    });
    drop(producer.put(record(1)).await.expect("accepted"));
    producer
}

#[tokio::test(start_paused = true)]
async fn ends_a_second_flush_within_200_ms_while_shards_are_unknown() {
    let producer = forgotten_shards().await;
    let _first = timeout(Duration::from_secs(1), producer.flush()).await;
    let began = Instant::now();

    producer.flush().await;

    assert!(began.elapsed() <= 200 * MS, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn ends_a_flush_soon_though_shards_are_forgotten_meanwhile() {
    let producer = forgotten_shards().await;
    let began = Instant::now();

    producer.flush().await;

    assert!(began.elapsed() <= 500 * MS, "{:?}", began.elapsed());
}
