//! `kds put`.

use serde_json::Value;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn puts_lines_of_files_and_stdin_and_reports_them() {
    let world = World::start().await;
    world.write("a.log", "one\ntwo\r\nthree");

    let put = world.feed("put orders a.log -", "four\n\nfive\n").await;

    assert!(put.succeeds().starts_with("stored 6 records ("));
    assert_eq!(world.stored().await, ["", "five", "four", "one", "three", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_partition_keys_of_fields_and_columns() {
    let world = World::start().await;
    world.write("a.jsonl", "{\"customer\":{\"id\":7}}\n\n{\"customer\":{\"id\":\"x\"}}\n");
    world.write("b.csv", "id,note\n7,\"two\nlines\"\n");

    world.run("put orders a.jsonl --key field:customer.id").await.succeeds();
    world.run("put orders b.csv --key column:id").await.succeeds();

    let tail = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    let mut records: Vec<(String, String)> = tail
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| (line["partitionKey"].as_str().unwrap().into(), line["text"].as_str().unwrap().into()))
        .collect();
    records.sort();
    let expected = [
        ("7", r#"{"customer":{"id":7}}"#),
        ("7", r#"{"id":"7","note":"two\nlines"}"#),
        ("x", r#"{"customer":{"id":"x"}}"#),
    ];
    assert_eq!(records, expected.map(|(key, text)| (key.to_owned(), text.to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_record_is_kept_for_another_put() {
    let world = World::start().await;
    world.write("a.jsonl", "{\"id\":1}\nnot json\n{\"no\":1}\n{\"id\":2}\n");

    let put = world.run("put orders a.jsonl --key field:id").await;

    put.fails_with(&["2 records not stored", "a.jsonl:2", "not JSON", "put kds-failed.records.jsonl again"]);
    assert_eq!(put.code, 1);
    assert_eq!(world.stored().await, ["{\"id\":1}", "{\"id\":2}"]);
    let failures = world.read("kds-failed.records.jsonl");
    assert!(failures.contains("\"source\":\"a.jsonl:3\"") && failures.contains("no field id"), "{failures}");

    let again = world.run("put orders kds-failed.records.jsonl --key hash --json").await.succeeds();

    let report: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&report["stored"], &report["failed"]), (&2.into(), &0.into()));
    assert_eq!(world.stored().await, ["not json", "{\"id\":1}", "{\"id\":2}", "{\"no\":1}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tail_prints_as_json_is_put_again_byte_for_byte() {
    let world = World::start().await;
    world.put("k1", "text\n\u{e9}").await;
    world.put("k2", b"\xff\x00\x01".to_vec()).await;
    let before = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    world.write("copy.records.jsonl", &before);
    world.aws.create_stream("copy", 3).unwrap();

    world.run("put copy copy.records.jsonl").await.succeeds();

    let after = world.run("tail copy --from horizon --no-follow --json").await.succeeds();
    let content = |text: &str| {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let mut lines: Vec<_> = text
            .lines()
            .map(line)
            .map(|line| ["partitionKey", "text", "data"].map(|name| line[name].to_string()))
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(content(&after), content(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_permission_ends_the_reading_and_loses_nothing() {
    let world = World::start().await;
    world.aws.deny("kinesis:PutRecords");
    let lines: Vec<String> = (0..200_000).map(|number| format!("line {number:06}")).collect();
    world.write("a.log", lines.join("\n"));

    let put = world.run("put orders a.log --json").await;

    put.fails_with(&["kinesis:PutRecords on stream orders is denied", "IAM policy", "and the input after a.log:"]);
    let report: Value = serde_json::from_str(&put.stdout).unwrap();
    assert_eq!(report["stored"], 0);
    // What was read is in the file of failures; the rest is named by the line it begins at.
    let last: usize = put.stderr.rsplit("a.log:").next().unwrap().trim().parse().unwrap();
    let failures = world.read("kds-failed.records.jsonl");
    assert_eq!(failures.lines().count(), last);
    assert!(last < 200_000, "it read on");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_records_are_put_without_aggregation() {
    let world = World::start().await;

    world.feed("put orders --no-aggregation --key text:k", "one\ntwo\n").await.succeeds();

    let tail = world.run("tail orders --from horizon --no-follow --no-deaggregation --json").await.succeeds();
    let texts: Vec<Value> =
        tail.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_on_stdin_are_put_as_they_come() {
    let world = World::start().await;
    let mut child = world.command("put orders").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let tail = world.command("tail orders --from horizon --max 1 --output raw").spawn().unwrap();

    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"early\n").await.unwrap();

    assert_eq!(crate::support::ended(tail).await.succeeds(), "early\n");
    drop(stdin);
    crate::support::ended(child).await.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_settings_of_the_producer() {
    let world = World::start().await;

    world.feed("put orders --key text:k --set aggregation=off --set record_ttl=1m", "one\ntwo\n").await.succeeds();

    let tail = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    assert!(tail.lines().count() == 2 && !tail.contains("\"subSequenceNumber\":1"), "{tail}");
    let unknown = world.feed("put orders --set record_tll=1m", "").await;
    unknown.fails_with(&["--set cannot be taken", "there is no setting record_tll; record_ttl is one"]);
    let unreadable = world.feed("put orders --set record_ttl=60", "").await;
    unreadable.fails_with(&["record_ttl is \"60\"", "a duration with its unit"]);
}
