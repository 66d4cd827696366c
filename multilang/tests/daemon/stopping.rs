//! Stops by the handle.

use crate::scene::{FIRST, Scene, is_at, is_running, script, scripted};

#[tokio::test]
async fn a_stop_asks_children_to_checkpoint_and_releases_the_leases() {
    let scene = Scene::new(1).await;
    scene.put("no-checkpoint").await;
    let daemon = scene.start();
    scene.until_delivered("no-checkpoint", 1).await;

    scene.stop(&daemon).await;

    let pid = scene.journal()[0].pid;
    let actions = scene.actions(pid);
    assert_eq!(actions, ["initialize", "processRecords", "shutdownRequested", "checkpoint", "leaseLost", "EOF"]);
    let lease = scene.lease(FIRST).await;
    assert!(is_at(&lease.checkpoint, &scene.sequence_number("no-checkpoint")) && lease.owner.is_none(), "{lease:?}");
}

#[tokio::test]
async fn a_stop_is_bounded_by_children_that_do_not_end() {
    let mut scene = Scene::new(1).await;
    let text = format!(
        "trap '' TERM\nexec {} journal={} linger",
        scripted().display(),
        scene.folder.path().join("journal").display()
    );
    let program = script(&scene.folder, &text);
    scene.set("executableName", &program.display().to_string());
    scene.put("value").await;
    let daemon = scene.start();
    scene.until_delivered("value", 1).await;

    // By itself the child would stay for an hour.
    scene.stop(&daemon).await;

    let pid = scene.journal()[0].pid;
    assert!(!is_running(pid), "it is gone");
    assert_eq!(scene.lease(FIRST).await.owner, None);
}

#[tokio::test]
async fn a_stop_in_a_batch_that_never_ends_waits_for_the_grace_alone() {
    let mut scene = Scene::new(1).await;
    scene.set("shutdownGraceMillis", "500");
    scene.put("hang-once").await;
    let daemon = scene.start();
    scene.until_delivered("hang-once", 1).await;

    // The batch would take an hour.
    scene.stop(&daemon).await;

    let lease = scene.lease(FIRST).await;
    assert_eq!((lease.owner, lease.checkpoint.to_string().as_str()), (None, "TRIM_HORIZON"));
}
