//! Dead letters in a file and in another stream: complete, and kept before the shard goes on.

use std::time::Duration;

use aws_sdk_kinesis::types::ShardIteratorType;
use integration_tests::{APPLICATION, SHARD, STREAM, World, id_of};
use kcl::{
    BoxError, Checkpoint, CheckpointEvery, DeadLetter, DeadLetterFile, DeadLetterStream, ErrorPolicy, FailedRecords,
    Record,
};
use tokio::time::sleep;

/// Processes an aggregate of records 0 to 5 by a closure that fails at record 3; returns once the checkpoint is behind all.
async fn process_all_but_3(world: &World, policy: ErrorPolicy) {
    let handler = |record: Record| async move {
        match id_of(&record) {
            3 => Err::<(), BoxError>("no such stock".into()),
            _ => Ok(()),
        }
    };
    let builder = world.worker("w1").on_processor_error(policy);
    let worker = builder.build_for_each(CheckpointEvery::default(), 1, handler).expect("settings").start();
    sleep(Duration::from_secs(60)).await;
    let is_behind = async || matches!(world.checkpoint(SHARD).await, Checkpoint::At(at) if at.sub_sequence_number == 5);
    world.until_holds("everything is processed or given up", is_behind).await;
    worker.stop().await.expect("worker stops");
}

/// Letters in a stream of one shard.
async fn letters_of(world: &World, stream: &str) -> Vec<DeadLetter> {
    let kinesis = &world.kinesis;
    let iterator = kinesis.get_shard_iterator().stream_name(stream).shard_id(SHARD);
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("an iterator");
    let read = kinesis.get_records().shard_iterator(iterator.shard_iterator.expect("given")).send().await;
    let records = read.expect("records").records;
    records.iter().map(|record| serde_json::from_slice(record.data.as_ref()).expect("a letter")).collect()
}

fn assert_complete(letter: &DeadLetter) {
    let of = (letter.application.as_str(), letter.stream.as_str(), letter.shard_id.as_str());
    assert_eq!(of, (APPLICATION, STREAM, SHARD));
    assert_eq!((letter.sub_sequence_number, letter.attempts, letter.error.as_str()), (Some(3), 2, "no such stock"));
    assert_eq!(letter.data_bytes, 1);
    let (arrival, failed_at) = (letter.arrival.as_deref().expect("known"), letter.failed_at.as_str());
    assert!(arrival < failed_at, "{arrival} {failed_at}");
}

#[tokio::test(start_paused = true)]
async fn a_letter_in_a_file_has_all_that_an_operator_needs() {
    let world = World::start(1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dead-letters.jsonl");
    let letters = DeadLetterFile::new(&path);

    world.put_aggregate(0..6).await;

    process_all_but_3(&world, ErrorPolicy::dead_letter_after(2, move |failed| letters.keep(failed))).await;

    let text = std::fs::read_to_string(path).expect("it is written");
    let letters: Vec<DeadLetter> = text.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_complete(letter);
    assert_eq!(letter.text.as_deref(), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn a_letter_in_a_stream_is_kept_whole_once_and_under_the_records_key() {
    let world = World::start(1).await;
    world.create("letters", 1).await;
    let letters = DeadLetterStream::new(&world.aws, "letters");
    world.put_aggregate(0..6).await;
    let refusals = world.local.faults().on("kinesis:PutRecord").times(6).refuse(400, "AccessDeniedException", "no");

    process_all_but_3(&world, ErrorPolicy::dead_letter_after(2, move |failed| letters.keep(failed))).await;

    assert_eq!(refusals.count(), 6, "the shard waits while letters are refused");
    let letters = letters_of(&world, "letters").await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert!(letter.attempts > 2, "{letter:?}");
    assert_eq!((letter.text.as_deref(), letter.error.as_str()), (Some("3"), "no such stock"));
}

#[tokio::test(start_paused = true)]
async fn a_letter_above_the_streams_limit_says_where_its_data_lie() {
    let world = World::start(1).await;
    world.create("letters", 1).await;
    let letters = DeadLetterStream::new(&world.aws, "letters");
    // In base64 they are above the limit of 1 MiB.
    let data = vec![0xFF; 900 * 1024];
    let put = world.kinesis.put_record().stream_name(STREAM).partition_key("k");
    let stored = put.data(aws_sdk_kinesis::primitives::Blob::new(data)).send().await.expect("stored");
    let failing = |_: Record| async { Err::<(), BoxError>("no".into()) };
    let keep = move |failed: FailedRecords| letters.keep(failed);
    let builder = world.worker("w1").on_processor_error(ErrorPolicy::dead_letter_after(1, keep));
    let worker = builder.build_for_each(CheckpointEvery::default(), 1, failing).expect("settings").start();

    sleep(Duration::from_secs(30)).await;

    let letters = letters_of(&world, "letters").await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.payload().expect("whole"), letter.data_bytes), (None, 900 * 1024));
    assert_eq!((letter.sequence_number.as_str(), letter.sub_sequence_number), (stored.sequence_number(), None));
    worker.stop().await.expect("worker stops");
}
