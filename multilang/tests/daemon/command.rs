//! The command: stopped by signals, watched by probes.

use std::{
    fs::File,
    io::Read as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kinesis_local::{LocalAws, ServeOptions, Server};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::scene::{FIRST, Scene, is_at, is_running, script, scripted};

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
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, folder: &TempDir) -> Self {
        let log = folder.path().join("log");
        command.stderr(File::create(&log).expect("it can be made"));
        Self { child: command.spawn().expect("it can be started"), log }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("there is kill").success());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("it can be read")
    }

    /// Its exit code, and what it wrote to stdout and stderr.
    async fn end(self) -> (Option<i32>, String, String) {
        let mut running = self;
        tokio::task::spawn_blocking(move || {
            let status = running.child.wait().expect("it ends");
            let mut stdout = String::new();
            running.child.stdout.take().expect("it is a pipe").read_to_string(&mut stdout).expect("it is text");
            (status.code(), stdout, running.log())
        })
        .await
        .expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It has usually ended already.
            let _ = self.child.kill();
            eprintln!("{}", self.log());
        }
    }
}

/// A scene, and the command on it, whose child has been given this record.
async fn running(data: &str) -> (Scene, Server, Running) {
    let scene = Scene::new(1).await;
    scene.put(data).await;
    let server = scene.local.serve(ServeOptions::default()).await.unwrap();
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
    command.arg("--properties-file").arg(&file).arg("--log-configuration").arg("logback.xml");
    let running = Running::start(command, &scene.folder);
    scene.until_delivered(data, 1).await;
    (scene, server, running)
}

async fn stopped_by(signal: &str) -> (Option<i32>, String, String) {
    let (scene, _server, running) = running("no-checkpoint").await;

    running.signal(signal);

    let outcome = running.end().await;
    let pid = scene.journal()[0].pid;
    assert_eq!(scene.actions(pid).last().map(String::as_str), Some("EOF"), "{:#?}", scene.journal());
    let lease = scene.lease(FIRST).await;
    assert!(is_at(&lease.checkpoint, &scene.sequence_number("no-checkpoint")) && lease.owner.is_none(), "{lease:?}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_command_in_good_order_and_with_0() {
    let (code, stdout, log) = stopped_by("-TERM").await;

    assert_eq!(code, Some(0), "{log}");
    for line in ["noSuchKey is unknown and has no effect", "log configuration has no effect", "first records", "ended"]
    {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_eq!(stdout, "", "logs go to stderr alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_and_sighup_end_the_command_as_sigterm_does() {
    for signal in ["-INT", "-HUP"] {
        assert_eq!(stopped_by(signal).await.0, Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_command_at_once() {
    let (scene, _server, running) = running("hang-once").await;
    running.signal("-TERM");
    scene.until("the note of the first", |_| running.log().contains("children may checkpoint")).await;

    running.signal("-TERM");

    assert_eq!(running.end().await.0, Some(143));
    let pid = scene.journal()[0].pid;
    scene.until("the end of the child", |_| !is_running(pid)).await;
    assert_eq!(scene.lease(FIRST).await.checkpoint.to_string(), "TRIM_HORIZON");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_a_terminal_reaches_the_daemon_alone() {
    let (scene, _server, running) = running("no-checkpoint").await;
    let pid = scene.journal()[0].pid;
    let group = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(group(pid), pid);
    assert_ne!(group(running.child.id()), pid, "a terminal signals the group of the daemon");

    running.signal("-INT");

    assert_eq!(running.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_on_standard_error_is_logged_once_with_shard_and_process() {
    let (scene, _server, running) = running("trace").await;
    scene.until("the text", |_| running.log().contains("hello from a child")).await;
    running.signal("-TERM");
    let (_, _, log) = running.end().await;

    let pid = scene.journal()[0].pid;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect::<Vec<_>>();
    let (hello, traceback) = (lines("hello from a child"), lines("Traceback (most recent call last)"));
    assert_eq!((hello.len(), traceback.len()), (1, 1), "{log}");
    assert!(hello[0].contains(&format!("shard_id=\"{FIRST}\" pid={pid}")) && hello[0].contains("INFO"), "{hello:?}");
    assert!(traceback[0].contains("WARN") && traceback[0].contains("confirms the batch"), "{traceback:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_say_that_children_fail_and_when_all_is_well() {
    let local = LocalAws::start().await;
    local.create_stream("stream", 1).unwrap();
    let server = local.serve(ServeOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("well");
    let program = script(&folder, &format!("[ -e {} ] || exit 7\nexec {}", flag.display(), scripted().display()));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let program = program.display().to_string();
    let settings = [
        ("executableName", &*program),
        ("applicationName", "application"),
        ("streamName", "stream"),
        ("AwsCredentialsProvider", "DefaultCredentialsProvider"),
        ("retrievalMode", "POLLING"),
        ("metricsLevel", "NONE"),
        ("probeAddress", &port),
    ];
    let running = Running::start(command(&server, &settings), &folder);

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
    assert_eq!(health(&settings), (Some(0), String::new()));

    running.signal("-TERM");
    assert_eq!(running.end().await.0, Some(0));
    let (code, said) = health(&settings);
    assert!(code == Some(1) && said.contains("does not answer"), "{said}");
    let (code, said) = health(&[]);
    assert!(code == Some(1) && said.contains("there are no settings"), "{said}");
}

/// Exit code and standard error of `kcl-multilang --health` with these settings.
fn health(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl-multilang"));
    command.arg("--health").envs(settings.iter().map(|(key, value)| (format!("KCL_MULTILANG_{key}"), value)));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
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
