//! Archives in a folder and in memory, of JSON lines and of Parquet, while workers die, shards change, and the store and
//! the lease table fail: each record is in one object.

use std::{collections::BTreeMap, ops::Range, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use integration_tests::{Running, SHARD, World, seeds};
use kcl::{Event, ShardContext};
use object_store::{
    ObjectStore,
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};
use parquet::record::Field;
use tempfile::TempDir;
use tokio::{runtime::Builder, time::sleep};

use super::{Archive, Format, parquet::tests::rows};
use crate::objects::Objects;

const UPDATE: &str = "dynamodb:UpdateItem";

/// Times that each record is in an object.
type Counts = BTreeMap<u64, usize>;

fn archive(objects: Objects) -> Archive {
    Archive::new(objects).max_bytes(100).max_age(Duration::from_secs(5))
}

fn in_folder(folder: &TempDir) -> Objects {
    Objects::open(folder.path().to_str().unwrap()).unwrap()
}

/// Objects in memory that take a while to be put.
fn slow(memory: &Arc<dyn ObjectStore>, put_takes: Duration) -> Objects {
    let slow = ThrottleConfig { wait_put_per_call: put_takes, ..ThrottleConfig::default() };
    Objects::new(ThrottledStore::new(Arc::clone(memory), slow), "a/b")
}

fn run(world: &World, worker_id: &str, archive: &Archive) -> Running {
    let archive = archive.clone();
    Running::start_factory(world.worker(worker_id), move |shard: &ShardContext| archive.processor(shard))
}

/// Numbers of the records in an object of JSON lines.
fn in_lines(object: &[u8]) -> Vec<u64> {
    let lines = object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line: &[u8]| -> u64 {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        line["text"].as_str().unwrap().parse().unwrap()
    };
    lines.map(read).collect()
}

/// Numbers of the records in an object of Parquet.
fn in_rows(object: Bytes) -> Vec<u64> {
    let read = |field: &Field| -> u64 {
        let Field::Bytes(data) = field else { panic!("{field:?} is not the data of a record") };
        data.as_utf8().unwrap().parse().unwrap()
    };
    rows(object).iter().map(|row| read(&row["_data"])).collect()
}

async fn counts(objects: &Objects) -> Counts {
    let mut counts = Counts::new();
    for path in objects.paths().await.unwrap() {
        let object = objects.get(&path).await.unwrap().unwrap();
        let numbers = if path.extension() == Some("parquet") { in_rows(object) } else { in_lines(&object) };
        for number in numbers {
            *counts.entry(number).or_default() += 1;
        }
    }
    counts
}

async fn until_archived(world: &World, objects: &Objects, records: u64) {
    world.until_holds("records are archived", async || counts(objects).await.len() as u64 >= records).await;
}

/// Waits until all are there, and that none comes twice.
async fn once(world: &World, objects: &Objects, expected: Range<u64>) {
    until_archived(world, objects, expected.end).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(counts(objects).await, expected.map(|id| (id, 1)).collect::<Counts>());
}

fn failures(world: &World, text: &str) -> usize {
    world.events.count(|event| matches!(event, Event::ProcessorFailed { error, .. } if error.contains(text)))
}

/// The third and the fourth round write Parquet behind JSON lines.
#[tokio::test(start_paused = true)]
async fn a_crash_between_object_and_checkpoint_repeats_nothing() {
    let (world, folder) = (World::start(1).await, TempDir::new().unwrap());
    let objects = in_folder(&folder);
    for round in 0..4 {
        let format = if round < 2 { Format::JsonLines } else { Format::Parquet(None) };
        let worker = run(&world, &format!("w{round}"), &archive(objects.clone()).format(format));
        sleep(Duration::from_secs(20)).await;
        let unanswered = world.local.faults().on(UPDATE).delay(Duration::from_secs(100));
        world.put(round * 200..(round + 1) * 200).await;
        until_archived(&world, &objects, round * 200 + 1).await;
        worker.kill();
        unanswered.remove();
    }

    let last = run(&world, "last", &archive(objects.clone()));
    once(&world, &objects, 0..800).await;
    last.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_owners_one_writes_each_object_whichever_is_late() {
    let world = World::start(1).await;
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let first = run(&world, "w1", &archive(slow(&memory, Duration::from_secs(25))));
    let taken = || world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    world.until("the first has the shard", || taken() == 1).await;
    let next = run(&world, "w2", &archive(slow(&memory, Duration::from_secs(20))));
    sleep(Duration::from_secs(10)).await;
    world.put(0..100).await;
    sleep(Duration::from_secs(1)).await;
    world.give_lease(SHARD, "w2").await;
    world.until("the second has the shard", || taken() >= 2).await;
    world.put(100..200).await;

    once(&world, &slow(&memory, Duration::ZERO), 0..200).await;
    first.kill();
    next.kill();
}

#[tokio::test(start_paused = true)]
async fn a_record_is_written_in_its_time_though_none_follows() {
    let (world, folder) = (World::start(1).await, TempDir::new().unwrap());
    let objects = in_folder(&folder);
    let worker = run(&world, "w1", &archive(objects.clone()));
    world.put(0..3).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(counts(&objects).await, Counts::new());

    sleep(Duration::from_secs(10)).await;

    assert_eq!(counts(&objects).await.len(), 3);
    assert!(matches!(world.checkpoint(SHARD).await, kcl::Checkpoint::At(_)), "the lease follows");
    worker.stop().await.unwrap();
}

/// Rows of the folder, in the order of their objects.
async fn all_rows(objects: &Objects) -> Vec<BTreeMap<String, Field>> {
    let mut all = Vec::new();
    for path in objects.paths().await.unwrap() {
        if path.extension() == Some("parquet") {
            all.extend(rows(objects.get(&path).await.unwrap().unwrap()));
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn all_objects_of_a_stream_have_the_columns_of_its_first() {
    let (world, folder) = (World::start(1).await, TempDir::new().unwrap());
    let objects = in_folder(&folder);
    for (round, data) in [r#"{"n":1,"t":"a"}"#, r#"{"n":2.5,"later":[true]}"#].into_iter().enumerate() {
        let archive = archive(objects.clone()).format(Format::Parquet(None));
        let worker = run(&world, &format!("w{round}"), &archive);
        world.put_data(data.into()).await;
        world.until_holds("it is archived", async || all_rows(&objects).await.len() > round).await;
        worker.stop().await.unwrap();
    }

    let rows = all_rows(&objects).await;

    let column = |name: &str| [rows[0][name].clone(), rows[1][name].clone()];
    assert_eq!(column("n"), [Field::Long(1), Field::Null]);
    assert_eq!(column("t"), [Field::Str("a".to_owned()), Field::Null]);
    assert_eq!(column("_rest"), [Field::Null, Field::Str(r#"{"later":[true],"n":2.5}"#.to_owned())]);
    assert!(!rows[1].contains_key("later"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_named_and_loses_nothing() {
    let (world, folder) = (World::start(1).await, TempDir::new().unwrap());
    let objects = in_folder(&folder);
    let worker = run(&world, "w1", &archive(objects.clone()));
    sleep(Duration::from_secs(20)).await;
    std::fs::remove_dir(folder.path()).unwrap();
    std::fs::write(folder.path(), "in the place of the archive's folder").unwrap();
    world.put(0..100).await;
    let path = folder.path().display().to_string();
    world.until("the batch fails", || failures(&world, &path) > 0).await;

    std::fs::remove_file(folder.path()).unwrap();

    once(&world, &objects, 0..100).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_an_object_of_the_archive_is_named_and_not_overwritten() {
    let (world, folder) = (World::start(1).await, TempDir::new().unwrap());
    let objects = in_folder(&folder);
    let worker = run(&world, "w1", &archive(objects.clone()));
    world.put(0..100).await;
    once(&world, &objects, 0..100).await;
    worker.stop().await.unwrap();
    let last = objects.paths().await.unwrap().pop().unwrap();
    let end = super::json_lines::end(&objects.get(&last).await.unwrap().unwrap()).unwrap();
    let name = format!("{:020}-{:0>56}-{:020}.jsonl", 0, end.sequence_number.as_str(), end.sub_sequence_number);
    let next = folder.path().join(Path::new(&last.to_string()).with_file_name(name));
    std::fs::write(&next, "not ours\n").unwrap();

    let worker = run(&world, "w2", &archive(objects));
    world.until("it is named", || failures(&world, "is not an object of the archive") > 0).await;

    assert_eq!(std::fs::read(&next).unwrap(), b"not ours\n");
    worker.kill();
}

/// Workers die at random, shards are split and merged, puts are slow, and checkpoints fail or are late.
async fn chaos(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (world, folder) = (World::start(3).await, TempDir::new().unwrap());
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let is_in_memory = random.bool();
    let format = if random.bool() { Format::JsonLines } else { Format::Parquet(None) };
    let objects = |put_takes| if is_in_memory { slow(&memory, put_takes) } else { in_folder(&folder) };
    let faults = world.local.faults();
    faults.seed(seed);
    faults.on(UPDATE).with_probability(0.1).delay(Duration::from_secs(4));
    faults.on(UPDATE).with_probability(0.1).lose_response();
    faults.on(UPDATE).with_probability(0.1).drop_connection();
    let start = |id: u64, random: &mut fastrand::Rng| {
        let put_takes = Duration::from_millis(random.u64(0..3_000));
        run(&world, &format!("w{id}"), &archive(objects(put_takes)).format(format.clone()))
    };
    let mut workers: Vec<Running> = (0..3).map(|id| start(id, &mut random)).collect();
    for second in 0..40 {
        world.put(second * 30..(second + 1) * 30).await;
        sleep(Duration::from_millis(random.u64(500..1_500))).await;
        if second % 3 == 2 {
            let (slot, next) = (random.usize(0..workers.len()), start(second + 3, &mut random));
            std::mem::replace(&mut workers[slot], next).kill();
        }
        match second % 20 {
            5 => world.split(&world.open_shards().await[0]).await,
            15 => world.merge_neighbours().await,
            _ => {}
        }
    }
    faults.clear();
    once(&world, &objects(Duration::ZERO), 0..1_200).await;
    workers.into_iter().for_each(Running::kill);
}

#[test]
fn each_record_is_in_one_object_while_workers_die_shards_change_and_checkpoints_fail() {
    let simulate = |seed| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(chaos(seed));
    };

    assert_eq!(seeds::failing("ARCHIVE_SEED", 4, simulate), Vec::<u64>::new());
}
