//! Compressed records from `kpl` to `kcl`, and frames of others that cannot be opened.

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use integration_tests::{Log, STREAM, World, failures, store};
use kcl::{
    BoxError, CheckpointEvery, Checkpointer, Event, FrameError, FrameReader, InitialPosition, Record, RecordBatch,
    RecordProcessor, ShardContext, Worker,
};
use kpl::{
    ConfigError, Producer, UserRecord,
    aggregated::Aggregate,
    compressed::{Compression, Dictionary, FrameWriter, MAX_CONTENT_BYTES},
};
use tokio::time::sleep;

const ALL: [Compression; 3] = [Compression::Zstd(1), Compression::Gzip, Compression::Lz4];

/// A line as a web server would write it, which begins with its number.
fn line(id: u64) -> UserRecord {
    let (path, status) = (id * 7919 % 500, if id.is_multiple_of(50) { 404 } else { 200 });
    let rest = format!(
        "\"host\":\"10.0.{}.{}\",\"method\":\"GET\",\"path\":\"/articles/{path}\",\"status\":{status},\"agent\":\"Mozilla/5.0\"",
        id % 7,
        id * 31 % 251
    );
    UserRecord::new(format!("key-{}", id % 100), format!("{{\"id\":{id},{rest}}}"))
}

fn id_of(data: &[u8]) -> u64 {
    let text = std::str::from_utf8(data).expect("UTF-8");
    let digits = text.strip_prefix("{\"id\":").and_then(|rest| rest.split(',').next());
    digits.and_then(|digits| digits.parse().ok()).expect("a line")
}

/// Data of the Kinesis records of all shards.
async fn kinesis_records(world: &World) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for shard in world.open_shards().await {
        let iterator = world.kinesis.get_shard_iterator().stream_name(STREAM).shard_id(shard);
        let iterator = iterator.shard_iterator_type("TRIM_HORIZON".into()).send().await.expect("shard exists");
        let mut next = iterator.shard_iterator;
        while let Some(iterator) = next.take() {
            let page = world.kinesis.get_records().shard_iterator(iterator).send().await.expect("iterator is new");
            found.extend(page.records().iter().map(|record| record.data().as_ref().to_vec()));
            let is_end = page.millis_behind_latest() == Some(0) && page.records().is_empty();
            next = page.next_shard_iterator.filter(|_| !is_end);
            sleep(Duration::from_millis(200)).await;
        }
    }
    found
}

async fn put(producer: &Producer, ids: std::ops::Range<u64>) {
    let failed = failures(producer, ids.map(line)).await;
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
}

/// A worker that notes numbers of lines; waits for as many.
async fn delivered(world: &World, count: usize) -> Vec<(String, u64)> {
    let found = Log::default();
    let noted = found.clone();
    let worker = world.worker("w1").build_for_each(CheckpointEvery::default(), 1, move |record: Record| {
        noted.push((record.partition_key.to_string(), id_of(&record.data)));
        async { Ok::<(), BoxError>(()) }
    });
    let worker = worker.expect("the settings are valid").start();
    world.until("all lines are delivered", || found.len() >= count).await;
    worker.stop().await.expect("the worker stops");
    found.all()
}

