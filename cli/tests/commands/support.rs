//! An AWS of its own for each test, and `kds` as a process in an environment from which nothing else is reached.

use std::{path::Path, process::Stdio, time::Duration};

use aws_sdk_kinesis::{Client, primitives::Blob};
use kinesis_local::{LocalAws, ServeOptions, Server};
use kpl::{UserRecord, aggregated::Aggregate};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};

/// No command of the tests takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) aws: LocalAws,
    pub(crate) server: Server,
    pub(crate) folder: tempfile::TempDir,
}

/// Output and end of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// Serves a stream `orders` of two shards.
    pub(crate) async fn start() -> Self {
        Self::serve(LocalAws::start().await).await
    }

    pub(crate) async fn serve(aws: LocalAws) -> Self {
        aws.create_stream("orders", 2).unwrap();
        let server = aws.serve(ServeOptions::default()).await.unwrap();
        Self { aws, server, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn kinesis(&self) -> Client {
        Client::new(&self.aws.sdk_config())
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// `kds` with these arguments, which are separated by spaces.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kds"));
        command.args(arguments.split_whitespace()).current_dir(self.path()).env_clear();
        command.env("AWS_ENDPOINT_URL_KINESIS", self.server.kinesis_url());
        command.env("AWS_ENDPOINT_URL_DYNAMODB", self.server.dynamodb_url());
        command.env("AWS_ENDPOINT_URL", self.server.kinesis_url());
        command.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The same within limits, which are commands of the shell.
    pub(crate) fn limited(&self, limits: &str, arguments: &str) -> Command {
        let unlimited = self.command(arguments);
        let unlimited = unlimited.as_std();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\"")).arg(unlimited.get_program());
        command.args(unlimited.get_args()).current_dir(self.path()).env_clear();
        command.envs(unlimited.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        ended(self.command(arguments).spawn().unwrap()).await
    }

    /// Runs with this input on stdin.
    pub(crate) async fn feed(&self, arguments: &str, input: impl AsRef<[u8]>) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        let feeding = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await; // it may have ended before it read everything
        });
        let ended = ended(child).await;
        feeding.await.unwrap();
        ended
    }

    /// Waits until a file has this text.
    pub(crate) async fn until_file(&self, name: &str, text: &str) {
        let begun = tokio::time::Instant::now();
        while !std::fs::read_to_string(self.path().join(name)).is_ok_and(|found| found.contains(text)) {
            assert!(begun.elapsed() < PATIENCE, "no {text} in {name}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts a Kinesis record.
    pub(crate) async fn put(&self, partition_key: &str, data: impl Into<Vec<u8>>) -> String {
        let put = self.kinesis().put_record().stream_name("orders").partition_key(partition_key);
        put.data(Blob::new(data.into())).send().await.unwrap().sequence_number().to_owned()
    }

    /// The user records of the stream, as `kds tail` prints their data, in the order of their texts.
    pub(crate) async fn stored(&self) -> Vec<String> {
        let tail = self.run("tail orders --from horizon --no-follow --output raw").await;
        assert_eq!((tail.code, tail.stderr.as_str()), (0, ""));
        let mut lines: Vec<String> = tail.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Ended {
    /// Asserts that the command failed with one line on stderr that contains these texts.
    #[track_caller]
    pub(crate) fn fails_with(&self, texts: &[&str]) {
        assert_ne!(self.code, 0, "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {}", self.stderr);
        }
    }

    /// Asserts success, without a word on stderr; returns stdout.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }
}

/// Sends SIGINT, as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    let process = rustix::process::Pid::from_raw(child.id().expect("it runs").cast_signed()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
}

pub(crate) async fn ended(child: Child) -> Ended {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("kds ends in time").unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An aggregate of these partition keys and data.
pub(crate) fn aggregate(records: &[(&str, &str)]) -> Vec<u8> {
    let mut aggregate = Aggregate::new();
    for (key, data) in records {
        aggregate.push(UserRecord::new(*key, data.as_bytes().to_vec()));
    }
    aggregate.encode().to_vec()
}
