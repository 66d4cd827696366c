//! Lives of children: normal ones, and such that end or go wrong in the middle.

use kcl_multilang::Daemon;
use serde_json::Value;

use crate::scene::{Scene, is_at, is_running};

const FIRST: &str = "shardId-000000000000";

/// State of the first shard's child, as probes answer it.
fn child(daemon: &Daemon) -> Value {
    serde_json::to_value(daemon.health()).unwrap()["children"][FIRST].clone()
}

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
async fn a_death_in_a_batch_concerns_its_shard_alone_and_the_batch_comes_again() {
    let scene = Scene::new(2).await;
    scene.put_to(1, "calm").await;
    let daemon = scene.start();
    scene.until_delivered("calm", 1).await;
    scene.put("before").await;
    scene.until_delivered("before", 1).await;
    scene.put("die-once").await;
    scene.until_delivered("die-once", 2).await;
    scene.put_to(1, "calm as ever").await;
    scene.until_delivered("calm as ever", 1).await;

    let number = scene.sequence_number("die-once");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;

    let calm = scene.read("calm");
    assert_eq!(calm[0].pid, calm[1].pid, "it is the same child");
    assert_eq!(scene.deliveries("before"), 1, "it was checkpointed");
    let before = scene.sequence_number("before");
    let again = scene.read("\"initialize\"").pop().unwrap();
    assert!(again.text.contains(&format!("\"sequenceNumber\":\"{before}\",\"subSequenceNumber\":0")), "{again:?}");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn an_exit_with_0_before_the_answer_is_a_failure_too() {
    let scene = Scene::new(1).await;
    scene.put("leave-once").await;
    let daemon = scene.start();

    scene.until_delivered("leave-once", 2).await;

    let number = scene.sequence_number("leave-once");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
    scene.stop(&daemon).await;
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
async fn a_child_that_does_not_answer_is_ended_and_its_batch_comes_again() {
    let mut scene = Scene::new(1).await;
    scene.set("timeoutInSeconds", "1");
    scene.put("hang-once").await;
    let daemon = scene.start();

    scene.until_delivered("hang-once", 2).await;

    let number = scene.sequence_number("hang-once");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
    scene.stop(&daemon).await;
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
async fn a_wrong_answer_ends_the_child_and_its_batch_comes_again() {
    let scene = Scene::new(1).await;
    scene.put("wrong-once").await;
    let daemon = scene.start();

    scene.until_delivered("wrong-once", 2).await;

    let number = scene.sequence_number("wrong-once");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_second_answer_is_none_to_the_next_batch() {
    let scene = Scene::new(1).await;
    scene.put("double").await;
    let daemon = scene.start();
    scene.until_delivered("double", 1).await;
    scene.put("die-once").await;

    scene.until_delivered("die-once", 2).await;

    let number = scene.sequence_number("die-once");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
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

#[tokio::test]
async fn a_death_at_the_end_of_a_shard_has_its_last_records_come_again() {
    let mut scene = Scene::new(1).await;
    scene.children("end=die-once");
    scene.put("no-checkpoint").await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 1).await;
    scene.close_shard().await;

    scene.until_checkpoint(FIRST, |checkpoint| checkpoint.to_string() == "SHARD_END").await;

    assert_eq!(scene.deliveries("no-checkpoint"), 2);
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_record_at_which_children_keep_dying_becomes_a_dead_letter() {
    let mut scene = Scene::new(1).await;
    let file = scene.folder.path().join("dead-letters");
    scene.set("deadLetterFile", &file.display().to_string());
    scene.set("processorErrorAttempts", "2");
    for data in ["a", "die", "b"] {
        scene.put(data).await;
    }
    let daemon = scene.start();

    scene
        .until("the record after it", |scene| {
            scene.deliveries("b") > 0 && file.exists() && !scene.read("\"b\"").is_empty()
        })
        .await;
    let number = scene.sequence_number("b");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;

    let text = std::fs::read_to_string(&file).unwrap();
    let letters: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 1, "{text}");
    assert_eq!((letters[0]["partitionKey"].as_str(), letters[0]["data"].as_str()), (Some("die"), Some("ZGll")));
    assert_eq!(letters[0]["error"], "child ended, exit status: 3, before its answer to processRecords");
    assert_eq!(letters[0]["shardId"], FIRST);
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_child_killed_while_it_had_nothing_to_do_is_held_against_no_record() {
    let mut scene = Scene::new(1).await;
    scene.set("processorErrorPolicy", "SKIP");
    scene.set("processorErrorAttempts", "1");
    scene.put("no-checkpoint").await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 1).await;
    scene
        .until("the answer", |scene| {
            scene.journal().iter().any(|line| !line.is_read && line.text.contains("processRecords"))
        })
        .await;
    let pid = scene.read("\"initialize\"")[0].pid;
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    scene.until("its end", |_| !child(&daemon)["last_failure"].is_null()).await;
    scene.put("next").await;

    scene.until_delivered("next", 1).await;

    assert_eq!(scene.deliveries("no-checkpoint"), 2, "it was not checkpointed");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn ten_thousand_records_are_one_line_for_a_child_that_writes_while_it_reads() {
    let mut scene = Scene::new(1).await;
    scene.children("chatty");
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
