//! RecordSource from a Kinesis that has records without end, while the processor does not take them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::{
    StreamExt as _,
    future::{BoxFuture, FutureExt as _, ready},
    stream,
};
use kpl::ShardId;
use tokio::time::sleep;

use super::*;
use crate::{
    kinesis::{FanOutConsumer, Kinesis, Records, StreamDescription, Subscription, SubscriptionEvent},
    model::{Checkpoint, FanOut, InitialPosition, Lease, Prefetch, Shard, StartAt, StreamIdentity},
    stream::Catalog,
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

const ANSWER_BYTES: usize = 1 << 20;

/// Each answer has one record of 1 MiB, or as many smaller ones as that takes and the limit allows.
#[derive(Debug, Default)]
struct Endless {
    /// Records.
    given: Arc<AtomicUsize>,
    /// Bytes of a smaller record.
    small: Option<usize>,
    /// Maximum records of an answer.
    largest: Arc<AtomicUsize>,
    /// Subscriptions that fall silent after their first event, instead.
    silent: Option<Arc<AtomicUsize>>,
    /// The shard has ended; its child is listed, and not told.
    ended: bool,
    /// There is no such shard.
    missing: bool,
    /// Creation of the stream that has the name now.
    created: Arc<AtomicU64>,
    /// It is not described.
    hangs: bool,
}

impl Endless {
    fn answer(&self, limit: usize) -> Vec<KinesisRecord> {
        let bytes = self.small.unwrap_or(ANSWER_BYTES);
        let count = (ANSWER_BYTES / bytes).min(limit);
        let first = self.given.fetch_add(count, Ordering::SeqCst);
        (first..first + count).map(|number| record(number, bytes)).collect()
    }

    fn find(&self) -> Result<(), KinesisError> {
        let (kind, action) = (KinesisErrorKind::NotFound, "kinesis:GetShardIterator");
        if self.missing { Err(KinesisError::new(kind, action, "no such shard")) } else { Ok(()) }
    }
}

fn record(number: usize, bytes: usize) -> KinesisRecord {
    KinesisRecord {
        sequence_number: (number + 1).to_string().parse().unwrap(),
        partition_key: "key".into(),
        data: vec![0; bytes].into(),
        approximate_arrival: None,
    }
}

impl Kinesis for Endless {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, KinesisError>> {
        if self.hangs {
            return pending().boxed();
        }
        let (arn, created_seconds) = ("arn".to_owned(), self.created.load(Ordering::SeqCst));
        ready(Ok(StreamDescription { active: true, identity: StreamIdentity { arn, created_seconds } })).boxed()
    }

    fn list_shards<'a>(&'a self, _: Option<&'a InitialPosition>) -> BoxFuture<'a, Result<Vec<Shard>, KinesisError>> {
        let child = Shard {
            id: "shardId-000000000001".into(),
            parents: vec!["shardId-000000000000".into()],
            hash_key_range: kpl::HashKeyRange::FULL,
            starting_sequence_number: "2".parse().unwrap(),
            ending_sequence_number: None,
        };
        ready(Ok(if self.ended { vec![child] } else { Vec::new() })).boxed()
    }

    fn shard_iterator<'a>(&'a self, _: &'a ShardId, _: &'a StartAt) -> BoxFuture<'a, Result<String, KinesisError>> {
        ready(self.find().map(|()| "iterator".to_owned())).boxed()
    }

    fn get_records<'a>(&'a self, _: &'a str, limit: i32) -> BoxFuture<'a, Result<Records, KinesisError>> {
        let records = self.answer(usize::try_from(limit).unwrap());
        self.largest.fetch_max(records.len(), Ordering::SeqCst);
        let next_iterator = (!self.ended).then(|| "iterator".to_owned());
        let behind_latest = Some(Duration::from_secs(1));
        ready(Ok(Records { records, next_iterator, children: Vec::new(), behind_latest })).boxed()
    }

    fn find_consumer<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<FanOutConsumer>, KinesisError>> {
        unreachable!("the consumer is given")
    }

    fn register_consumer<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<FanOutConsumer, KinesisError>> {
        unreachable!("the consumer is given")
    }

    fn deregister_consumer<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), KinesisError>> {
        unreachable!("the consumer is given")
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a str,
        _: &'a ShardId,
        _: &'a StartAt,
    ) -> BoxFuture<'a, Result<Subscription, KinesisError>> {
        if let Err(error) = self.find() {
            return ready(Err(error)).boxed();
        }
        let events = Self { given: Arc::clone(&self.given), small: self.small, ..Self::default() };
        let ended = self.ended;
        let events = stream::repeat_with(move || {
            let records = events.answer(usize::MAX);
            let continuation = records.last().map(|last| last.sequence_number.clone()).filter(|_| !ended);
            let behind_latest = Some(Duration::from_secs(1));
            Ok(SubscriptionEvent { records, continuation, children: Vec::new(), behind_latest })
        });
        match &self.silent {
            None => ready(Ok(events.boxed())).boxed(),
            Some(subscriptions) => {
                subscriptions.fetch_add(1, Ordering::SeqCst);
                ready(Ok(events.take(1).chain(stream::pending()).boxed())).boxed()
            }
        }
    }
}

