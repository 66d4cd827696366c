//! `kds completions` and `kds man`.

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn prints_completions_of_each_shell() {
    let world = World::start().await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.run(&format!("completions {shell}")).await.succeeds();
        assert!(script.contains("tail") && script.contains("decode"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_a_page_for_each_command() {
    let world = World::start().await;

    world.run("man --output pages").await.succeeds();

    let page = world.read("pages/kds-put.1");
    assert!(page.contains(".TH kds-put 1") && page.contains("failures"), "{page}");
    assert!(world.run("man").await.succeeds().contains(".TH kds 1"));
}