#[tokio::test(start_paused = true)]
async fn every_codec_arrives_once_and_in_order_in_less_than_a_third_of_the_bytes() {
    let world = World::start(4).await;
    put(&world.producer(), 0..10_000).await;
    let plain: usize = kinesis_records(&world).await.iter().map(Vec::len).sum();

    for compression in ALL {
        let world = World::start(4).await;
        let producer = Producer::builder(&world.aws, STREAM).compression(compression).build().unwrap();
        put(&producer, 0..10_000).await;

        let stored = kinesis_records(&world).await;
        let bytes: usize = stored.iter().map(Vec::len).sum();
        assert!(bytes * 3 < plain, "{compression:?}: {bytes} of {plain} bytes");
        assert!(stored.iter().all(|record| record.len() <= 51_200), "{compression:?}");
        let found = delivered(&world, 10_000).await;
        let mut ids: Vec<u64> = found.iter().map(|(_, id)| *id).collect();
        for key in 0..100_u64 {
            let of_key: Vec<u64> = ids.iter().copied().filter(|id| id % 100 == key).collect();
            assert!(of_key.is_sorted(), "{compression:?}: key-{key}");
        }
        assert!(found.iter().all(|(key, id)| *key == format!("key-{}", id % 100)));
        ids.sort_unstable();
        assert_eq!(ids, Vec::from_iter(0..10_000), "{compression:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_under_compressed_load_lose_double_and_disorder_nothing() {
    let world = World::start(2).await;
    let worker = world.run("w1");
    let producer = Producer::builder(&world.aws, STREAM).compression(Compression::Lz4).build().unwrap();

    for round in 0..6 {
        let ids = round * 1_000..(round + 1) * 1_000;
        tokio::join!(store(&producer, ids), async {
            sleep(Duration::from_millis(30)).await;
            match round % 3 {
                0 => world.split(&world.open_shards().await[0]).await,
                1 => world.merge_neighbours().await,
                _ => {}
            }
        });
    }
    producer.shutdown().await;
    world.journal.processed(6_000).await;
    world.settled().await;

    assert_eq!(world.journal.ids().len(), 6_000, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty(), "{:?}", world.journal.keys_out_of_order());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_divided_into_frames_again_and_all_is_stored() {
    let world = World::start(1).await;
    let producer = Producer::builder(&world.aws, STREAM).compression(Compression::Lz4).build().unwrap();
    put(&producer, 0..10).await;
    let refused = world.local.faults().on("kinesis:PutRecords").times(1).refuse(400, "InvalidArgumentException", "no");

    put(&producer, 10..2_000).await;

    drop(refused);
    let mut ids: Vec<u64> = delivered(&world, 2_000).await.into_iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..2_000));
}

/// Frames that cannot be opened, each with the error that says so.
fn unopenable() -> Vec<(Vec<u8>, FrameError)> {
    let frame = |content: &[u8]| FrameWriter::new(Compression::Lz4, None).frame(content).expect("shorter").to_vec();
    let sound = frame(&[b'x'; 500]);
    let changed = |at: usize, to: u8| {
        let mut bytes = sound.clone();
        bytes[at] = to;
        let checksum = crc32fast::hash(&[&bytes[..20], &bytes[24..]].concat());
        bytes[20..24].copy_from_slice(&checksum.to_be_bytes());
        bytes
    };
    let errors = [
        "frame of 20 bytes has another length than its header says",
        "frame has a wrong checksum",
        "frame is of unknown version 9",
        "frame has the unknown codec 77",
        "frame needs the dictionary 5",
        "frame of 10485760 bytes of content, above the limit of 1048576",
        "payload does not unfold to 501 bytes of content",
    ];
    let mut damaged = sound.clone();
    *damaged.last_mut().expect("not empty") ^= 1;
    let bomb = frame(&vec![0; MAX_CONTENT_BYTES]);
    let data = [
        sound[..20].to_vec(),
        damaged,
        changed(4, 9),
        changed(5, 77),
        changed(11, 5),
        bomb,
        changed(15, 0xF5), // 501 rather than 500
    ];
    let reader = FrameReader::new().with_max_bytes(1 << 20);
    data.into_iter()
        .zip(errors)
        .map(|(data, text)| {
            let error = reader.open(&data.clone().into()).expect("begins as a frame").expect_err(text);
            assert_eq!(error.to_string(), text);
            (data, error)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn frames_that_cannot_be_opened_are_delivered_as_stored_and_reported_by_cause() {
    let world = World::start(1).await;
    for (data, _) in unopenable() {
        let put = world.kinesis.put_record().stream_name(STREAM).partition_key("outer").data(Blob::new(data));
        put.send().await.expect("put succeeds");
    }
    world.put(7..8).await;
    let found = Log::default();
    let noted = found.clone();

    let builder = world.worker("w1").frames(FrameReader::new().with_max_bytes(1 << 20));
    let worker = builder.build_for_each(CheckpointEvery::default(), 1, move |record: Record| {
        noted.push((record.partition_key.to_string(), record.data.to_vec()));
        async { Ok::<(), BoxError>(()) }
    });
    let worker = worker.expect("the settings are valid").start();
    world.until("all are delivered", || found.len() == 8).await;

    let expected = unopenable().into_iter().map(|(data, _)| ("outer".to_owned(), data));
    assert_eq!(found.all(), expected.chain([("key-7".to_owned(), b"7".to_vec())]).collect::<Vec<_>>());
    let reported = world.events.all().into_iter().filter_map(|event| match event {
        Event::FrameUnopened { error, .. } => Some(error),
        _ => None,
    });
    assert_eq!(reported.collect::<Vec<_>>(), unopenable().into_iter().map(|(_, error)| error).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn frames_that_unfold_to_much_are_processed_piece_by_piece() {
    let world = World::start(1).await;
    // Ten times 4 MiB of content in one answer of some hundred KiB.
    for round in 0..10 {
        let mut aggregate = Aggregate::new();
        (0..4).for_each(|n| {
            let text = format!("{{\"id\":{},\"rest\":\"{}\"}}", round * 4 + n, " ".repeat(1 << 20));
            aggregate.push(UserRecord::new("key", text));
        });
        let frame = FrameWriter::new(Compression::Lz4, None).frame(&aggregate.encode()).expect("shorter");
        let put = world.kinesis.put_record().stream_name(STREAM).partition_key("a").data(Blob::new(frame.to_vec()));
        put.send().await.expect("put succeeds");
    }
    let batches = Log::default();
    let noted = batches.clone();
    let processor = move |_: &ShardContext| Batches(noted.clone());

    let worker = world.worker("w1").build(processor).unwrap().start();
    world.until("all are delivered", || batches.all().iter().map(Vec::len).sum::<usize>() == 40).await;

    assert_eq!(batches.all().concat(), Vec::from_iter(0..40));
    assert!(batches.all().iter().all(|batch| batch.len() <= 8), "{:?}", batches.all());
    worker.stop().await.unwrap();
}

struct Batches(Log<Vec<u64>>);

impl RecordProcessor for Batches {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.0.push(batch.records.iter().map(|record| id_of(&record.data)).collect());
        Ok(checkpointer.checkpoint().await?)
    }
}

#[tokio::test(start_paused = true)]
async fn records_sent_alone_with_a_dictionary_are_opened_by_those_who_have_it() {
    let samples: Vec<Vec<u8>> = (100_000..101_000).map(|id| line(id).data().to_vec()).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let dictionary = Dictionary::train(&samples, 8192).expect("enough samples");
    let world = World::start(1).await;
    let producer = Producer::builder(&world.aws, STREAM)
        .aggregation(kpl::Aggregation::Off)
        .compression(Compression::Zstd(3))
        .compression_dictionary(dictionary.clone())
        .build()
        .unwrap();
    put(&producer, 0..100).await;

    let (stored, put): (usize, usize) =
        (kinesis_records(&world).await.iter().map(Vec::len).sum(), (0..100).map(|id| line(id).data().len()).sum());
    assert!(stored * 3 < put * 2, "{stored} of {put} bytes");
    for (application, frames, opened) in
        [("without", FrameReader::new(), false), ("with", FrameReader::new().with_dictionary(dictionary.clone()), true)]
    {
        let found = Log::default();
        let noted = found.clone();
        let builder = Worker::builder(&world.aws, application, STREAM).on_event(world.events.handler()).frames(frames);
        let worker = builder.initial_position(InitialPosition::TrimHorizon).build_for_each(
            CheckpointEvery::default(),
            1,
            move |record: Record| {
                noted.push(record.data);
                async { Ok::<(), BoxError>(()) }
            },
        );
        let worker = worker.expect("the settings are valid").start();
        world.until("all are delivered", || found.len() == 100).await;
        let lines = found.all().iter().zip(0..).filter(|(data, id)| **data == line(*id).data()).count();
        assert_eq!(lines, if opened { 100 } else { 0 });
        worker.stop().await.unwrap();
    }
    let unknown =
        |error: &FrameError| matches!(error, FrameError::UnknownDictionary { id, .. } if *id == dictionary.id());
    let is_reported = |event: &Event| matches!(event, Event::FrameUnopened { error, .. } if unknown(error));
    assert_eq!(world.events.count(is_reported), 100);
}

#[tokio::test(start_paused = true)]
async fn a_level_out_of_bounds_is_refused_when_the_producer_is_built() {
    let world = World::start(1).await;
    let build = |level| Producer::builder(&world.aws, STREAM).compression(Compression::Zstd(level)).build();

    for level in [-7, 19] {
        assert!(build(level).is_ok(), "{level}");
    }
    for level in [-8, 20] {
        let Err(ConfigError::OutOfBounds { setting, value, .. }) = build(level) else { panic!("{level} is accepted") };
        assert_eq!((setting, value), ("compression", format!("Zstd({level})")));
    }
}