fn context(kinesis: Endless, retrieval: Retrieval) -> Arc<Context> {
    context_with(kinesis, retrieval, 512 << 20)
}

fn context_with(kinesis: Endless, retrieval: Retrieval, memory_budget: u64) -> Arc<Context> {
    context_that_tells(kinesis, retrieval, memory_budget, |_| ())
}

/// A context that tells the hook its events.
fn context_that_tells(
    kinesis: Endless,
    retrieval: Retrieval,
    memory_budget: u64,
    hook: impl Fn(&Event) + Send + Sync + 'static,
) -> Arc<Context> {
    let aws = crate::tests::without_services();
    let builder = Worker::builder(&aws, "application", "stream").on_event(hook);
    let (mut settings, events, catalog) = builder.retrieval(retrieval).into_parts_on(Arc::new(kinesis));
    settings.prefetch = Prefetch { records: 100_000, bytes: 4 * 1_100_000 };
    settings.memory_budget = memory_budget;
    Arc::new(Context::new(settings, events, catalog, MemoryLeaseTable::default().into()))
}

fn start(context: Arc<Context>) -> RecordSource {
    start_shard(context, "shardId-000000000000")
}

fn start_shard(context: Arc<Context>, shard: &str) -> RecordSource {
    let Catalog::Single(stream) = &context.catalog else { unreachable!("one stream is configured") };
    let (stream, shard) = (Arc::clone(stream), ShardId::from(shard));
    let cursor = Cursor::new(StartAt::TrimHorizon, SystemTime::UNIX_EPOCH);
    let lease = Lease::unowned(shard.clone(), Checkpoint::TrimHorizon);
    let metrics = Arc::new(context.metrics.shard(&lease));
    RecordSource::start(context, stream, shard, cursor, metrics)
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_falls_silent_is_replaced() {
    let subscriptions = Arc::new(AtomicUsize::new(0));
    let kinesis = Endless { silent: Some(Arc::clone(&subscriptions)), ..Endless::default() };
    let mut reading = start(context(kinesis, Retrieval::FanOut(FanOut::new().consumer_arn("arn"))));

    for _ in 0..5 {
        assert!(reading.next().await.is_some());
    }

    assert_eq!(subscriptions.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn neither_way_of_reading_runs_further_ahead_than_its_bounds() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let given = Arc::new(AtomicUsize::new(0));
        let kinesis = Endless { given: Arc::clone(&given), ..Endless::default() };
        let mut reading = start(context(kinesis, retrieval.clone()));
        sleep(Duration::from_secs(600)).await;

        // Four fit, and one more was read.
        assert!(given.load(Ordering::SeqCst) <= 5, "{retrieval:?}: {given:?}");
        for taken in 1..20 {
            assert!(reading.next().await.is_some());
            sleep(Duration::from_secs(10)).await;
            assert!(given.load(Ordering::SeqCst) <= taken + 5, "{retrieval:?}: {given:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn children_that_the_ends_of_shards_do_not_tell_are_listed_and_reported_once() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let (sender, told) = std::sync::mpsc::channel();
        let kinesis = Endless { ended: true, ..Endless::default() };
        let context = context_that_tells(kinesis, retrieval, 512 << 20, move |event| {
            if matches!(event, Event::ChildShardsOmitted { .. }) {
                sender.send(event.clone()).unwrap();
            }
        });

        for _ in 0..2 {
            let mut reading = start(Arc::clone(&context));
            assert!(matches!(reading.next().await, Some(Fetched::Records { .. })));
            let Some(Fetched::End { children }) = reading.next().await else { panic!("the shard has ended") };
            assert_eq!(children[0].id, "shardId-000000000001".into());
        }

        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told, [Event::ChildShardsOmitted { stream_id: crate::StreamId::of_single("stream") }]);
    }
}

/// True if a reader tells anything of a stream that was created again, this long after it was described.
async fn tells_of_another_stream(kinesis: Endless, retrieval: Retrieval, described: Duration) -> bool {
    let created = Arc::clone(&kinesis.created);
    let context = context(kinesis, retrieval);
    let Catalog::Single(stream) = &context.catalog else { unreachable!("one stream is configured") };
    stream.describe().await.unwrap();
    created.store(1, Ordering::SeqCst);
    sleep(described).await;
    let mut reading = start(Arc::clone(&context));
    timeout(Duration::from_secs(600), reading.next()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_of_another_stream_of_the_same_name() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let is_told = tells_of_another_stream(Endless::default(), retrieval.clone(), 2 * CONFIRMED).await;
        assert!(!is_told, "{retrieval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn tells_a_shard_of_a_former_stream_from_one_past_its_retention() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let kinesis = Endless { missing: true, ended: true, ..Endless::default() };
        let is_told = tells_of_another_stream(kinesis, retrieval.clone(), CONFIRMED / 2).await;
        assert!(!is_told, "{retrieval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_description_that_hangs_does_not_hold_up_the_reading_for_long() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let mut reading = start(context(Endless { hangs: true, ..Endless::default() }, retrieval.clone()));
        let first = timeout(2 * CONFIRM_WAIT, reading.next()).await;
        assert!(matches!(first, Ok(Some(Fetched::Records { .. }))), "{retrieval:?}: {first:?}");
    }
}

/// The first pieces of as many shards, which are not finished.
async fn first_of_each(context: &Arc<Context>, shards: usize) -> Vec<(RecordSource, Fetched)> {
    let mut readings = Vec::new();
    for shard in 0..shards {
        let mut reading = start_shard(Arc::clone(context), &format!("shardId-{shard:012}"));
        let first = timeout(Duration::from_secs(60), reading.next()).await.expect("nobody starves").unwrap();
        readings.push((reading, first));
    }
    readings
}

#[tokio::test(start_paused = true)]
async fn shards_whose_processors_stand_still_hold_no_more_than_the_budget() {
    const BUDGET: usize = 32 << 20;
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let (given, largest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let kinesis =
            Endless { given: given.clone(), largest: largest.clone(), small: Some(1024), ..Endless::default() };
        let context = context_with(kinesis, retrieval.clone(), BUDGET as u64);

        let readings = first_of_each(&context, 16).await;
        sleep(Duration::from_secs(600)).await;

        let (given, largest) = (given.load(Ordering::SeqCst), largest.load(Ordering::SeqCst));
        assert!(given * 1024 < BUDGET, "{retrieval:?}: {given} records");
        assert!(given * 1024 > BUDGET / 3, "{retrieval:?}: {given} records");
        assert!(context.memory.held() <= BUDGET as u64, "{retrieval:?}: {}", context.memory.held());
        if let Retrieval::Polling(_) = retrieval {
            assert!(largest < 1024, "asks for less: {largest}");
        }
        drop(readings);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(context.memory.held(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn shards_go_on_at_their_pace_while_others_hang() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        let kinesis = Endless { small: Some(1024), ..Endless::default() };
        let context = context_with(kinesis, retrieval.clone(), 32 << 20);
        let hung = first_of_each(&context, 15).await;
        sleep(Duration::from_secs(600)).await;

        let mut healthy = start_shard(Arc::clone(&context), "shardId-000000000099");
        let (mut records, begun) = (0, now());
        while records < 10_000 {
            let next = timeout(Duration::from_secs(60), healthy.next()).await.expect("it does not starve");
            let Some(Fetched::Records { records: some, mut held, .. }) = next else { panic!("the shard has no end") };
            // As of plain records.
            held.taken_out(&[], 0);
            records += some.len();
        }
        // A shard gives 2 MiB a second.
        assert!(now() - begun < Duration::from_secs(8), "{retrieval:?}: {:?}", now() - begun);
        drop(hung);
    }
}

#[tokio::test(start_paused = true)]
async fn shards_whose_records_exceed_the_budget_wait_for_each_other_but_not_for_ever() {
    for retrieval in [Retrieval::default(), Retrieval::FanOut(FanOut::new().consumer_arn("arn"))] {
        // An answer of 1 MiB is more than half of it.
        let context = context_with(Endless::default(), retrieval.clone(), 1 << 20);
        let key = LeaseKey::new("shardId-000000000001");
        let lease = Lease::unowned("shardId-000000000001".into(), Checkpoint::TrimHorizon);
        let (shard, lag) = (StreamShard::new("stream", "shardId-000000000001"), context.metrics.shard(&lease).lag);
        context.board.add(key.clone(), shard, Checkpoint::TrimHorizon, lag);
        let waits = || {
            let mut waits = false;
            context.board.change(&key, |entry| waits = entry.activity.waits_for_memory);
            waits
        };
        let (mut first, fetched) = first_of_each(&context, 1).await.pop().unwrap();
        let mut fetched = Some(fetched);
        let mut second = start_shard(Arc::clone(&context), "shardId-000000000001");
        let early = timeout(Duration::from_secs(4), second.next()).await;
        assert!(early.is_err() && waits(), "{retrieval:?}: {early:?}");
        drop(fetched.take());
        let of_second = timeout(Duration::from_secs(1), second.next()).await.expect("the other one's turn");

        // Its processor may wait for the first shard's.
        let early = timeout(Duration::from_secs(4), first.next()).await;
        assert!(early.is_err(), "not before that is processed");
        timeout(Duration::from_secs(10), first.next()).await.expect("granted late");
        drop(of_second);
    }
}
