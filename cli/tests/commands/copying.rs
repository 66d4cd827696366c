//! `kds replay`, `kds copy`.

use std::time::Duration;

use tokio::process::Child;

use crate::support::{World, ended, interrupt};

impl World {
    /// The texts of a stream, as `kds tail` prints them, in their order.
    async fn texts(&self, stream: &str) -> Vec<String> {
        let tail = self.run(&format!("tail {stream} --from horizon --no-follow --output raw")).await;
        tail.succeeds().lines().map(str::to_owned).collect()
    }

    /// Runs a copy until so many records are in the other stream, then interrupts it.
    async fn copy(&self, arguments: &str, records: usize) -> crate::support::Ended {
        let copy: Child = self.command(&format!("copy orders copies {arguments}")).spawn().unwrap();
        let begun = tokio::time::Instant::now();
        while self.texts("copies").await.len() < records {
            assert!(begun.elapsed() < crate::support::PATIENCE, "{:?}", self.texts("copies").await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        interrupt(&copy);
        ended(copy).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_where_it_was_interrupted_and_keeps_keys_and_order() {
    let world = World::start().await;
    world.aws.create_stream("copies", 1).unwrap();
    for number in 0..50 {
        world.put("alpha", format!("{number:02}")).await;
    }
    let first = world.copy("", 50).await;
    assert_eq!((first.code, first.stdout.as_str()), (0, "copied 50 records\n"), "{first:?}");
    for number in 50..80 {
        world.put("alpha", format!("{number:02}")).await;
    }

    let second = world.copy("", 80).await;

    assert_eq!(second.stdout, "copied 30 records\n", "{second:?}");
    let expected: Vec<String> = (0..80).map(|number| format!("{number:02}")).collect();
    assert_eq!(world.texts("copies").await, expected);
    let json = world.run("tail copies --from horizon --no-follow --json --max 1").await.succeeds();
    assert!(json.contains("\"partitionKey\":\"alpha\""), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_may_not_put_ends_and_loses_nothing() {
    let world = World::start().await;
    world.aws.create_stream("copies", 1).unwrap();
    world.put("alpha", "one").await;
    world.aws.deny("kinesis:PutRecords");

    let denied = world.run("copy orders copies").await;

    denied.fails_with(&["kinesis:PutRecords on stream copies is denied", "start the copy again"]);
    world.aws.allow("kinesis:PutRecords");
    assert_eq!(world.copy("", 1).await.stdout, "copied 1 record\n");
    world.run("copy orders orders").await.fails_with(&["orders cannot be copied into itself"]);
    world.run("copy orders missing").await.fails_with(&["stream missing does not exist"]);
}

impl World {
    /// Compressed records of 500 lines in the stream, with a dictionary of their own, which is in `d.dict`.
    async fn put_compressed(&self) {
        let line = |n: u32| format!("{{\"customer\":\"c-{}\",\"item\":\"tea\",\"price\":{}}}\n", n % 100, n * 7);
        self.write("a.jsonl", (0..500).map(line).collect::<String>());
        self.run("train-dictionary a.jsonl --output d.dict --max-bytes 2048").await.succeeds();
        let put = "put orders a.jsonl --key field:customer --compress zstd --dictionary d.dict";
        self.run(put).await.succeeds();
    }

    /// Lines of a stream with the dictionary, sorted, as a KCL would deliver them.
    async fn lines(&self, stream: &str) -> Vec<String> {
        let tail = format!("tail {stream} --from horizon --no-follow --output raw --dictionary d.dict");
        let mut lines: Vec<String> = self.run(&tail).await.succeeds().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Data of a stream's Kinesis records, sorted.
    async fn kinesis_records(&self, stream: &str) -> Vec<String> {
        let tail = format!("tail {stream} --from horizon --no-follow --no-deaggregation --json");
        let printed = self.run(&tail).await.succeeds();
        let data = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"].to_string();
        let mut records: Vec<String> = printed.lines().map(data).collect();
        records.sort();
        records
    }

    /// Copies until all that is in the stream is in the other one.
    async fn copy_all(&self, arguments: &str) -> crate::support::Ended {
        let copy: Child = self.command(&format!("copy orders copies {arguments}")).spawn().unwrap();
        let (begun, expected) = (tokio::time::Instant::now(), self.lines("orders").await);
        while self.lines("copies").await != expected {
            assert!(begun.elapsed() < crate::support::PATIENCE, "{:?}", self.lines("copies").await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        interrupt(&copy);
        ended(copy).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_keeps_compressed_records_as_they_are_without_their_dictionary() {
    let world = World::start().await;
    world.aws.create_stream("copies", 1).unwrap();
    world.put_compressed().await;

    let copied = world.copy_all("").await;

    assert!(copied.code == 0 && copied.stdout.ends_with(" as they were\n"), "{copied:?}");
    assert_eq!(world.kinesis_records("copies").await, world.kinesis_records("orders").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_to_more_shards_names_the_dictionary_that_it_needs_and_loses_nothing() {
    let world = World::start().await;
    world.aws.create_stream("copies", 5).unwrap();
    world.put_compressed().await;

    let closed = world.run("copy orders copies").await;

    closed.fails_with(&["belongs to several shards of copies", "needs the dictionary", "--dictionary"]);
    let copied = world.copy_all("--dictionary d.dict").await;
    assert_eq!((copied.code, copied.stdout.as_str()), (0, "copied 500 records\n"), "{copied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_a_window_into_a_file_for_each_shard() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    world.put("beta", "two").await;

    let replay = world.run("replay orders --folder window --output raw").await;

    assert_eq!((replay.code, replay.stderr.as_str()), (0, "kds: 2 records in window\n"));
    assert_eq!(world.read("window/shardId-000000000000.raw"), "one\n");
    assert_eq!(world.read("window/shardId-000000000001.raw"), "two\n");
    assert_eq!(std::fs::read_dir(world.path().join("window")).unwrap().count(), 2);
    world.run("replay orders --folder window").await.fails_with(&["folder window is not empty"]);
    let json = world.run("replay orders --key alpha").await.succeeds();
    assert!(json.lines().count() == 1 && json.contains("\"text\":\"one\""), "{json}");
}
