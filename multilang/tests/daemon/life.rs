//! Lives of children in which nothing fails.

use std::time::Duration;

use serde_json::Value;

use crate::scene::{FIRST, Scene, child, is_at, is_running};

#[tokio::test]
async fn a_child_is_told_of_its_shard_from_the_first_record_to_the_end() {
    let scene = Scene::new(1).await;
    scene.put("a").await;
    scene.put("b").await;
    let daemon = scene.start();
    scene.until_delivered("b", 1).await;
    scene.close_shard().await;
    scene.until("the shard's end", |scene| !scene.read("shardEnded").is_empty()).await;

    scene.until("children of the two new shards", |scene| scene.read("\"initialize\"").len() == 3).await;
    scene.until("the end of the first child", |scene| !scene.read("EOF").is_empty()).await;

    let journal = scene.journal();
    let first = journal[0].clone();
    assert_eq!(
        first.text,
        "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000000\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}"
    );
    let actions = scene.actions(first.pid);
    assert_eq!(actions.first().map(String::as_str), Some("initialize"));
    assert_eq!(actions[actions.len() - 3..], ["shardEnded", "checkpoint", "EOF"]);
    assert_eq!(scene.lease(FIRST).await.checkpoint.to_string(), "SHARD_END");
    assert_eq!((scene.deliveries("a"), scene.deliveries("b")), (1, 1));
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn children_receive_compressed_records_as_they_were_put() {
    let scene = Scene::new(1).await;
    let names: Vec<String> = (0..50).map(|n| format!("record-{n}")).collect();
    scene.put_compressed(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let daemon = scene.start();

    scene.until_delivered("record-49", 1).await;

    assert!(names.iter().all(|name| scene.deliveries(name) == 1));
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn fan_out_and_polling_deliver_the_same_lines() {
    let mut lines = Vec::new();
    for mode in ["FANOUT", "POLLING"] {
        let mut scene = Scene::new(1).await;
        scene.set("retrievalMode", mode);
        let subscriptions = scene.local.faults().on("kinesis:SubscribeToShard").delay(Duration::ZERO);
        scene.put("plain").await;
        scene.put_aggregate(&["first", "second"]).await;
        let daemon = scene.start();
        scene.until_delivered("second", 1).await;
        scene.stop(&daemon).await;
        assert_eq!(subscriptions.count() > 0, mode == "FANOUT");
        let records = scene.read("processRecords").into_iter().flat_map(|line| {
            let batch: Value = serde_json::from_str(&line.text).unwrap();
            batch["records"].as_array().unwrap().clone()
        });
        let plain = |mut record: Value| {
            for unlike in ["sequenceNumber", "approximateArrivalTimestamp"] {
                assert!(!record[unlike].is_null(), "{record}");
                record[unlike] = Value::Null;
            }
            record.to_string()
        };
        lines.push(records.map(plain).collect::<Vec<_>>());
    }

    assert_eq!(lines[0].len(), 3);
    assert_eq!(lines[0], lines[1]);
}

#[tokio::test]
async fn a_shard_that_is_handed_over_goes_on_elsewhere_from_its_checkpoint() {
    let scene = Scene::new(2).await;
    scene.put("no-checkpoint").await;
    scene.put_to(1, "no-checkpoint").await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 2).await;

    let second = scene.start();

    scene.until("a child elsewhere", |scene| scene.read("\"initialize\"").len() == 3).await;
    let handed_over = scene.read("shutdownRequested")[0].pid;
    let actions = scene.actions(handed_over);
    assert_eq!(actions[actions.len() - 4..], ["shutdownRequested", "checkpoint", "leaseLost", "EOF"]);
    let elsewhere = scene.read("\"initialize\"").pop().unwrap().text;
    let at_a_number = "\"sequenceNumber\":\"4";
    assert!(elsewhere.contains(at_a_number), "{elsewhere}");
    scene.stop(&second).await;
    scene.stop(&daemon).await;
    assert_eq!(scene.deliveries("no-checkpoint"), 2, "it was checkpointed");
}

#[tokio::test]
async fn the_exit_code_after_the_last_answer_does_not_count() {
    let mut scene = Scene::new(1).await;
    scene.children("exit=7");
    scene.put("a").await;
    let daemon = scene.start();
    scene.until_delivered("a", 1).await;
    let pid = scene.journal()[0].pid;
    scene.close_shard().await;
    scene.until("children of the two new shards", |scene| scene.read("\"initialize\"").len() == 3).await;
    scene.until("the end of the first child", |_| !is_running(pid)).await;

    assert!(child(&daemon).is_null(), "{}", child(&daemon));
    scene.stop(&daemon).await;
    assert_eq!(scene.read("\"initialize\"").len(), 3);
}

#[tokio::test]
async fn garbage_on_its_output_is_no_message() {
    let scene = Scene::new(1).await;
    scene.put("garbage").await;
    scene.put("flood").await;
    let daemon = scene.start();
    scene.until_delivered("flood", 1).await;
    let number = scene.sequence_number("flood");

    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;

    assert_eq!((scene.deliveries("garbage"), scene.deliveries("flood")), (1, 1));
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn text_without_an_end_after_an_answer_holds_nothing_up() {
    let scene = Scene::new(1).await;
    scene.put("trail").await;
    let daemon = scene.start();
    scene.until_delivered("trail", 1).await;
    scene.put("next").await;
    scene.until_delivered("next", 1).await;

    let number = scene.sequence_number("next");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;

    assert_eq!(scene.read("\"initialize\"").len(), 1, "it is the same child");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn ten_thousand_records_are_one_line_for_a_child_that_writes_while_it_reads() {
    let mut scene = Scene::new(1).await;
    scene.children("chatty");
    scene.set("memoryBudgetMiB", "256");
    let client = aws_sdk_kinesis::Client::new(&scene.local.sdk_config());
    for batch in 0..20 {
        let entry = |n: usize| {
            let data = aws_sdk_kinesis::primitives::Blob::new(vec![b'v'; 1024]);
            let key = (batch * 500 + n).to_string();
            aws_sdk_kinesis::types::PutRecordsRequestEntry::builder().partition_key(key).data(data).build().unwrap()
        };
        let put = client.put_records().stream_name("stream").set_records(Some((0..500).map(entry).collect()));
        assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
    }
    let daemon = scene.start();

    scene.until_delivered("9999", 1).await;
    let number = scene.sequence_number("9999");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;

    let longest = scene.read("processRecords").iter().map(|line| line.text.len()).max();
    assert!(longest > Some(10_000_000), "{longest:?}");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn an_end_without_a_checkpoint_is_asked_for_again() {
    let mut scene = Scene::new(1).await;
    scene.children("end=no-checkpoint-once");
    scene.put("a").await;
    let daemon = scene.start();
    scene.until_delivered("a", 1).await;
    scene.close_shard().await;

    scene.until_checkpoint(FIRST, |checkpoint| checkpoint.to_string() == "SHARD_END").await;

    let ends = scene.read("shardEnded");
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0].pid, ends[1].pid);
    scene.stop(&daemon).await;
}
