//! `kds decode`.

use serde_json::Value;

use crate::support::{World, aggregate};

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_an_aggregate_apart_from_a_file_hex_or_base64() {
    let world = World::start().await;
    let data = aggregate(&[("alpha", "one"), ("beta", "two")]);
    world.write("record.bin", &data);

    let binary = world.run("decode record.bin").await.succeeds();
    assert!(binary.starts_with("aggregate, "), "{binary}");
    assert!(binary.contains("  0 alpha one\n  1 beta two\n"), "{binary}");
    assert_eq!(world.run(&format!("decode --data {}", hex(&data))).await.succeeds(), binary);
    let base64 = base64_simd::STANDARD.encode_to_string(&data);
    assert_eq!(world.feed("decode", base64).await.succeeds(), binary);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_on_which_shards_a_kcl_drops_it() {
    let world = World::start().await;
    world.write("record.bin", aggregate(&[("alpha", "one"), ("a", "two")]));

    let json = world.run("decode record.bin --stream orders --json").await.succeeds();

    let report: Value = serde_json::from_str(&json).unwrap();
    let verdicts: Vec<(&str, u64, u64)> = report["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["shardId"].as_str().unwrap(), it["delivered"].as_u64().unwrap(), it["dropped"].as_u64().unwrap()))
        .collect();
    assert_eq!(verdicts, [("shardId-000000000000", 2, 0), ("shardId-000000000001", 0, 2)]);
    assert!(report["verdicts"][1]["reason"].as_str().unwrap().contains("2 of 2 belong to other shards"));
    assert_eq!(report["records"][1]["partitionKey"], "a");
}
