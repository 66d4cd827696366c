//! Compressed records: `kds put --compress`, `tail`, `decode`, `train-dictionary`.

use serde_json::Value;

use crate::support::World;

/// Lines that have much in common.
fn lines(count: u32) -> String {
    (0..count).map(|n| format!("{{\"customer\":\"c-{}\",\"item\":\"tea\",\"price\":{}}}\n", n % 100, n * 7)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_frames_that_tail_opens_and_decode_explains() {
    for codec in ["zstd", "zstd:1", "gzip", "lz4"] {
        let world = World::start().await;
        world.write("a.jsonl", lines(500));

        world.run(&format!("put orders a.jsonl --key field:customer --compress {codec}")).await.succeeds();

        let mut expected: Vec<String> = lines(500).lines().map(str::to_owned).collect();
        expected.sort();
        assert_eq!(world.stored().await, expected, "{codec}");
        let raw = world.run("tail orders --from horizon --no-follow --no-deaggregation --json").await.succeeds();
        let first: Value = serde_json::from_str(raw.lines().next().unwrap()).unwrap();
        let explained = world.run(&format!("decode --data {}", first["data"].as_str().unwrap())).await.succeeds();
        let name = codec.split(':').next().unwrap();
        assert!(explained.starts_with("compressed record, ") && explained.contains(name), "{explained}");
        assert!(explained.contains("opaque to other libraries\naggregate, "), "{explained}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dictionary_is_trained_put_with_and_needed_to_read() {
    let world = World::start().await;
    world.write("samples.jsonl", lines(2000));
    // One record, of five orders.
    world.write("a.log", lines(5).replace('\n', " ") + "\n");

    let trained = world.run("train-dictionary samples.jsonl --output d.dict --max-bytes 2048 --json").await.succeeds();
    let report: Value = serde_json::from_str(&trained).unwrap();
    assert_eq!((&report["samples"], world.path().join("d.dict").exists()), (&2000.into(), true));
    world.run("put orders a.log --no-aggregation --compress zstd --dictionary d.dict").await.succeeds();

    let with = world.run("tail orders --from horizon --no-follow --output raw --dictionary d.dict").await.succeeds();
    assert_eq!(with, world.read("a.log"));
    let without = world.run("tail orders --from horizon --no-follow --output raw").await;
    assert_eq!(without.code, 0);
    let reason =
        format!("1 compressed record printed as stored, the first because frame needs the dictionary {}", report["id"]);
    assert!(without.stderr.contains(&reason), "{}", without.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trained_or_compressed_is_refused() {
    let world = World::start().await;
    world.write("few.jsonl", "one\ntwo\n");

    let few = world.run("train-dictionary few.jsonl --output d.dict").await;
    few.fails_with(&["no dictionary can be trained by 2 samples", "give more lines"]);
    let level = world.run("put orders few.jsonl --compress zstd:20").await;
    assert_eq!(level.code, 2, "{}", level.stderr);
    let other = world.run("put orders few.jsonl --compress zstd --dictionary few.jsonl").await;
    other.fails_with(&["few.jsonl is no dictionary", "no zstd dictionary"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_by_partition_key_is_that_of_what_is_compressed_if_it_can_be_opened() {
    let world = World::start().await;
    world.write("samples.jsonl", lines(2000));
    world.run("train-dictionary samples.jsonl --output d.dict --max-bytes 2048").await.succeeds();
    let sample = |arguments: &'static str| {
        crate::support::ended(
            world.command(&format!("stream orders --hot --for 8s --json {arguments}")).spawn().unwrap(),
        )
    };
    let sampled = async { tokio::join!(sample("--dictionary d.dict"), sample("")) };
    let mut sampled = std::pin::pin!(sampled);

    // Puts until both have ended, however long a put takes.
    let (with, without) = loop {
        let put = world.run("put orders samples.jsonl --key text:hot --compress zstd --dictionary d.dict");
        tokio::select! {
            ended = &mut sampled => break ended,
            put = put => drop(put.succeeds()),
        }
    };

    assert!(with.stdout.contains("\"partitionKey\":\"hot\""), "{with:?}");
    assert!(
        without.stderr.contains("counted under their own partition keys") && !without.stdout.contains("hot"),
        "{without:?}"
    );
}
