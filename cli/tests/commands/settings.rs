//! `kds settings`.

use serde_json::Value;

use crate::support::World;

/// A file of the repository.
fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_in_the_documentation_are_those_of_the_libraries() {
    let world = World::start().await;
    for library in ["producer", "worker"] {
        let printed = world.run(&format!("settings {library} --schema")).await.succeeds();

        assert_eq!(printed, read(&format!("docs/schema/{library}.json")), "kds settings {library} --schema");
        let schema: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_each_setting_with_what_is_accepted() {
    let world = World::start().await;

    let table = world.run("settings worker").await.succeeds();

    let retrieval = "Way to read shards: polling, fan-out, fan-out-or-polling";
    assert!(table.lines().any(|line| line.starts_with("retrieval ") && line.ends_with(retrieval)), "{table}");
}
