//! Children that end or go wrong in the middle of their life: their shard goes on, and nothing is lost.

use crate::scene::{FIRST, Scene, child, is_at};

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
    assert_eq!((letters[0]["partitionKey"].as_str(), letters[0]["text"].as_str()), (Some("die"), Some("die")));
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
