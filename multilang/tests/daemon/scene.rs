//! A stream, a daemon with scripted children, and what they said.

use std::{path::PathBuf, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::{Client, primitives::Blob};
use bytes::Bytes;
use kcl::{Checkpoint, FleetStatus, LeaseStatus};
use kcl_multilang::{Configurations, Daemon, Settings};
use kinesis_local::LocalAws;
use kpl::{
    UserRecord,
    aggregated::Aggregate,
    compressed::{Compression, FrameWriter},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub(crate) const STREAM: &str = "stream";
const APPLICATION: &str = "application";
/// First shard of the stream.
pub(crate) const FIRST: &str = "shardId-000000000000";
/// Owner of stolen leases.
pub(crate) const THIEF: &str = "another-worker";
/// Maximum time for what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example of that name, which is built with the tests.
pub(crate) fn scripted() -> PathBuf {
    let tests = std::env::current_exe().expect("it is known");
    let folder = tests.ancestors().nth(2).expect("tests are in target/debug/deps");
    let path = folder.join("examples/scripted");
    assert!(path.exists(), "{} is not built: cargo build -p kcl-multilang --examples", path.display());
    path
}

/// A script for a shell, as a program.
pub(crate) fn script(folder: &TempDir, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.path().join("script.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("it can be written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be changed");
    path
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) pid: u32,
    pub(crate) is_read: bool,
    pub(crate) text: String,
}

/// Of user records whose data are their partition keys.
fn aggregate(data: &[&str]) -> Bytes {
    let mut aggregate = Aggregate::new();
    for data in data {
        aggregate.push(UserRecord::new(*data, data.as_bytes().to_vec()));
    }
    aggregate.encode()
}

pub(crate) struct Scene {
    pub(crate) local: LocalAws,
    pub(crate) folder: TempDir,
    client: Client,
    settings: Vec<(String, String)>,
}

impl Scene {
    pub(crate) async fn new(shards: u32) -> Self {
        let local = LocalAws::start().await;
        local.create_stream(STREAM, shards).expect("it is new");
        let folder = tempfile::tempdir().expect("it can be made");
        let client = Client::new(&local.sdk_config());
        let mut scene = Self { local, folder, client, settings: Vec::new() };
        for (key, value) in [
            ("applicationName", APPLICATION),
            ("streamName", STREAM),
            ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
            ("initialPositionInStream", "TRIM_HORIZON"),
            ("retrievalMode", "POLLING"),
            ("idleTimeBetweenReadsInMillis", "200"),
            ("metricsLevel", "NONE"),
            ("childExitMillis", "500"),
        ] {
            scene.set(key, value);
        }
        scene.children("");
        scene
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.push((format!("KCL_MULTILANG_{key}"), value.to_owned()));
    }

    /// Further arguments of the scripted children.
    pub(crate) fn children(&mut self, arguments: &str) {
        let program = format!("{} journal={} {arguments}", scripted().display(), self.journal_path().display());
        self.set("executableName", &program);
    }

    fn journal_path(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::read(None, self.settings.iter().cloned()).expect("settings are right")
    }

    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&self.settings(), &Configurations::from(self.local.sdk_config())).expect("it can start")
    }

    /// Puts a record into a shard of two; of one with any key.
    pub(crate) async fn put_to(&self, shard: u128, data: &str) {
        self.put_bytes(shard, data, data.as_bytes()).await;
    }

    /// Puts user records as one aggregate into the shard of one; their data are their partition keys.
    pub(crate) async fn put_aggregate(&self, data: &[&str]) {
        self.put_bytes(0, "a", &aggregate(data)).await;
    }

    /// The same, compressed by zstd.
    pub(crate) async fn put_compressed(&self, data: &[&str]) {
        let frame = FrameWriter::new(Compression::Zstd(3), None).frame(&aggregate(data));
        self.put_bytes(0, "a", &frame.expect("it becomes shorter")).await;
    }

    async fn put_bytes(&self, shard: u128, partition_key: &str, bytes: &[u8]) {
        let key = (shard << 127).to_string();
        let put = self.client.put_record().stream_name(STREAM).partition_key(partition_key).explicit_hash_key(key);
        put.data(Blob::new(bytes)).send().await.expect("it is stored");
    }

    pub(crate) async fn put(&self, data: &str) {
        self.put_to(0, data).await;
    }

    pub(crate) async fn close_shard(&self) {
        let split = self.client.split_shard().stream_name(STREAM).shard_to_split(FIRST);
        split.new_starting_hash_key((1_u128 << 126).to_string()).send().await.expect("it is split");
    }

    /// Makes another worker the owner of a shard's lease, as one that steals it does.
    pub(crate) async fn steal(&self, shard: &str) {
        let client = aws_sdk_dynamodb::Client::new(&self.local.sdk_config());
        let update = client.update_item().table_name(APPLICATION).key("leaseKey", AttributeValue::S(shard.to_owned()));
        let update = update.update_expression("SET leaseOwner = :thief ADD leaseCounter :one");
        let update = update.expression_attribute_values(":thief", AttributeValue::S(THIEF.to_owned()));
        let stolen = update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await;
        stolen.expect("the lease is there");
    }

    /// Ends the wait of children at a record `wait`.
    pub(crate) fn go_on(&self) {
        std::fs::write(self.journal_path().with_extension("go"), "").expect("it can be written");
    }

    /// Acknowledgements of checkpoints that children read.
    pub(crate) fn acknowledged(&self) -> Vec<String> {
        self.read("{\"action\":\"checkpoint\"").into_iter().map(|line| line.text).collect()
    }

    /// Lines that all children read and wrote so far.
    pub(crate) fn journal(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.journal_path()).unwrap_or_default();
        let line = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let pid = parts.next()?.parse().ok()?;
            let is_read = parts.next()? == "<";
            Some(Line { pid, is_read, text: parts.next()?.to_owned() })
        };
        text.lines().filter_map(line).collect()
    }

    /// Lines that children read and that contain this text.
    pub(crate) fn read(&self, text: &str) -> Vec<Line> {
        self.journal().into_iter().filter(|line| line.is_read && line.text.contains(text)).collect()
    }

    /// Times that records with this data were delivered.
    pub(crate) fn deliveries(&self, data: &str) -> usize {
        let key = format!("\"partitionKey\":{}", serde_json::Value::from(data));
        self.read("processRecords").iter().map(|line| line.text.matches(&key).count()).sum()
    }

    /// Names of the actions that one child read, in order.
    pub(crate) fn actions(&self, pid: u32) -> Vec<String> {
        let lines = self.journal().into_iter().filter(|line| line.is_read && line.pid == pid);
        let name = |text: &str| text.split('"').nth(3).unwrap_or(text).to_owned();
        lines.map(|line| name(&line.text)).collect()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !is_so(self) {
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what} has not come: {:#?}", self.journal());
    }

    pub(crate) async fn until_delivered(&self, data: &str, times: usize) {
        self.until(&format!("delivery {times} of {data}"), |scene| scene.deliveries(data) >= times).await;
    }

    pub(crate) async fn lease(&self, shard: &str) -> LeaseStatus {
        let fleet = FleetStatus::read(&self.local.sdk_config(), APPLICATION).await.expect("the table can be read");
        fleet.leases.into_iter().find(|lease| lease.shard_id.as_str() == shard).expect("there is a lease")
    }

    pub(crate) async fn until_checkpoint(&self, shard: &str, is_so: impl Fn(&Checkpoint) -> bool) -> Checkpoint {
        let waited = timeout(PATIENCE, async {
            loop {
                let checkpoint = self.lease(shard).await.checkpoint;
                if is_so(&checkpoint) {
                    return checkpoint;
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("no such checkpoint: {:#?}", self.journal()))
    }

    /// Sequence number of a record that was delivered.
    pub(crate) fn sequence_number(&self, data: &str) -> String {
        let key = format!("\"partitionKey\":{},\"sequenceNumber\":\"", serde_json::Value::from(data));
        let lines = self.read(&key);
        let rest = lines[0].text.split(&key).nth(1).expect("it is in the line");
        rest.split('"').next().expect("it ends").to_owned()
    }

    /// Shard of which the child read a record with this data.
    pub(crate) fn shard_of(&self, data: &str) -> String {
        let key = format!("\"partitionKey\":{},", serde_json::Value::from(data));
        let pid = self.read(&key)[0].pid;
        let first = self.read("\"initialize\"").into_iter().find(|line| line.pid == pid).expect("it was initialized");
        first.text.split('"').nth(7).expect("it has a shard").to_owned()
    }

    pub(crate) async fn stop(&self, daemon: &Daemon) {
        daemon.request_stop();
        timeout(PATIENCE, daemon.wait()).await.expect("it ends in time").expect("it ends in good order");
    }
}

pub(crate) fn is_at(checkpoint: &Checkpoint, sequence_number: &str) -> bool {
    matches!(checkpoint, Checkpoint::At(position) if position.sequence_number.as_str() == sequence_number)
}

/// True while a process runs: an ended one that nobody has waited for has no command line.
pub(crate) fn is_running(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// State of the first shard's child, as probes answer it.
pub(crate) fn child(daemon: &Daemon) -> serde_json::Value {
    serde_json::to_value(daemon.health()).expect("it is JSON")["children"][FIRST].clone()
}
