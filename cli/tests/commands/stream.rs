//! `kds stream`.

use kinesis_local::LocalAws;
use serde_json::Value;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn shows_facts_and_the_lineage_of_shards() {
    let world = World::start().await;
    world.run("stream split orders shardId-000000000000 --yes").await;

    let text = world.run("stream orders").await.succeeds();
    for expected in [
        "stream      orders, ACTIVE, PROVISIONED\n",
        "retention   1 d\n",
        "consumers   none with fan-out\n",
        "limits      3 MiB/s and 3,000 records/s to put, 6 MiB/s to read",
        "shards      3 open of 4\n",
        "  shardId-000000000000 0.0..50.0 % closed\n  ├─ shardId-000000000002 0.0..25.0 % open\n  └─ shardId-000000000003",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    let json: Value = serde_json::from_str(&world.run("stream orders --json").await.succeeds()).unwrap();
    assert_eq!((&json["openShards"], &json["shards"][3]["parents"][0]), (&3.into(), &"shardId-000000000000".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_splits_merges_scales_and_deletes() {
    let aws = LocalAws::builder().creating_takes(std::time::Duration::from_millis(700));
    let world = World::serve(aws.updating_takes(std::time::Duration::from_millis(700)).start().await).await;

    let created = world.run("stream create trades --shards 2 --yes").await;
    assert!(created.stdout.starts_with("stream trades is ACTIVE with 2 open shards after "), "{created:?}");
    assert_eq!(created.stderr, "create stream trades in us-east-1: 2 shards\n");
    let split = world.run("stream split trades shardId-000000000001 --at 75% --yes").await;
    assert!(split.stdout.contains("ACTIVE with 3 open shards"), "{split:?}");
    let merged = world.run("stream merge trades shardId-000000000002 shardId-000000000000 --yes").await;
    assert!(merged.stderr.starts_with("merge shardId-000000000000 and shardId-000000000002"), "{merged:?}");
    assert!(merged.stdout.contains("ACTIVE with 2 open shards"), "{merged:?}");
    let scaled = world.run("stream scale trades --to 4 --yes").await;
    assert!(scaled.stdout.contains("ACTIVE with 4 open shards"), "{scaled:?}");
    let deleted = world.run("stream delete trades --yes").await;
    assert!(deleted.stdout.starts_with("stream trades is deleted after"), "{deleted:?}");

    world.run("stream trades").await.fails_with(&["stream trades does not exist in us-east-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_nothing_that_nobody_confirms_or_that_cannot_be() {
    let world = World::start().await;

    for (arguments, texts) in [
        ("stream split orders shardId-000000000007 --yes", ["the stream has no shardId-000000000007", "kds stream"]),
        ("stream split orders shardId-000000000000 --at 0 --yes", ["cannot be split at 0", "within 0..="]),
        ("stream scale orders --to 9 --yes", ["cannot be scaled to 9 at once", "--to 4 first"]),
        ("stream create orders --shards 1 --yes", ["stream orders is being changed, or exists already", "again"]),
        ("stream delete missing --yes", ["stream missing does not exist", "--region"]),
    ] {
        let refused = world.run(arguments).await;
        assert_eq!(refused.code, 1, "{arguments}");
        let error = refused.stderr.lines().last().unwrap();
        assert!(texts.iter().all(|text| error.contains(text)), "{arguments}: {error}");
    }
    let unasked = world.run("stream delete orders").await;
    assert!(
        unasked.stderr.ends_with("nothing was changed, since nobody can be asked here: pass --yes\n"),
        "{unasked:?}"
    );

    assert!(world.run("stream orders").await.succeeds().contains("shards      2 open of 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_consumers_is_deleted_only_on_request() {
    let world = World::start().await;
    let arn = world.kinesis().describe_stream_summary().stream_name("orders").send().await.unwrap();
    let arn = arn.stream_description_summary.unwrap().stream_arn;
    world.kinesis().register_stream_consumer().stream_arn(arn).consumer_name("audit").send().await.unwrap();

    assert!(world.run("stream orders").await.succeeds().contains("consumers   audit (ACTIVE)\n"));
    world.run("stream delete orders --yes").await.fails_with(&["has 1 fan-out consumer", "--with-consumers"]);
    assert_eq!(world.run("stream delete orders --with-consumers --yes").await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_the_load_and_proposes_a_split() {
    let world = World::start().await;
    let sampling = world.command("stream orders --hot --for 4s --json").spawn().unwrap();
    let putting = tokio::spawn({
        let kinesis = world.kinesis();
        async move {
            for number in 0.. {
                let put = kinesis.put_record().stream_name("orders").partition_key(["alpha", "a"][number % 2]);
                let put = put.data(aws_sdk_kinesis::primitives::Blob::new(vec![b'x'; 1_000]));
                put.send().await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    });

    let json = crate::support::ended(sampling).await.succeeds();
    putting.abort();

    let loads: Value = serde_json::from_str(&json).unwrap();
    let hot = &loads[0];
    assert_eq!(hot["shardId"], "shardId-000000000000");
    assert!(hot["recordsPerSecond"].as_f64().unwrap() > 5.0, "{hot}");
    assert_eq!(hot["keys"].as_array().unwrap().len(), 2);
    // Between the hash keys of a and alpha.
    assert_eq!(hot["split"]["at"], kpl::HashKey::of_partition_key("alpha").to_string());
    assert_eq!(loads[1]["recordsPerSecond"], 0.0);
}
