//! What goes wrong: processors, permissions, names, other fleets. Nothing may be lost or skipped, and errors must say
//! what to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use integration_tests::{APPLICATION, Call, EventLog, Journal, JournalProcessor, Running, STREAM, TestStream, id_of};
use kcl::{
    BoxError, CheckpointError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext, StoreError, Worker,
    WorkerError,
};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

/// How a faulty processor fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Error,
    Panic,
    InitializeError,
    ShardEndedError,
    /// Never returns.
    Hang,
}

/// Fails `times` times when it meets record 50, or at the given call, and works from then on.
struct Faulty {
    inner: JournalProcessor,
    fault: Fault,
    left: Arc<AtomicU32>,
}

impl Faulty {
    fn fails(&self, fault: Fault) -> bool {
        let left = || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        self.fault == fault && left().is_ok()
    }
}

impl RecordProcessor for Faulty {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        if self.fails(Fault::InitializeError) {
            return Err("initialize failed on purpose".into());
        }
        self.inner.initialize(shard).await
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        if batch.records.iter().any(|record| id_of(record) == 50) {
            if self.fails(Fault::Error) {
                return Err("record 50 failed on purpose".into());
            }
            assert!(!self.fails(Fault::Panic), "record 50 panics on purpose");
            if self.fails(Fault::Hang) {
                std::future::pending::<()>().await;
            }
        }
        self.inner.process_records(batch, checkpointer).await
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        if self.fails(Fault::ShardEndedError) {
            return Err("shard_ended failed on purpose".into());
        }
        self.inner.shard_ended().await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.inner.shutdown_requested(checkpointer).await
    }
}

/// A worker whose processors fail like this.
fn run_faulty(stream: &TestStream, journal: &Journal, events: &EventLog, fault: Fault, times: u32) -> Running {
    let left = Arc::new(AtomicU32::new(times));
    let builder = stream.worker("w1").on_event(events.handler());
    Running::start(builder, journal, move |journal, shard| Faulty {
        inner: journal.processor(shard),
        fault,
        left: Arc::clone(&left),
    })
}

