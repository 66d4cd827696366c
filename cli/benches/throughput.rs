//! Throughput of `kds agent` beside one PutRecord at a time, and shares of a shard's read limit that `kds tail` and `kds copy`
//! use: `cargo bench -p kds`. Each is the built binary against an AWS served by this process.

#![allow(clippy::unwrap_used, reason = "a bench ends at the first failure")]

#[path = "../tests/commands/support.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

use std::{collections::HashMap, time::Duration};

use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};
use kcl::{Checkpoint, FleetStatus};
use kinesis_local::LocalAws;
use tokio::time::{Instant, sleep};

use support::{World, ended, interrupt};

/// Lines of a log file, with its text.
const LINES: usize = 1_000_000;
const TEXT: &str = "some text to make a line of a log file";
/// Shards of the stream that the agent puts to: it keeps to the limits of each.
const SHARDS: u32 = 64;
/// Time in which one record after the other is put.
const ONE_BY_ONE: Duration = Duration::from_secs(5);
/// Bytes of a record, and records of a backlog for each of two shards.
const RECORD_BYTES: usize = 100_000;
const BACKLOG: usize = 400;
/// Bytes that a shard returns in a second. Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const READ_BYTES_PER_SECOND: f64 = 2.0 * 1_024.0 * 1_024.0;
/// Hash keys of the two shards.
const HASH_KEYS: [&str; 2] = ["0", "340282366920938463463374607431768211455"];

#[tokio::main]
async fn main() {
    agent().await;
    reading().await;
}

/// Records a second that the SDK puts one at a time, and those of the agent, plain and aggregated.
async fn agent() {
    let one_by_one = one_by_one(&World::start().await).await;
    println!("one PutRecord at a time: {one_by_one:.0} records/s");
    for (name, setting) in [("plain", ""), ("aggregated", r#", "aggregatedRecordSizeBytes": 51200"#)] {
        let followed = followed(&World::start().await, setting).await;
        println!("kds agent, {name}: {followed:.0} records/s, {:.1} times as many", followed / one_by_one);
    }
}

async fn one_by_one(world: &World) -> f64 {
    // Through a socket, as the agent does.
    let sockets = aws_smithy_http_client::Builder::new().build_http();
    let config = world.aws.sdk_config().into_builder().endpoint_url(world.server.kinesis_url()).http_client(sockets);
    let (kinesis, begun, mut records) = (Client::new(&config.build()), Instant::now(), 0_u32);
    while begun.elapsed() < ONE_BY_ONE {
        let put = kinesis.put_record().stream_name("orders").partition_key(records.to_string());
        put.data(Blob::new(format!("{records:08} {TEXT}"))).send().await.unwrap();
        records += 1;
    }
    f64::from(records) / begun.elapsed().as_secs_f64()
}

/// From the start of the agent until its state file says that all is stored.
async fn followed(world: &World, setting: &str) -> f64 {
    world.aws.create_stream("logs", SHARDS).unwrap();
    let text: String = (0..LINES).map(|number| format!("{number:08} {TEXT}\n")).collect();
    std::fs::create_dir_all(world.path().join("log")).unwrap();
    world.write("log/app.log", &text);
    let pattern = world.path().join("log/app.log");
    let flow = format!(r#""filePattern": "{}", "kinesisStream": "logs"{setting}"#, pattern.display());
    world.write("agent.json", format!(r#"{{"flows": [{{{flow}, "initialPosition": "START_OF_FILE"}}]}}"#));
    let begun = Instant::now();
    let agent = world.command("agent agent.json").spawn().unwrap();
    world.until_file("agent.json.state", &format!("\"position\": {},", text.len())).await;
    let seconds = begun.elapsed().as_secs_f64();
    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);
    LINES as f64 / seconds
}

/// Shares of the read limit, of services that enforce their limits.
async fn reading() {
    let world = World::serve(LocalAws::builder().enforce_limits().start().await).await;
    world.aws.create_stream("copies", 8).unwrap();
    let last = fill(&world).await;
    let share = |begun: Instant| {
        (BACKLOG * RECORD_BYTES) as f64 / begun.elapsed().as_secs_f64() / READ_BYTES_PER_SECOND * 100.0
    };

    let begun = Instant::now();
    let tail = world.run("tail orders --from horizon --no-follow --output raw").await;
    println!("kds tail: {:.0} % of the read limit of each shard", share(begun));
    assert_eq!(tail.succeeds().lines().count(), 2 * BACKLOG);

    let begun = Instant::now();
    let copy = world.command("copy orders copies").spawn().unwrap();
    while !is_copied(&world, &last).await {
        sleep(Duration::from_millis(100)).await;
    }
    println!("kds copy: {:.0} % of the read limit of each shard, from its start", share(begun));
    interrupt(&copy);
    assert_eq!(ended(copy).await.code, 0);
}

/// Puts a backlog; returns the last sequence number of each shard.
async fn fill(world: &World) -> HashMap<String, String> {
    let (kinesis, data, mut last) = (world.kinesis(), Blob::new(vec![b'x'; RECORD_BYTES]), HashMap::new());
    let (mut left, mut number) = ([BACKLOG; 2], 0_u32);
    while left != [0; 2] {
        let places: Vec<usize> = (0..2).flat_map(|shard| vec![shard; left[shard].min(10)]).collect();
        let entries = places.iter().map(|shard| {
            // By their partition keys, which a copy keeps, they spread over the shards of another stream.
            number += 1;
            let entry = PutRecordsRequestEntry::builder().partition_key(number.to_string());
            let entry = entry.explicit_hash_key(HASH_KEYS[*shard]);
            entry.data(data.clone()).build().unwrap()
        });
        let put = kinesis.put_records().stream_name("orders").set_records(Some(entries.collect()));
        let outcomes = put.send().await.unwrap();
        for (shard, outcome) in places.iter().zip(outcomes.records()) {
            if let (Some(id), Some(number)) = (outcome.shard_id(), outcome.sequence_number()) {
                left[*shard] -= 1;
                last.insert(id.to_owned(), number.to_owned());
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    last
}

/// True once the checkpoint of each shard is at its last record.
async fn is_copied(world: &World, last: &HashMap<String, String>) -> bool {
    let Ok(fleet) = FleetStatus::read(&world.aws.sdk_config(), "kds-copy-orders-copies").await else { return false };
    last.iter().all(|(shard, number)| {
        let lease = fleet.leases.iter().find(|lease| lease.shard_id.as_str() == shard);
        lease.is_some_and(|lease| match &lease.checkpoint {
            Checkpoint::At(position) => position.sequence_number.to_string() == *number,
            _ => false,
        })
    })
}
