//! Stops: by the handle, and of the command by signals.

use std::{
    io::Read as _,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kinesis_local::{LocalAws, ServeOptions, Server};
use tokio::time::{Instant, sleep};

use crate::scene::{Scene, is_at, script, scripted};

const FIRST: &str = "shardId-000000000000";

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
async fn a_checkpoint_after_the_lease_is_given_up_is_an_invalid_state() {
    let scene = Scene::new(1).await;
    scene.put("value").await;
    let daemon = scene.start();
    scene.until_delivered("value", 1).await;
    scene.stop(&daemon).await;

    let acknowledged = scene.read("{\"action\":\"checkpoint\"");
    assert!(acknowledged.iter().all(|line| line.text.ends_with("\"error\":null}")), "{acknowledged:?}");
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
    let begun = Instant::now();

    scene.stop(&daemon).await;

    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let pid = scene.journal()[0].pid;
    assert!(!std::path::Path::new(&format!("/proc/{pid}/cmdline")).exists(), "it is gone");
    assert_eq!(scene.lease(FIRST).await.owner, None);
}

#[tokio::test]
async fn a_stop_in_a_batch_that_never_ends_waits_for_the_grace_alone() {
    let mut scene = Scene::new(1).await;
    scene.set("shutdownGraceMillis", "500");
    scene.put("hang-once").await;
    let daemon = scene.start();
    scene.until_delivered("hang-once", 1).await;
    let begun = Instant::now();

    scene.stop(&daemon).await;

    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(scene.lease(FIRST).await.owner, None);
}

/// The command, in an environment that leads to a served AWS.
pub(crate) fn command(server: &Server, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl-multilang"));
    command
        .env("AWS_ENDPOINT_URL_KINESIS", server.kinesis_url())
        .env("AWS_ENDPOINT_URL_DYNAMODB", server.dynamodb_url())
        .env("AWS_ENDPOINT_URL_CLOUDWATCH", server.cloudwatch_url())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_PROFILE")
        .env_remove("RUST_LOG");
    for (key, value) in settings {
        command.env(format!("KCL_MULTILANG_{key}"), value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command in the background, which is killed when a test fails.
struct Running(Option<Child>);

impl Running {
    fn signal(&self, signal: &str) {
        let id = self.0.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("there is kill").success());
    }

    fn end(&mut self) -> Output {
        self.0.take().expect("it runs").wait_with_output().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It has usually ended already.
            let _ = child.kill();
            let mut log = String::new();
            if let Some(stderr) = &mut child.stderr {
                // What there is of it.
                let _ = stderr.read_to_string(&mut log);
            }
            eprintln!("{log}");
        }
    }
}

async fn stopped_by(signal: &str) -> Output {
    let mut scene = Scene::new(1).await;
    scene.put("no-checkpoint").await;
    let server =
        scene.local.serve(ServeOptions::default().kinesis_port(0).dynamodb_port(0).cloudwatch_port(0)).await.unwrap();
    let journal = scene.folder.path().join("journal");
    let program = format!("{} journal={}", scripted().display(), journal.display());
    let file = scene.folder.path().join("app.properties");
    let text = format!(
        "executableName = {program}\napplicationName = application\nstreamName = stream\n\
         AwsCredentialsProvider = DefaultCredentialsProvider\ninitialPositionInStream = TRIM_HORIZON\n\
         retrievalMode = POLLING\nnoSuchKey = 1\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = command(&server, &[]);
    let child =
        command.arg("--properties-file").arg(&file).arg("--log-configuration").arg("logback.xml").spawn().unwrap();
    let mut running = Running(Some(child));
    scene.until_delivered("no-checkpoint", 1).await;

    running.signal(signal);

    let output = tokio::task::spawn_blocking(move || running.end()).await.unwrap();
    let pid = scene.journal()[0].pid;
    assert_eq!(scene.actions(pid).last().map(String::as_str), Some("EOF"), "{:#?}", scene.journal());
    let lease = scene.lease(FIRST).await;
    assert!(is_at(&lease.checkpoint, &scene.sequence_number("no-checkpoint")) && lease.owner.is_none(), "{lease:?}");
    scene.set("unused", "");
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_command_in_good_order_and_with_0() {
    let output = stopped_by("-TERM").await;

    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    for line in ["noSuchKey is unknown and has no effect", "log configuration has no effect", "first records", "ended"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(output.stdout, b"", "logs go to stderr alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_the_command_as_sigterm_does() {
    assert_eq!(stopped_by("-INT").await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_say_that_children_fail_and_when_all_is_well() {
    let local = LocalAws::start().await;
    local.create_stream("stream", 1).unwrap();
    let server =
        local.serve(ServeOptions::default().kinesis_port(0).dynamodb_port(0).cloudwatch_port(0)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("well");
    let program = script(&folder, &format!("[ -e {} ] || exit 7\nexec {}", flag.display(), scripted().display()));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let child = command(
        &server,
        &[
            ("executableName", &program.display().to_string()),
            ("applicationName", "application"),
            ("streamName", "stream"),
            ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
            ("retrievalMode", "POLLING"),
            ("metricsLevel", "NONE"),
            ("probeAddress", &port),
        ],
    );
    let mut command = child;
    let mut running = Running(Some(command.spawn().unwrap()));

    let failing = until_answer(&port, "/readyz", |status, body| {
        status == 503 && body.contains("the children of all shards fail")
    })
    .await;
    assert!(failing.contains("exit status: 7"), "{failing}");
    let live = until_answer(&port, "/livez", |status, _| status == 200).await;
    assert!(live.contains("\"is_failing\":true"), "{live}");
    std::fs::write(&flag, "").unwrap();
    until_answer(&port, "/readyz", |status, _| status == 200).await;
    let metrics = until_answer(&port, "/metrics", |status, _| status == 200).await;
    assert!(metrics.contains("kcl_multilang_children_running 1"), "{metrics}");

    running.signal("-TERM");
    assert_eq!(tokio::task::spawn_blocking(move || running.end()).await.unwrap().status.code(), Some(0));
}

async fn until_answer(address: &str, path: &str, is_so: impl Fn(u16, &str) -> bool) -> String {
    let mut last = String::new();
    for _ in 0..600 {
        if let Some((status, body)) = get(address, path).await {
            if is_so(status, &body) {
                return body;
            }
            last = format!("{status} {body}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} never answered so, but {last}")
}

async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
