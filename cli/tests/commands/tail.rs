//! `kds tail`.

use std::{io::Write as _, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::timeout,
};

use crate::support::{PATIENCE, World, aggregate, ended, interrupt};

#[tokio::test(flavor = "multi_thread")]
async fn prints_user_records_out_of_aggregates_and_without_compression() {
    let world = World::start().await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(b"compressed").unwrap();
    // Both keys belong to the first shard of two.
    world.put("alpha", aggregate(&[("alpha", "one"), ("a", "two")])).await;
    world.put("plain", gzip.finish().unwrap()).await;

    assert_eq!(world.stored().await, ["compressed", "one", "two"]);
    let text = world.run("tail orders --from horizon --no-follow --grep (one|two)").await.succeeds();
    let fields: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').skip(1).collect()).collect();
    assert_eq!(fields, [["shardId-000000000000", "alpha", "one"], ["shardId-000000000000", "a", "two"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_aggregates_that_a_kcl_discards() {
    let world = World::start().await;
    // alpha is in the lower half of the hash keys, beta in the upper one.
    world.put("alpha", aggregate(&[("alpha", "one"), ("beta", "two")])).await;

    let tail = world.run("tail orders --from horizon --no-follow").await;

    assert_eq!((tail.code, tail.stdout.as_str()), (0, ""));
    assert!(tail.stderr.contains("2 records of aggregates in wrong shards"), "{}", tail.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_new_records_until_a_signal() {
    let world = World::start().await;
    world.put("k", "before").await;
    let mut tail = world.command("tail orders --output raw").spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();

    // Until it has a position at the tip nothing is printed, so put until it is.
    let first = loop {
        world.put("k", "after").await;
        if let Ok(line) = timeout(Duration::from_millis(300), lines.next_line()).await {
            break line.unwrap();
        }
    };

    assert_eq!(first.as_deref(), Some("after"));
    interrupt(&tail);
    assert_eq!(ended(tail).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_a_window_of_time() {
    let world = World::start().await;
    for text in ["before", "within", "behind"] {
        world.put("k", text).await;
        // More than the millisecond to which arrivals are known.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let all = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    let arrival = |line: &str| serde_json::from_str::<Value>(line).unwrap()["arrival"].as_str().unwrap().to_owned();
    let arrivals: Vec<String> = all.lines().map(arrival).collect();

    let tail = world.run(&format!("tail orders --from {} --to {} --output raw", arrivals[1], arrivals[2])).await;

    assert_eq!(tail.succeeds(), "within\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_one_shard_from_a_sequence_number_and_one_key() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    let second = world.put("alpha", "two").await;
    world.put("a", "three").await;
    world.put("beta", "elsewhere").await;

    let shard = "tail orders --no-follow --output raw --shard shardId-000000000000";
    assert_eq!(world.run(&format!("{shard} --from {second}")).await.succeeds(), "two\nthree\n");
    let key = world.run("tail orders --from horizon --no-follow --output raw --key alpha").await;
    assert_eq!(key.succeeds(), "one\ntwo\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_parents_before_children() {
    let world = World::start().await;
    let kinesis = world.kinesis();
    for number in 0..20 {
        world.put("alpha", format!("{number:02}")).await;
    }
    let split = kinesis.split_shard().stream_name("orders").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("1000").send().await.unwrap();
    for number in 20..40 {
        world.put("alpha", format!("{number:02}")).await;
    }
    let (a, b) = ("shardId-000000000002", "shardId-000000000003");
    kinesis.merge_shards().stream_name("orders").shard_to_merge(a).adjacent_shard_to_merge(b).send().await.unwrap();
    for number in 40..60 {
        world.put("alpha", format!("{number:02}")).await;
    }

    let tail = world.run("tail orders --from horizon --no-follow --output raw").await.succeeds();

    let expected: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    assert_eq!(tail.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_without_an_error_when_its_reader_goes_away() {
    let world = World::start().await;
    for number in 0..50 {
        world.put("k", vec![b'x'; 100_000 + number]).await;
    }
    let mut tail = world.command("tail orders --from horizon --output raw").spawn().unwrap();
    drop(tail.stdout.take());

    let ended = timeout(PATIENCE, ended(tail)).await.unwrap();

    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_reads_do_not_count_as_failures() {
    let world = World::start().await;
    world.put("alpha", "one").await;
    let reads = || world.aws.faults().on("kinesis:GetRecords");
    let (throttled, failed) = (reads().times(3).throttle(), reads().call(4).fail());

    let tail = world.run("tail orders --from horizon --no-follow --output raw --shard shardId-000000000000").await;

    assert_eq!(tail.succeeds(), "one\n");
    assert_eq!((throttled.count(), failed.count()), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn escapes_control_characters_in_text() {
    let world = World::start().await;
    world.put("k", "bell \u{7} and \u{1b}[31mred").await;

    let tail = world.run("tail orders --from horizon --no-follow").await.succeeds();

    assert!(tail.ends_with(" k bell \\u{7} and \\u{1b}[31mred\n"), "{tail}");
}