fn failures(events: &EventLog) -> usize {
    events.count(|event| matches!(event, Event::ProcessorFailed { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_or_panics_is_delivered_again_and_never_skipped() {
    for fault in [Fault::Error, Fault::Panic] {
        let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
        let worker = run_faulty(&stream, &journal, &events, fault, 3);

        stream.put(0..40).await;
        journal.processed(40).await;
        stream.put(40..100).await;
        journal.processed(100).await;

        assert_eq!(failures(&events), 3, "{fault:?}");
        assert_eq!(journal.ids(), (0..100).collect::<Vec<_>>(), "{fault:?}: in order, from the checkpoint");
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_shard_does_not_hold_up_the_others() {
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let worker = run_faulty(&stream, &journal, &events, Fault::Error, u32::MAX);

    stream.put(0..100).await;
    sleep(Duration::from_secs(30)).await;

    let shards = journal.shards_by_worker();
    let processed = journal.ids();
    assert_eq!(shards["w1"].len(), 2);
    assert!(!processed.contains(&50) && processed.len() > 20, "{processed:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn initialize_is_tried_until_it_succeeds() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let worker = run_faulty(&stream, &journal, &events, Fault::InitializeError, 2);

    stream.put(0..10).await;
    journal.processed(10).await;

    assert_eq!(failures(&events), 2);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_wait_until_shard_ended_succeeds() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let worker = run_faulty(&stream, &journal, &events, Fault::ShardEndedError, 3);
    stream.put(100..200).await;
    stream.split("shardId-000000000000").await;
    stream.put(200..300).await;

    journal.processed(200).await;

    assert_eq!(failures(&events), 3);
    let entries = journal.entries();
    let ended = entries.iter().position(|entry| entry.call == Call::ShardEnded).unwrap();
    let first_child = entries.iter().position(|entry| entry.shard_id.as_str() != "shardId-000000000000").unwrap();
    assert!(ended < first_child);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_never_returns_does_not_stop_the_worker_from_stopping() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let worker = run_faulty(&stream, &journal, &events, Fault::Hang, 1);
    stream.put(0..100).await;
    sleep(Duration::from_secs(5)).await;

    let begun = Instant::now();
    worker.stop().await.unwrap();

    assert!(begun.elapsed() < Duration::from_secs(65), "{:?}", begun.elapsed());
    let next = stream.run("w2", &journal);
    journal.processed(100).await;
    next.stop().await.unwrap();
}

/// Checkpoints at record 30 of each batch, then fails once.
struct CheckpointsMidway(JournalProcessor, Arc<AtomicU32>);

impl RecordProcessor for CheckpointsMidway {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let middle = batch.records.iter().find(|record| id_of(record) == 30).cloned();
        let Some(middle) = middle.filter(|_| self.1.fetch_add(1, Ordering::SeqCst) == 0) else {
            return self.0.process_records(batch, checkpointer).await;
        };
        checkpointer.checkpoint_at(&middle).await?;
        let beyond =
            kcl::Record::new("key", "999", "99999999999999999999999999999999999999999999999999999999".parse()?);
        let refused = checkpointer.checkpoint_at(&beyond).await;
        assert!(matches!(refused, Err(CheckpointError::OutOfRange { .. })), "{refused:?}");
        Err("fails after the checkpoint on purpose".into())
    }
}

#[tokio::test(start_paused = true)]
async fn processing_goes_on_after_a_checkpoint_in_the_middle_of_an_aggregate() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let mut aggregate = kpl::aggregated::Aggregate::new();
    for id in 0..60 {
        aggregate.push(kpl::UserRecord::new(format!("key-{id}"), id.to_string()));
    }
    let data = aws_sdk_kinesis::primitives::Blob::new(aggregate.encode());
    stream.kinesis.put_record().stream_name(STREAM).partition_key("a").data(data).send().await.unwrap();

    let times = Arc::new(AtomicU32::new(0));
    let worker = Running::start(stream.worker("w1"), &journal, move |journal, shard| {
        CheckpointsMidway(journal.processor(shard), Arc::clone(&times))
    });
    journal.processed(29).await;

    assert_eq!(journal.ids(), (31..60).collect::<Vec<_>>(), "30 is checkpointed, its aggregate's tail is not");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_named() {
    let local = LocalAws::start().await;
    let worker = Worker::builder(&local.sdk_config(), APPLICATION, "NoSuchStream");

    let error = Running::start(worker, &Journal::default(), |journal, shard| journal.processor(shard)).ended().await;

    let error = error.unwrap_err();
    assert!(matches!(error, WorkerError::StreamNotFound { .. }), "{error:?}");
    assert_eq!(error.to_string(), "stream NoSuchStream does not exist in this account and region");
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_on_the_lease_table_is_named() {
    for action in
        ["dynamodb:DescribeTable", "dynamodb:CreateTable", "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:PutItem"]
    {
        let stream = TestStream::start(1).await;
        stream.local.deny(action);

        let error = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

        let WorkerError::LeaseTable(StoreError::AccessDenied { action: named, table, .. }) = &error else {
            panic!("{action}: {error:?}");
        };
        assert_eq!((*named, table.as_str()), (action, APPLICATION));
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(text, format!("access denied: IAM action {action} on table {APPLICATION} is missing"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_on_the_stream_is_named() {
    let stream = TestStream::start(1).await;
    stream.local.deny("kinesis:DescribeStreamSummary");

    let error = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

    let expected = format!("access denied: IAM action kinesis:DescribeStreamSummary on stream {STREAM} is missing");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(start_paused = true)]
async fn permissions_lost_while_running_are_reported_and_nothing_is_lost() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let builder = stream.worker("w1").on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    for action in ["dynamodb:UpdateItem", "kinesis:GetRecords"] {
        stream.local.deny(action);
    }
    stream.put(100..200).await;
    sleep(Duration::from_secs(60)).await;
    for action in ["dynamodb:UpdateItem", "kinesis:GetRecords"] {
        stream.local.allow(action);
    }
    journal.processed(200).await;

    let said = |words: &str| {
        events.count(|event| match event {
            Event::LeaseTableFailed { error } | Event::ReadFailed { error, .. } => error.contains(words),
            _ => false,
        })
    };
    assert!(said("dynamodb:UpdateItem") > 0 && said("kinesis:GetRecords") > 0, "{:?}", events.all());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_with_the_same_id_is_refused_and_the_first_goes_on() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    let first = stream.run("w1", &journal);
    stream.put(0..100).await;
    journal.processed(100).await;

    let error = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

    assert_eq!(error.to_string(), "worker id w1 is in use by another running worker");
    stream.put(100..200).await;
    journal.processed(200).await;
    assert_eq!(journal.ids().len(), 200, "no duplicates");
    first.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_no_lease_table_is_refused_and_left_alone() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType::S,
    };
    let stream = TestStream::start(1).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let create = dynamodb.create_table().table_name(APPLICATION).billing_mode(BillingMode::PayPerRequest);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(S).build().unwrap();
    create.key_schema(key).attribute_definitions(attribute).send().await.unwrap();

    let error = stream.run("w1", &Journal::default()).ended().await.unwrap_err();

    assert!(matches!(error, WorkerError::LeaseTable(StoreError::WrongTable { .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_table_of_a_fleet_under_migration_is_refused() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let stream = TestStream::start(1).await;
    let (first, journal) = (stream.worker("w1"), Journal::default());
    let first = Running::start(first, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..1).await;
    journal.processed(1).await;
    first.stop().await.unwrap();
    let dynamodb = aws_sdk_dynamodb::Client::new(&stream.aws);
    let state = AttributeValue::S("CLIENT_VERSION_UPGRADE_FROM_2X".to_owned());
    let change = dynamodb.update_item().table_name(APPLICATION).update_expression("SET cv = :cv");
    let change = change.key("leaseKey", AttributeValue::S("Migration3.0".to_owned()));
    change.expression_attribute_values(":cv", state).send().await.unwrap();

    let error = stream.run("w2", &Journal::default()).ended().await.unwrap_err();

    assert!(error.to_string().contains("CLIENT_VERSION_UPGRADE_FROM_2X"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_query_the_index_leases_are_found_by_scans() {
    let (stream, journal) = (TestStream::start(2).await, Journal::default());
    stream.local.deny("dynamodb:Query");
    let workers = ["w1", "w2"].map(|id| stream.run(id, &journal));
    stream.put(0..100).await;
    journal.processed(100).await;
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_is_taken_back_to_2_x_is_left() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let mut worker = stream.run("w1", &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    let declare = |state: &str| {
        let update = aws_sdk_dynamodb::Client::new(&stream.aws).update_item().table_name(APPLICATION);
        let update = update.key("leaseKey", AttributeValue::S("Migration3.0".to_owned()));
        let state = AttributeValue::S(format!("CLIENT_VERSION_{state}"));
        update.update_expression("SET cv = :cv").expression_attribute_values(":cv", state).send()
    };

    declare("3X_WITH_ROLLBACK").await.unwrap();
    sleep(Duration::from_secs(100)).await;
    stream.put(10..20).await;
    journal.processed(20).await;
    declare("2X").await.unwrap();
    let error = worker.ended().await.unwrap_err();

    assert!(error.to_string().contains("CLIENT_VERSION_2X"), "{error}");
    assert_eq!(journal.calls("shardId-000000000000").last(), Some(&Call::ShutdownRequested));
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_again_under_its_name_is_not_read_with_the_old_checkpoints() {
    let (stream, journal) = (TestStream::start(1).await, Journal::default());
    let worker = stream.run("w1", &journal);
    stream.put(0..10).await;
    journal.processed(10).await;
    worker.stop().await.unwrap();

    stream.kinesis.delete_stream().stream_name(STREAM).send().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    stream.kinesis.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    let error = stream.run("w1", &journal).ended().await.unwrap_err();

    assert!(matches!(error, WorkerError::OtherStream { .. }), "{error:?}");
    assert!(error.to_string().contains("choose another application name"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_by_hand_is_lost_by_its_worker_and_created_again() {
    use aws_sdk_dynamodb::types::AttributeValue;
    let (stream, journal, events) = (TestStream::start(2).await, Journal::default(), EventLog::default());
    let builder = stream.worker("w1").on_event(events.handler());
    let worker = Running::start(builder, &journal, |journal, shard| journal.processor(shard));
    stream.put(0..100).await;
    journal.processed(100).await;

    let delete = aws_sdk_dynamodb::Client::new(&stream.aws).delete_item().table_name(APPLICATION);
    delete.key("leaseKey", AttributeValue::S("shardId-000000000000".to_owned())).send().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    stream.put(100..200).await;
    journal.processed(200).await;

    let shard_id = "shardId-000000000000".into();
    assert_eq!(events.count(|event| matches!(event, Event::LeaseLost { shard_id: lost, .. } if *lost == shard_id)), 1);
    let created = |event: &Event| matches!(event, Event::LeasesCreated { shards, .. } if *shards == [shard_id.clone()]);
    assert_eq!(events.count(created), 1);
    assert_eq!(events.count(|event| matches!(event, Event::HoleFound { .. })), 1);
    worker.stop().await.unwrap();
}

#[test]
fn bad_configuration_is_refused_before_anything_is_called() {
    let aws = aws_types::SdkConfig::builder().build();
    let refused = |builder: kcl::WorkerBuilder| {
        let journal = Journal::default();
        builder.build(move |shard: &ShardContext| journal.processor(shard)).unwrap_err().to_string()
    };

    assert_eq!(refused(Worker::builder(&aws, "", STREAM)), "application name is empty");
    assert_eq!(refused(Worker::builder(&aws, APPLICATION, " ")), "stream is empty");
    let rule = "it must be 3 to 255 of the characters a-z, A-Z, 0-9, _, . and -, as a DynamoDB table has the name";
    for name in ["ab", "my app", "größe", &"a".repeat(256)] {
        let expected = format!("application name is {name:?}, {rule}");
        assert_eq!(refused(Worker::builder(&aws, name, STREAM)), expected);
        let expected = format!("lease table name is {name:?}, {rule}");
        assert_eq!(refused(Worker::builder(&aws, APPLICATION, STREAM).lease_table(name)), expected);
    }
    let short = Worker::builder(&aws, APPLICATION, STREAM).lease_duration(Duration::from_millis(10));
    assert_eq!(refused(short), "lease duration is 10ms, it must be at least 1 s");
    let reserved = Worker::builder(&aws, APPLICATION, STREAM).worker_id("Leader");
    assert_eq!(refused(reserved), "worker id \"Leader\" is reserved in the lease table, choose another");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_while_shard_ended_fails_leaves_the_end_to_the_next() {
    let (stream, journal, events) = (TestStream::start(1).await, Journal::default(), EventLog::default());
    let worker = run_faulty(&stream, &journal, &events, Fault::ShardEndedError, u32::MAX);
    stream.put(100..200).await;
    stream.split("shardId-000000000000").await;
    stream.put(200..300).await;
    sleep(Duration::from_secs(20)).await;
    worker.stop().await.unwrap();

    assert_eq!(journal.calls("shardId-000000000000").last(), Some(&Call::ShutdownRequested));
    assert_eq!(journal.distinct(), 100, "the children wait");
    let next = stream.run("w2", &journal);
    journal.processed(200).await;
    next.stop().await.unwrap();
}

/// Checkpoints at record 50 while answers of the lease table get lost, then at record 30.
struct GoesBack(TestStream, Arc<AtomicU32>);

impl RecordProcessor for GoesBack {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let record = |id| batch.records.iter().find(|record| id_of(record) == id).ok_or("all records in one batch");
        self.0.local.faults().on("dynamodb:UpdateItem").lose_response();
        let unanswered = checkpointer.checkpoint_at(record(50)?).await;
        assert!(matches!(unanswered, Err(CheckpointError::Table(_))), "{unanswered:?}");
        self.0.local.faults().clear();
        checkpointer.checkpoint_at(record(30)?).await?;
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_never_moves_back_even_if_the_answer_to_a_later_one_was_lost() {
    let (stream, done) = (TestStream::start(1).await, Arc::new(AtomicU32::new(0)));
    let mut aggregate = kpl::aggregated::Aggregate::new();
    for id in 0..60 {
        aggregate.push(kpl::UserRecord::new(format!("key-{id}"), id.to_string()));
    }
    let data = aws_sdk_kinesis::primitives::Blob::new(aggregate.encode());
    stream.kinesis.put_record().stream_name(STREAM).partition_key("a").data(data).send().await.unwrap();

    let worker = Running::start(stream.worker("w1").lease_duration(Duration::from_secs(120)), &Journal::default(), {
        let (stream, done) = (stream.clone(), Arc::clone(&done));
        move |_, _| GoesBack(stream.clone(), Arc::clone(&done))
    });
    integration_tests::eventually("both checkpoints are tried", || done.load(Ordering::SeqCst) == 1).await;

    let status = kcl::FleetStatus::read(&stream.aws, APPLICATION).await.unwrap();
    let kcl::Checkpoint::At(position) = &status.leases[0].checkpoint else { panic!("{status}") };
    assert_eq!(position.sub_sequence_number, 50);
    worker.stop().await.unwrap();
}
