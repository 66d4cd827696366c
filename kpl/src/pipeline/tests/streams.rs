//! One producer, many streams.

use std::collections::HashMap;

use super::*;
use crate::kinesis::{BoxFuture, EntryResult, Kinesis, Shard};

/// A Kinesis in memory for each stream.
#[derive(Clone, Default)]
struct Account {
    /// Held to look a stream up.
    streams: Arc<Mutex<HashMap<String, FakeKinesis>>>,
}

impl Account {
    fn stream(&self, name: &str) -> FakeKinesis {
        let mut streams = self.streams.lock().expect("not poisoned");
        streams.entry(name.to_owned()).or_insert_with(|| FakeKinesis::new(2)).clone()
    }

    fn producer(&self, change: impl FnOnce(ProducerBuilder) -> ProducerBuilder) -> Producer {
        let builder = Producer::builder(&SdkConfig::builder().build(), "first").kinesis(self.clone());
        change(builder).build().expect("valid settings")
    }
}

impl Kinesis for Account {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        let kinesis = self.stream(&request.stream.to_string());
        Box::pin(async move { kinesis.put_records(request).await })
    }

    fn list_shards(&self, stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        let kinesis = self.stream(&stream.to_string());
        Box::pin(async move { kinesis.list_shards(stream).await })
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn records_go_to_the_stream_of_their_handle() {
    let account = Account::default();
    let first = account.producer(|builder| builder);
    let second = first.to_stream("second").expect("a name");

    for n in 0..100 {
        let producer = if n % 2 == 0 { &first } else { &second };
        drop(producer.put(record(n)).await.expect("accepted"));
    }
    first.flush().await;

    for (name, rest) in [("first", 0), ("second", 1)] {
        let delivered = account.stream(name).delivered();
        let number = |data: &[u8]| String::from_utf8_lossy(data).parse::<usize>().expect("a number");
        assert_eq!(delivered.len(), 50);
        assert!(delivered.iter().all(|record| number(&record.data) % 2 == rest));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_stream_before_its_first_record() {
    let account = Account::default();
    let first = account.producer(|builder| builder);
    let second = first.to_stream("second").expect("a name");
    first.flush().await;

    second.put(record(0)).await.expect("accepted").await.expect("stored");

    assert_eq!((account.stream("first").listings(), account.stream("second").listings()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_buffer_is_for_all_streams_together() {
    let account = Account::default();
    let first = account.producer(|builder| builder.max_outstanding_records(2));
    let second = first.to_stream("second").expect("a name");
    account.stream("first").on_put(|_| Reaction::Hang);

    let _stuck = [first.try_put(record(0)), first.try_put(record(1))];

    assert!(matches!(second.try_put(record(2)), Err(PutError::BufferFull { .. })));
    assert_eq!(second.outstanding_records(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_stuck_does_not_hold_up_puts_to_others() {
    let account = Account::default();
    let first = account.producer(|builder| builder.max_outstanding_records(100).record_ttl(None));
    let second = first.to_stream("second").expect("a name");
    second.put(record(0)).await.expect("accepted").await.expect("stored");
    account.stream("first").on_put(|_| Reaction::Hang);
    let stuck = tokio::spawn(async move {
        for n in 0..1000 {
            drop(first.put(record(n)).await.expect("accepted"));
        }
    });
    sleep(MINUTE).await;
    assert_eq!(second.outstanding_records(), 50);

    let began = Instant::now();
    for n in 0..1000 {
        drop(second.put(record(n)).await.expect("accepted"));
    }
    second.flush_stream().await;

    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!stuck.is_finished());
    account.stream("first").on_put(|_| Reaction::Accept);
    stuck.await.expect("all are accepted now");
}

#[tokio::test(start_paused = true)]
async fn keeps_the_space_of_a_stuck_stream_until_it_is_resolved() {
    let account = Account::default();
    let first = account.producer(|builder| builder.max_outstanding_records(100));
    let second = first.to_stream("second").expect("a name");
    account.stream("first").on_put(|_| Reaction::Hang);
    assert_eq!((0..1000).filter(|n| first.try_put(record(*n)).is_ok()).count(), 100);

    let wait = Duration::from_secs(20);
    assert!(timeout(wait, second.put(record(0))).await.is_err());
    let put = timeout(wait, second.put(record(0))).await.expect("the others have expired");

    put.expect("accepted").await.expect("stored");
}

#[tokio::test(start_paused = true)]
async fn gives_all_space_to_one_stream_without_shares() {
    let account = Account::default();
    let first = account.producer(|builder| builder.max_outstanding_records(100).stream_shares(false));
    let second = first.to_stream("second").expect("a name");
    second.put(record(0)).await.expect("accepted").await.expect("stored");
    account.stream("first").on_put(|_| Reaction::Hang);

    let accepted = (0..1000).filter(|n| first.try_put(record(*n)).is_ok()).count();

    assert_eq!(accepted, 100);
    assert!(second.try_put(record(0)).is_err());
}

#[test]
fn resolves_records_accepted_during_a_shutdown_when_it_returns() {
    for n in 0..500 {
        let kinesis = FakeKinesis::new(1);
        let producer = builder(&kinesis).build_blocking().expect("valid settings");
        let front = producer.clone();
        let putting = std::thread::spawn(move || front.try_put(record(n)));

        producer.shutdown();

        let accepted = usize::from(putting.join().expect("no panic").is_ok());
        assert_eq!((kinesis.delivered().len(), producer.as_async().outstanding_records()), (accepted, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_stuck_does_not_hold_the_flush_of_another() {
    let account = Account::default();
    let first = account.producer(|builder| builder);
    let second = first.to_stream("second").expect("a name");
    account.stream("first").on_put(|_| Reaction::Hang);
    drop(first.put(record(0)).await.expect("accepted"));
    drop(second.put(record(1)).await.expect("accepted"));

    timeout(10 * MS, second.flush_stream()).await.expect("the other stream answers");

    assert!(timeout(10 * MS, second.flush()).await.is_err(), "this one is for all streams");
    assert_eq!(consumed(&account.stream("second")), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_for_all_streams() {
    let account = Account::default();
    let first = account.producer(|builder| builder);
    let second = first.to_stream("second").expect("a name");
    drop(second.put(record(0)).await.expect("accepted"));

    first.shutdown().await;

    assert_eq!(consumed(&account.stream("second")), ["0"]);
    assert!(matches!(second.put(record(1)).await, Err(PutError::ShutDown { .. })));
    let third = first.to_stream("third").expect("a name");
    assert!(matches!(third.put(record(1)).await, Err(PutError::ShutDown { .. })));
    third.flush().await;
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_ends_when_idle_and_the_next_record_starts_another() {
    let account = Account::default();
    let producer = account.producer(|builder| builder);
    let tasks = || producer.streams.context.tasks.len();

    for round in 1..=3 {
        assert_eq!(tasks(), 0);
        producer.put(record(round)).await.expect("accepted").await.expect("stored");
        sleep(4 * MINUTE).await;
        assert_eq!(tasks(), 1, "not yet");
        sleep(2 * MINUTE).await;
    }

    assert_eq!((tasks(), account.stream("first").listings()), (0, 3));
    assert_eq!(consumed(&account.stream("first")), ["1", "2", "3"]);
    timeout(MS, producer.flush()).await.expect("nothing to flush");
    assert_eq!(account.stream("first").listings(), 3);
    timeout(MS, producer.shutdown()).await.expect("nothing to wait for");
}

#[tokio::test(start_paused = true)]
async fn records_are_sent_when_a_handle_is_dropped_at_once() {
    let account = Account::default();
    let producer = account.producer(|builder| builder);

    for n in 0..1000 {
        let name = format!("stream-{n}");
        drop(producer.to_stream(name).expect("a name").put(record(n)).await.expect("accepted"));
    }
    drop(producer);
    sleep(MINUTE).await;

    for n in 0..1000 {
        assert_eq!(consumed(&account.stream(&format!("stream-{n}"))), [n.to_string()]);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_nobody_uses_are_forgotten() {
    let account = Account::default();
    let producer = account.producer(|builder| builder);

    for n in 0..1000 {
        let stream = producer.to_stream(format!("stream-{n}")).expect("a name");
        if n % 10 == 0 {
            stream.put(record(n)).await.expect("accepted").await.expect("stored");
            sleep(MINUTE).await;
        }
    }

    let known = producer.streams.all().len();
    assert!(known <= 100, "{known} streams are kept in mind");
}

#[tokio::test(start_paused = true)]
async fn events_name_their_stream() {
    let account = Account::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let first = account.producer(|builder| {
        builder.on_event(move |event| log.lock().expect("not poisoned").push(event.stream().to_string()))
    });

    first.to_stream("second").expect("a name").put(record(0)).await.expect("accepted").await.expect("stored");

    assert_eq!(*seen.lock().expect("not poisoned"), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn remembers_streams_whose_records_are_still_sent_by_a_shutdown() {
    let account = Account::default();
    let producer = account.producer(|builder| builder.record_ttl(None));
    for n in 0..63 {
        let name = format!("stream-{n}");
        account.stream(&name).on_put(|_| Reaction::Hang);
        drop(producer.to_stream(name).expect("a name").put(record(n)).await.expect("accepted"));
    }
    assert!(timeout(Duration::from_secs(1), producer.shutdown()).await.is_err(), "all are stuck");
    let before = producer.snapshot();
    assert_eq!((before.outstanding_records, before.oldest_record_age), (63, Some(Duration::from_secs(1))));

    let _other = producer.to_stream("other").expect("a name");

    let after = producer.snapshot();
    assert_eq!((after.outstanding_records, after.oldest_record_age), (63, Some(Duration::from_secs(1))));
}

#[test]
fn sends_the_records_of_all_streams_once_a_flush_was_polled() {
    const STREAMS: usize = 300;
    let account = Account::default();
    let builder = Producer::builder(&SdkConfig::builder().build(), "first").kinesis(account.clone());
    let front = builder.record_max_buffered_time(MINUTE).record_ttl(None).build_blocking().expect("valid settings");
    let producer = front.as_async();
    for n in 0..STREAMS {
        drop(producer.to_stream(format!("stream-{n}")).expect("a name").try_put(record(n)).expect("accepted"));
    }

    producer.streams.runtime.block_on(async {
        // Polls of a task that has used up its turn return at once, as after 128 puts.
        while futures::poll!(std::pin::pin!(tokio::task::coop::consume_budget())).is_ready() {}
        let _ = producer.flush().now_or_never();
    });

    let sent = async {
        while producer.outstanding_records() > 0 {
            sleep(MS).await;
        }
    };
    let sent = async { timeout(Duration::from_secs(30), sent).await };
    producer.streams.runtime.block_on(sent).expect("all are sent");
    front.shutdown();
}
