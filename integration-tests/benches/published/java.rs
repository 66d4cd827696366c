//! The side of Java: a process of the KPL and one of the KCL, on services that are served over TLS.

use std::{fs::File, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use kinesis_local::{LocalAws, ServeOptions};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{APPLICATION, RECORDS_PER_SECOND, STREAM, WORKER};

/// Maximum time for a start, the last metrics, and the end.
const PATIENCE: Duration = Duration::from_secs(300);

/// A process of Java, which is killed when this is dropped.
struct Peer {
    name: &'static str,
    child: Child,
}

pub(crate) async fn work(aws: &LocalAws, peers: &Path, logs: &Path, work: Duration) -> anyhow::Result<()> {
    let server = aws.serve(ServeOptions::default().tls(true)).await?;
    let [kinesis, cloudwatch] = [server.kinesis_address(), server.cloudwatch_address()];
    let mut consumer = java(&peers.join("kcl-3.5.1"), "PublishingConsumer");
    consumer.args([APPLICATION, STREAM, WORKER]);
    consumer.env("AWS_ENDPOINT_URL_KINESIS", server.kinesis_url());
    consumer.env("AWS_ENDPOINT_URL_DYNAMODB", server.dynamodb_url());
    consumer.env("AWS_ENDPOINT_URL_CLOUDWATCH", server.cloudwatch_url());
    let consumer = Peer::start("PublishingConsumer", consumer, logs)?;
    let mut producer = java(&peers.join("kpl"), "PublishingProducer");
    let port = |address: SocketAddr| address.port().to_string();
    producer.args([STREAM, "localhost", &port(kinesis), &port(cloudwatch)]);
    producer.args([RECORDS_PER_SECOND.to_string(), work.as_secs().to_string()]);
    let mut producer = Peer::start("PublishingProducer", producer, logs)?;

    producer.says("done", work + PATIENCE).await?;
    producer.end().await?;
    consumer.end().await
}

fn java(installed: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg("-cp").arg(format!("{0}/classes:{0}/*", installed.display())).arg(class);
    command.envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
    command
}

impl Peer {
    fn start(name: &'static str, mut command: Command, logs: &Path) -> anyhow::Result<Self> {
        let log = File::create(logs.join(format!("{name}.log")))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        Ok(Self { name, child: command.spawn().with_context(|| format!("cannot start {name}"))? })
    }

    /// Waits for a line that begins so.
    async fn says(&mut self, word: &str, patience: Duration) -> anyhow::Result<()> {
        let name = self.name;
        let mut lines = BufReader::new(self.child.stdout.as_mut().context("standard output is piped")?).lines();
        let said = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with(word) {
                    return Ok(());
                }
            }
            anyhow::bail!("{name} has ended; its log tells why")
        };
        timeout(patience, said).await.with_context(|| format!("{name} does not say {word}"))?
    }

    /// Ends its input, and waits for its end.
    async fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status =
            timeout(PATIENCE, self.child.wait()).await.with_context(|| format!("{} does not end", self.name))??;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}
