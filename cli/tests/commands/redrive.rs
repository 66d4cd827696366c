//! `kds redrive`.

use serde_json::{Value, json};

use crate::support::{World, aggregate};

impl World {
    /// The user records of a stream, as `kds tail --json` prints them.
    async fn records(&self, stream: &str) -> Vec<Value> {
        let tail = self.run(&format!("tail {stream} --from horizon --no-follow --json")).await.succeeds();
        tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A letter about a record as `tail` prints it, without its data.
fn reference(record: &Value) -> Value {
    let mut letter = record.clone();
    let fields = letter.as_object_mut().unwrap();
    fields.remove("text");
    fields.extend(json!({
        "application": "printer", "stream": "orders", "failedAt": "2026-11-30T02:48:50Z", "attempts": 3, "error": "no",
        "dataBytes": 3,
    }).as_object().unwrap().clone());
    letter
}

fn with_text(mut letter: Value, text: &str) -> Value {
    letter["text"] = text.into();
    letter
}

fn lines(letters: &[Value]) -> String {
    letters.iter().map(|letter| format!("{letter}\n")).collect()
}

/// Partition key and text of each record, sorted.
fn contents(records: &[Value]) -> Vec<(&str, &str)> {
    let mut contents: Vec<_> =
        records.iter().map(|it| (it["partitionKey"].as_str().unwrap(), it["text"].as_str().unwrap())).collect();
    contents.sort_unstable();
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_return_under_their_keys_with_data_of_their_own_or_from_the_stream() {
    let world = World::start().await;
    world.put("c-1", b"plain".to_vec()).await;
    world.put("c-7", aggregate(&[("c-7", "one"), ("c-7", "two")])).await;
    let records = world.records("orders").await;
    let find = |text: &str| reference(records.iter().find(|record| record["text"] == text).unwrap());
    let letters = [find("plain"), find("two"), with_text(find("one"), "three")];
    world.write("letters.jsonl", lines(&letters));

    let redriven = world.run("redrive letters.jsonl").await.succeeds();

    assert_eq!(redriven, "put 3 letters (2 with data from the stream) again, 0 failed\n");
    let expected =
        [("c-1", "plain"), ("c-1", "plain"), ("c-7", "one"), ("c-7", "three"), ("c-7", "two"), ("c-7", "two")];
    assert_eq!(contents(&world.records("orders").await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_put_are_kept_with_their_reason_and_redriven_later() {
    let world = World::start().await;
    world.put("c-1", b"plain".to_vec()).await;
    let letter = reference(&world.records("orders").await[0]);
    let (mut gone, mut elsewhere) = (letter.clone(), with_text(letter.clone(), "other"));
    gone["subSequenceNumber"] = 7.into();
    elsewhere["application"] = "archiver".into();
    world.write("letters.jsonl", lines(&[gone, elsewhere]) + "no letter\n" + &lines(&[letter]));

    let redriven = world.run("redrive letters.jsonl --application printer").await;

    assert_eq!(
        redriven.stdout,
        "put 1 letter (1 with data from the stream) again, 2 failed, 1 of other applications left out\n"
    );
    redriven.fails_with(&[
        "2 letters not put, the first at letters.jsonl:1: the record in stream orders has no user record 7",
        "redrive kds-failed.letters.jsonl again",
    ]);
    let kept = world.read("kds-failed.letters.jsonl");
    let (first, second) = kept.split_once('\n').unwrap();
    let mut first: Value = serde_json::from_str(first).unwrap();
    assert_eq!(first["redriveError"], "the record in stream orders has no user record 7");
    assert_eq!((&first["attempts"], second), (&3.into(), "no letter\n"));

    first.as_object_mut().unwrap().remove("subSequenceNumber");
    let fed = world.feed("redrive --json", format!("{first}\n")).await.succeeds();
    assert_eq!(fed, "{\"stored\":1,\"fetched\":1,\"failed\":0,\"ofOtherApplications\":0}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_to_the_stream_that_is_named_and_a_missing_one_ends_it() {
    let world = World::start().await;
    world.put("c-1", b"plain".to_vec()).await;
    world.aws.create_stream("repaired", 1).unwrap();
    let letter = with_text(reference(&world.records("orders").await[0]), "mended");
    world.write("letters.jsonl", lines(&[letter]));

    world.run("redrive letters.jsonl --to repaired").await.succeeds();
    assert_eq!(contents(&world.records("repaired").await), [("c-1", "mended")]);

    let refused = world.run("redrive letters.jsonl --to missing").await;
    refused.fails_with(&["stream missing does not exist", "then redrive kds-failed.letters.jsonl again"]);
    assert!(world.read("kds-failed.letters.jsonl").contains("mended"));
    let taken = world.run("redrive letters.jsonl --failures letters.jsonl").await;
    taken.fails_with(&["the file of failures letters.jsonl exists"]);
    world.run("redrive nowhere.jsonl").await.fails_with(&["nowhere.jsonl cannot be read"]);
}
