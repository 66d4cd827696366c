//! `kds agent`.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::{Instant, timeout},
};

use crate::support::{PATIENCE, World, ended, interrupt};

impl World {
    fn configure(&self, settings: &str) {
        let log = self.path().join("log");
        fs::create_dir_all(&log).unwrap();
        let flow = format!(r#""filePattern": "{}/app.log*", "kinesisStream": "orders""#, log.display());
        self.write("agent.json", format!("{{\"flows\": [{{{flow}, {settings}}}]}}"));
    }

    fn log(&self) -> PathBuf {
        self.path().join("log/app.log")
    }

    fn append(&self, text: &str) {
        append(&self.log(), text);
    }

    fn agent(&self) -> Child {
        self.command("agent agent.json").spawn().unwrap()
    }

    /// Waits until the state file has a file, and asserts its position.
    async fn until_position(&self, name: &str, expected: u64) {
        let begun = Instant::now();
        loop {
            if let Some(position) = position(&self.read("agent.json.state"), name) {
                assert_eq!(position, expected, "of {name}");
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {name} in the state file");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_stored(&self, texts: &[&str]) {
        let begun = Instant::now();
        loop {
            let stored = self.stored().await;
            if stored == texts {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{stored:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Position of a file in the state file, by its name.
fn position(state: &str, name: &str) -> Option<u64> {
    let state: serde_json::Value = serde_json::from_str(state).ok()?;
    let is_named = |file: &&serde_json::Value| file["path"].as_str().is_some_and(|path| path.ends_with(name));
    state["files"].as_array()?.iter().find(is_named)?["position"].as_u64()
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_lines_as_they_are_written_and_goes_on_where_it_ended() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE", "maxBufferAgeMillis": 5"#);
    world.append("one\ntwo\nunfini");
    let agent = world.agent();
    world.until_stored(&["one", "two"]).await;
    world.append("shed\n");
    world.until_stored(&["one", "two", "unfinished"]).await;
    interrupt(&agent);
    let first = ended(agent).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert!(
        first.stderr.starts_with("kds: flows[0].maxBufferAgeMillis of agent.json is not supported and ignored\n"),
        "{first:?}"
    );
    assert!(first.stderr.ends_with("kds: stored 3 records\n"), "{first:?}");

    world.append("three\n");
    let agent = world.agent();

    world.until_stored(&["one", "three", "two", "unfinished"]).await;
    interrupt(&agent);
    assert!(ended(agent).await.stderr.ends_with("kds: stored 1 record\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_at_the_end_of_files_only_at_the_first_start() {
    let world = World::start().await;
    world.configure(r#""partitionKeyOption": "DETERMINISTIC""#);
    world.append("old\n");
    let agent = world.agent();
    world.until_file("agent.json.state", "app.log").await;
    world.append("new\n");
    world.until_stored(&["new"]).await;
    interrupt(&agent);
    ended(agent).await;
    append(&world.path().join("log/app.log.2"), "while it was down\n");

    let _agent = world.agent();

    world.until_stored(&["new", "while it was down"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_renamed_truncated_and_copied_files_without_putting_them_twice() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE""#);
    let (log, copy) = (world.log(), world.path().join("log/app.log.1"));
    world.append("1 before\n");
    let _agent = world.agent();
    world.until_stored(&["1 before"]).await;

    fs::rename(&log, &copy).unwrap();
    append(&copy, "2 to the renamed\n");
    world.append("3 to the new\n");
    world.until_stored(&["1 before", "2 to the renamed", "3 to the new"]).await;

    world.until_file("agent.json.state", "\"position\": 13").await;
    let third = world.path().join("log/app.log.2");
    fs::copy(&log, &third).unwrap();
    File::create(&log).unwrap();
    append(&log, "4\n");
    let all = ["1 before", "2 to the renamed", "3 to the new", "4"];
    world.until_stored(&all).await;
    // Had it not been recognized, it would be followed from its start, after the time that a copy is waited for, and put.
    world.until_position("app.log.2", 13).await;
    assert_eq!(world.stored().await, all);
}

/// Twice as many files as may be open.
const FILES: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn follows_more_files_than_may_be_open_through_renames() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE""#);
    let name = |number: usize| world.path().join(format!("log/app.log.{number:03}"));
    let mut lines: Vec<String> = (0..FILES).map(|number| format!("{number:03} first")).collect();
    lines.iter().enumerate().for_each(|(number, line)| append(&name(number), &format!("{line}\n")));
    // As much as the files that are open, and what else a process needs.
    let agent = world.limited("ulimit -n 160", "agent agent.json").spawn().unwrap();
    world.until_stored(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;

    for number in 0..FILES {
        append(&name(number), &format!("{number:03} second\n"));
        fs::rename(name(number), name(number + 500)).unwrap();
        append(&name(number + 500), &format!("{number:03} third\n"));
        append(&name(number), &format!("{number:03} of its successor\n"));
    }
    for text in ["second", "third", "of its successor"] {
        lines.extend((0..FILES).map(|number| format!("{number:03} {text}")));
    }
    lines.sort();

    world.until_stored(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_lines_and_skips_headers() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE", "multiLineStartPattern": "\\[", "skipHeaderLines": 1"#);
    world.append("a header\n[1] one\n  at a\n[2] two\n");
    let _agent = world.agent();

    let begun = Instant::now();
    loop {
        let tail = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
        let mut texts: Vec<String> = tail
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
            .collect();
        texts.sort();
        if texts == ["[1] one\n  at a", "[2] two"] {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{texts:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_many_lines_is_put_as_one() {
    let world = World::start().await;
    world.configure(
        r#""initialPosition": "START_OF_FILE", "multiLineStartPattern": "\\[", "partitionKeyOption": "FOLDER""#,
    );
    // More than is read at a time.
    let long = format!("[1] one{}", "\n  at some line".repeat(30_000));
    world.append(&format!("{long}\n[2] two\n[3] three\n"));
    let agent = world.agent();
    world.until_file("agent.json.state", &format!("\"position\": {}", long.len() + "\n[2] two\n".len())).await;
    interrupt(&agent);
    ended(agent).await;

    let tail = world.run("tail orders --from horizon --no-follow --json").await.succeeds();
    let texts: Vec<String> = tail
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [long.len(), "[2] two".len()]);
    assert_eq!(texts[0], long);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_loses_nothing_and_is_named() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE""#);
    world.aws.deny("kinesis:PutRecords");
    world.append("one\ntwo\n");
    let mut agent = world.agent();
    let mut stderr = BufReader::new(agent.stderr.take().unwrap()).lines();
    let refusal = timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap();
    assert!(refusal.contains("AccessDeniedException") && refusal.contains("it is put again in"), "{refusal}");
    let position = position(&world.read("agent.json.state"), "app.log");
    assert!(position.is_none_or(|position| position == 0), "{position:?}");
    world.aws.allow("kinesis:PutRecords");

    world.until_stored(&["one", "two"]).await;

    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_its_health_to_probes() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE""#);
    let mut agent = world.command("agent agent.json --probes 127.0.0.1:0").spawn().unwrap();
    let mut stderr = BufReader::new(agent.stderr.take().unwrap()).lines();
    let line = timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap();
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap();
    let health = |path: &str| format!("health http://{address}/{path}");

    world.run(&health("livez")).await.succeeds();
    world.run(&health("readyz")).await.succeeds();
    world.run(&health("")).await.fails_with(&["answers 404", "only /livez and /readyz"]);
    world
        .run(&format!("agent agent.json --state other --probes {address}"))
        .await
        .fails_with(&["cannot be listened on"]);

    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);
    world.run(&health("livez")).await.fails_with(&["does not answer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_for_the_state_file_ends_the_agent_and_loses_nothing() {
    let world = World::start().await;
    world.configure(r#""initialPosition": "START_OF_FILE""#);
    world.append("1\n");
    let agent = world.agent();
    world.until_file("agent.json.state", "\"position\": 2").await;
    interrupt(&agent);
    ended(agent).await;
    let before = world.read("agent.json.state");
    // Three files take more than the 1,024 bytes that a file may have here.
    for number in 2..5 {
        append(&world.path().join(format!("log/app.log.{number}")), &format!("{number}\n"));
    }

    let full = world.limited("trap '' XFSZ; ulimit -f 2", "agent agent.json").spawn().unwrap();
    let full = ended(full).await;

    assert_eq!(full.code, 1, "{full:?}");
    let last = full.stderr.lines().last().unwrap();
    assert!(last.contains("state file agent.json.state cannot be written") && last.contains("make room"), "{last}");
    assert_eq!(world.read("agent.json.state"), before);
    assert!(!world.path().join("agent.json.state.part").exists());
    world.append("5\n");
    let agent = world.agent();
    world.until_file("agent.json.state", "\"position\": 4").await;
    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);
    let mut stored = world.stored().await;
    stored.dedup();
    assert_eq!(stored, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_a_wrong_configuration_and_a_missing_stream_are_refused() {
    let world = World::start().await;
    world.run("agent missing.json").await.fails_with(&["configuration missing.json cannot be read"]);
    world.write("wrong.json", "{\"flows\": [{\"filePattern\": \"/x\", \"deliveryStream\": \"y\"}]}");
    world.run("agent wrong.json").await.fails_with(&["wrong.json", "flows[0].deliveryStream is not supported"]);
    world.write("other.json", "{\"flows\": [{\"filePattern\": \"/x\", \"kinesisStream\": \"missing\"}]}");
    world.run("agent other.json").await.fails_with(&["stream missing does not exist"]);

    world.configure(r#""initialPosition": "START_OF_FILE""#);
    world
        .run("agent agent.json --state missing/state")
        .await
        .fails_with(&["state file missing/state cannot be used", "--state"]);
    let _agent = world.agent();
    world.until_file("agent.json.state", "flows").await;
    world.run("agent agent.json").await.fails_with(&["another agent uses state file agent.json.state"]);
}

/// Lines, rotations and the time between two kills; `KDS_AGENT_LINES=1000000` is the long version.
fn scale() -> (usize, usize, Duration) {
    let lines = std::env::var("KDS_AGENT_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(50_000);
    if lines > 50_000 { (lines, 50, Duration::from_secs(1)) } else { (lines, 10, Duration::from_millis(500)) }
}

/// Writes numbered lines, and rotates the file by renaming it and its predecessors.
fn write_and_rotate(log: &Path, lines: usize, rotations: usize) {
    let mut out = BufWriter::new(File::create(log).unwrap());
    for number in 0..lines {
        if number > 0 && number % (lines / (rotations + 1)).max(1) == 0 {
            out.flush().unwrap();
            let name = |place: usize| log.with_file_name(format!("app.log.{place}"));
            (1..=rotations).rev().filter(|place| name(*place).exists()).for_each(|place| {
                fs::rename(name(place), name(place + 1)).unwrap();
            });
            fs::rename(log, name(1)).unwrap();
            out = BufWriter::new(File::create(log).unwrap());
        }
        writeln!(out, "{number:08} some text to make a line of a log file").unwrap();
        if number % 500 == 0 {
            out.flush().unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    out.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_no_line_and_keep_the_order() {
    let (lines, rotations, kill_every) = scale();
    let world = World::start().await;
    world.configure(
        r#""initialPosition": "START_OF_FILE", "partitionKeyOption": "FOLDER", "aggregatedRecordSizeBytes": 51200"#,
    );
    let log = world.log();
    let writing = tokio::task::spawn_blocking(move || write_and_rotate(&log, lines, rotations));

    let mut kills = 0;
    while !writing.is_finished() {
        let mut agent = world.agent();
        tokio::time::sleep(kill_every).await;
        agent.kill().await.unwrap();
        kills += 1;
    }
    writing.await.unwrap();
    let agent = world.agent();
    world.until_file("agent.json.state", "app.log").await;
    let last = format!("{:08}", lines - 1);
    // One partition key: a shard takes 1 MiB a second.
    let patience = PATIENCE * u32::try_from((lines / 50_000).max(1)).unwrap();
    let begun = Instant::now();
    let stored = loop {
        let tail = world.run("tail orders --from horizon --no-follow --output raw").await.succeeds();
        if tail.lines().any(|line| line.starts_with(&last)) {
            break tail;
        }
        assert!(begun.elapsed() < patience, "the last line is not stored");
    };
    interrupt(&agent);
    assert_eq!(ended(agent).await.code, 0);

    let mut seen = HashSet::new();
    let firsts: Vec<usize> =
        stored.lines().map(|line| line[..8].parse().unwrap()).filter(|number| seen.insert(*number)).collect();
    assert_eq!(firsts.len(), lines, "lines are lost");
    assert!(firsts.is_sorted(), "lines are out of order");
    let total = stored.lines().count();
    println!("{lines} lines, {rotations} rotations, {kills} kills: {} put twice", total - lines);
    assert!(kills >= 2, "it was never killed");
}
