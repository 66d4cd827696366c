//! Checkpoints of children: what they cover, and the names by which they are refused.

use std::time::Duration;

use kinesis_local::{Fault, FaultRule};

use crate::scene::{FIRST, Scene, THIEF, is_at};

const STORED: &str = "{\"action\":\"checkpoint\",\"sequenceNumber\":null,\"subSequenceNumber\":null,\"error\":null}";

fn refused(name: &str) -> String {
    STORED.replace("\"error\":null", &format!("\"error\":\"{name}\""))
}

#[tokio::test]
async fn a_checkpoint_after_the_answer_covers_that_batch_and_not_the_next() {
    let scene = Scene::new(1).await;
    scene.put("late").await;
    let daemon = scene.start();
    scene.until_delivered("late", 1).await;
    let number = scene.sequence_number("late");
    // The child asks 300 ms after its answer; the next batch waits for it in the pipe by then, and it reads that at once.
    scene.put("die").await;

    scene.until_delivered("die", 2).await;

    let checkpoint = scene.lease(FIRST).await.checkpoint;
    assert!(is_at(&checkpoint, &number), "{checkpoint}");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn numbers_are_acknowledged_or_refused_as_by_the_daemon_for_java() {
    let scene = Scene::new(1).await;
    let checkpoint = |numbers: &str| format!("say {{\"action\": \"checkpoint\", {numbers}}}");
    scene.put(&checkpoint("\"sequenceNumber\": \"LATEST\"")).await;
    scene.put(&checkpoint("\"sequenceNumber\": 1, \"subSequenceNumber\": \"7\"")).await;
    scene.put(&checkpoint(&format!("\"sequenceNumber\": \"{}\", \"error\": null", "9".repeat(56)))).await;
    scene.put(&checkpoint("\"sequenceNumber\": \"1\", \"subSequenceNumber\": -1")).await;
    scene.put("value").await;
    let daemon = scene.start();
    scene.until_delivered("value", 1).await;
    scene.until("five acknowledgements", |scene| scene.read("\"checkpoint\"").len() >= 5).await;

    let acknowledged: Vec<String> =
        scene.read("{\"action\":\"checkpoint\"").into_iter().map(|line| line.text).collect();
    let line = |sequence: &str, sub: &str, error: &str| {
        format!(
            "{{\"action\":\"checkpoint\",\"sequenceNumber\":{sequence},\"subSequenceNumber\":{sub},\"error\":{error}}}"
        )
    };
    let illegal = "\"IllegalArgumentException\"";
    for expected in [
        line("\"LATEST\"", "null", illegal),
        line("\"1\"", "7", "null"),
        line(&format!("\"{}\"", "9".repeat(56)), "null", illegal),
        line("\"1\"", "-1", illegal),
        line("null", "null", "null"),
    ] {
        assert!(acknowledged.contains(&expected), "{expected}: {acknowledged:#?}");
    }
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_number_below_the_checkpoint_is_refused_and_the_checkpoint_itself_is_not() {
    let scene = Scene::new(1).await;
    scene.put("by-number").await;
    let daemon = scene.start();
    scene.until("two acknowledgements", |scene| scene.acknowledged().len() == 2).await;
    let number = scene.sequence_number("by-number");
    let by_number = STORED.replacen("null", &format!("\"{number}\""), 1);
    assert_eq!(scene.acknowledged(), [by_number, STORED.to_owned()], "both are the same position");

    scene.put("say {\"action\":\"checkpoint\",\"sequenceNumber\":\"1\"}").await;
    scene.until("four acknowledgements", |scene| scene.acknowledged().len() == 4).await;

    let below = refused("IllegalArgumentException").replacen("null", "\"1\"", 1);
    assert_eq!(scene.acknowledged()[2..], [below, STORED.to_owned()]);
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_number_alone_covers_the_first_user_record_of_an_aggregate() {
    let scene = Scene::new(1).await;
    scene.put_aggregate(&["by-number", "die-once", "no-checkpoint"]).await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 2).await;

    let number = scene.sequence_number("by-number");
    let again = scene.read("\"initialize\"").pop().unwrap();
    let start = format!("\"sequenceNumber\":\"{number}\",\"subSequenceNumber\":0}}");
    assert!(again.text.ends_with(&start), "{again:?}");
    let batch = scene.read("processRecords").pop().unwrap().text;
    let subs: Vec<&str> =
        batch.match_indices("\"subSequenceNumber\":").map(|(at, key)| &batch[at + key.len()..][..1]).collect();
    assert_eq!((scene.deliveries("by-number"), subs), (1, vec!["1", "2"]), "the others come again");
    scene.stop(&daemon).await;
    let lease = scene.lease(FIRST).await;
    assert!(lease.checkpoint.to_string().ends_with("/2"), "without a number it is the last: {}", lease.checkpoint);
}

#[tokio::test]
async fn before_the_first_records_and_after_the_loss_it_is_an_invalid_state() {
    let mut scene = Scene::new(1).await;
    scene.children("eager greedy");
    scene.put("value").await;
    let daemon = scene.start();
    scene.until_delivered("value", 1).await;
    scene.stop(&daemon).await;

    let invalid = refused("InvalidStateException");
    assert_eq!(scene.acknowledged(), [&invalid, STORED, STORED, &invalid]);
    let number = scene.sequence_number("value");
    assert!(is_at(&scene.lease(FIRST).await.checkpoint, &number));
}

#[tokio::test]
async fn a_checkpoint_of_a_stolen_lease_is_a_shutdown_exception_and_not_stored() {
    let mut scene = Scene::new(1).await;
    // The checkpoint itself finds out, rather than a renewal.
    scene.set("failoverTimeMillis", "60000");
    scene.put("wait").await;
    let daemon = scene.start();
    scene.until_delivered("wait", 1).await;
    scene.steal(FIRST).await;

    scene.go_on();

    scene.until("the end of the child", |scene| !scene.read("EOF").is_empty()).await;
    let pid = scene.journal()[0].pid;
    assert_eq!(scene.actions(pid), ["initialize", "processRecords", "checkpoint", "leaseLost", "EOF"]);
    assert_eq!(scene.acknowledged(), [refused("ShutdownException")]);
    let lease = scene.lease(FIRST).await;
    assert_eq!((lease.checkpoint.to_string().as_str(), lease.owner.unwrap().as_str()), ("TRIM_HORIZON", THIEF));
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_checkpoint_after_a_renewal_noticed_the_loss_is_a_shutdown_exception() {
    let mut scene = Scene::new(1).await;
    scene.set("failoverTimeMillis", "3000");
    scene.put("wait").await;
    let daemon = scene.start();
    scene.until_delivered("wait", 1).await;
    scene.steal(FIRST).await;
    // One task renews and checkpoints, so that the checkpoint comes after this.
    let renewal = scene.local.faults().on("dynamodb:UpdateItem").delay(Duration::ZERO);
    scene.until("a renewal", |_| renewal.count() > 0).await;

    scene.go_on();

    scene.until("the end of the child", |scene| !scene.read("EOF").is_empty()).await;
    assert_eq!(scene.acknowledged()[0], refused("ShutdownException"));
    // The other worker is silent, so the lease comes back.
    let number = scene.sequence_number("wait");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
    let children: Vec<u32> = scene.read("\"initialize\"").iter().map(|line| line.pid).collect();
    assert!(children.len() == 2 && children[0] != children[1], "{children:?}");
    scene.stop(&daemon).await;
}

/// A child whose checkpoint fails by this fault is told this name; it lives on, and a later checkpoint is stored.
async fn a_failing_table_is_called(name: &str, failing: impl Fn(FaultRule) -> Fault) {
    let mut scene = Scene::new(1).await;
    // Longer than the retries take: the lease must not be lost meanwhile.
    scene.set("failoverTimeMillis", "120000");
    scene.put("no-checkpoint").await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 1).await;
    let fault = failing(scene.local.faults().on("dynamodb:UpdateItem"));
    scene.put("refused").await;
    scene.until("a refusal", |scene| !scene.acknowledged().is_empty()).await;
    fault.remove();
    scene.put("accepted").await;
    scene.until_delivered("accepted", 1).await;

    let number = scene.sequence_number("accepted");
    scene.until_checkpoint(FIRST, |checkpoint| is_at(checkpoint, &number)).await;
    scene.until("both answers", |scene| scene.acknowledged().len() > 1).await;

    assert_eq!(scene.acknowledged(), [refused(name), STORED.to_owned()]);
    assert_eq!(scene.read("\"initialize\"").len(), 1, "the child lives");
    assert_eq!(scene.deliveries("refused"), 1, "its batch has not failed");
    scene.stop(&daemon).await;
}

#[tokio::test]
async fn a_throttled_checkpoint_is_a_throttling_exception() {
    a_failing_table_is_called("ThrottlingException", FaultRule::throttle).await;
}

#[tokio::test]
async fn a_failure_within_dynamodb_is_a_dependency_exception() {
    a_failing_table_is_called("KinesisClientLibDependencyException", FaultRule::fail).await;
}

#[tokio::test]
async fn a_checkpoint_that_dynamodb_refuses_is_a_dependency_exception() {
    let message = "its condition could not be looked at";
    let refuse = |rule: FaultRule| rule.refuse(400, "ValidationException", message);
    a_failing_table_is_called("KinesisClientLibDependencyException", refuse).await;
}

#[tokio::test]
async fn a_checkpoint_without_a_table_is_an_invalid_state() {
    let refuse = |rule: FaultRule| rule.refuse(400, "ResourceNotFoundException", "Requested resource not found");
    a_failing_table_is_called("InvalidStateException", refuse).await;
}
