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
