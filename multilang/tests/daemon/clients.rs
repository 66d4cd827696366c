//! Lives of children that write the bytes of one client each.
//!
//! Recorded from `amazon_kclpy` 3.1.3, `aws-kcl` 2.3.2, `aws-kclrb` 3.1.1 and the client for .NET (3.1.3 of the daemon; on
//! Mono 6.8) by a pipe in between.

use crate::scene::{FIRST, Scene, is_at};

const PYTHON: [&str; 2] = [
    r#"{"action": "status", "responseFor": "ACTION"}"#,
    r#"{"action": "checkpoint", "sequenceNumber": NUMBER, "subSequenceNumber": null}"#,
];
const NODE: [&str; 2] =
    [r#"{"action":"status","responseFor":"ACTION"}"#, r#"{"action":"checkpoint","sequenceNumber":NUMBER}"#];
const NET: [&str; 2] = [
    r#"{"action":"status","responseFor":"ACTION"}"#,
    r#"{"action":"checkpoint","error":null,"sequenceNumber":NUMBER}"#,
];

/// Lines of a child: what it read, and what it wrote.
fn lines(scene: &Scene, pid: u32) -> Vec<(char, String)> {
    let own = scene.journal().into_iter().filter(|line| line.pid == pid);
    own.map(|line| (if line.is_read { '<' } else { '>' }, line.text)).collect()
}

/// Two whole lives with the lines of a client: one to the end of its shard, one that is stopped.
async fn lives(client: &str, [status, checkpoint]: [&str; 2]) {
    let mut scene = Scene::new(1).await;
    scene.children(&format!("as={client}"));
    scene.put("by-number").await;
    let daemon = scene.start();
    scene.until_delivered("by-number", 1).await;
    scene.close_shard().await;
    scene.until_checkpoint(FIRST, |checkpoint| checkpoint.to_string() == "SHARD_END").await;
    scene.until("children of the two new shards", |scene| scene.read("\"initialize\"").len() == 3).await;
    scene.put("no-checkpoint").await;
    scene.until_delivered("no-checkpoint", 1).await;
    scene.stop(&daemon).await;

    let number = format!("\"{}\"", scene.sequence_number("by-number"));
    let read = |text: &str| ('<', text.to_owned());
    let answer = |action: &str| ('>', status.replace("ACTION", action));
    let ask = |number: &str| ('>', checkpoint.replace("NUMBER", number));
    let acknowledged = |number: &str| {
        let rest = "\"subSequenceNumber\":null,\"error\":null}";
        ('<', format!("{{\"action\":\"checkpoint\",\"sequenceNumber\":{number},{rest}"))
    };
    let first = lines(&scene, scene.journal()[0].pid);
    assert_eq!(
        first[0],
        read(&format!(
            "{{\"action\":\"initialize\",\"shardId\":\"{FIRST}\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}}"
        ))
    );
    assert_eq!(first[1], answer("initialize"));
    assert!(
        first[2].1.starts_with("{\"action\":\"processRecords\",\"records\":[{\"data\":\"YnktbnVtYmVy\","),
        "{first:?}"
    );
    let rest = [
        ask(&number),
        acknowledged(&number),
        ask("null"),
        acknowledged("null"),
        answer("processRecords"),
        read("{\"action\":\"shardEnded\"}"),
        ask("null"),
        acknowledged("null"),
        answer("shardEnded"),
        read("EOF"),
    ];
    assert_eq!(first[3..], rest);
    let stopped = lines(&scene, scene.read("\"no-checkpoint\"")[0].pid);
    let rest = [
        answer("processRecords"),
        read("{\"action\":\"shutdownRequested\"}"),
        ask("null"),
        acknowledged("null"),
        answer("shutdownRequested"),
        read("{\"action\":\"leaseLost\"}"),
        answer("leaseLost"),
        read("EOF"),
    ];
    assert_eq!(stopped[stopped.len() - rest.len()..], rest);
    let lease = scene.lease(&scene.shard_of("no-checkpoint")).await;
    assert!(is_at(&lease.checkpoint, &scene.sequence_number("no-checkpoint")), "{lease:?}");
}

#[tokio::test]
async fn a_child_with_the_bytes_of_python_lives() {
    lives("python", PYTHON).await;
}

#[tokio::test]
async fn a_child_with_the_bytes_of_node_and_ruby_lives() {
    lives("node", NODE).await;
}

#[tokio::test]
async fn a_child_with_the_bytes_of_net_lives() {
    lives("net", NET).await;
}

#[tokio::test]
async fn a_child_with_the_bytes_of_net_on_windows_lives() {
    lives("net-windows", NET).await;
}
