//! `kinesis-local` as a process, and clients of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_kinesis::types::StreamStatus;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Maximum time of a start.
const STARTING: Duration = Duration::from_secs(20);

/// The services, served by a process that is killed when this is dropped.
#[derive(Debug)]
pub struct Served {
    environment: Vec<(String, String)>,
    certificate: Option<PathBuf>,
    /// None if others have started the services.
    _child: Option<Child>,
}

impl Served {
    /// Starts `kinesis-local`, with TLS if wanted. Its log goes to a file in `logs`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(binary: &Path, logs: &Path, tls: bool) -> anyhow::Result<Self> {
        let certificate = tls.then(|| logs.join("certificate.pem"));
        let mut command = Command::new(binary);
        command.args(["--kinesis-port", "0", "--dynamodb-port", "0"]).env("RUST_LOG", "warn");
        if let Some(certificate) = &certificate {
            command.arg("--tls-certificate").arg(certificate);
        }
        command
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(logs.join("kinesis-local.log"))?)
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let mut environment = Vec::new();
        loop {
            let line = timeout(STARTING, lines.next_line()).await.context("kinesis-local does not start")??;
            let line = line.context("kinesis-local ended")?;
            if line == "ready" {
                break;
            }
            if line.starts_with("unset ") {
                continue;
            }
            let export = line.strip_prefix("export ").and_then(|line| line.split_once('='));
            let (name, value) = export.with_context(|| format!("kinesis-local printed {line}"))?;
            environment.push((name.to_owned(), value.trim_matches('\'').to_owned()));
        }
        Ok(Self { environment, certificate, _child: Some(child) })
    }

    /// Services of others, that listen at these URLs.
    #[must_use]
    pub fn elsewhere(kinesis: &str, dynamodb: &str) -> Self {
        let environment = [
            ("AWS_ENDPOINT_URL_KINESIS", kinesis),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { environment, certificate: None, _child: None }
    }

    /// The environment that finds it.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// URL of a service: `KINESIS` or `DYNAMODB`.
    pub(super) fn endpoint(&self, service: &str) -> anyhow::Result<&str> {
        let name = format!("AWS_ENDPOINT_URL_{service}");
        let found = self.environment.iter().find(|(exported, _)| *exported == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("{name} is not exported"))
    }

    /// Address of Kinesis: host and port.
    ///
    /// # Errors
    /// It was not told.
    pub fn kinesis_address(&self) -> anyhow::Result<(String, String)> {
        let (_, authority) = self.endpoint("KINESIS")?.split_once("://").context("an endpoint is a URL")?;
        let (host, port) = authority.trim_end_matches('/').rsplit_once(':').context("an endpoint has a port")?;
        Ok((host.to_owned(), port.to_owned()))
    }

    /// For clients of Kinesis.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn kinesis(&self) -> anyhow::Result<SdkConfig> {
        self.config("KINESIS")
    }

    /// For clients of DynamoDB.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn dynamodb(&self) -> anyhow::Result<SdkConfig> {
        self.config("DYNAMODB")
    }

    fn config(&self, service: &str) -> anyhow::Result<SdkConfig> {
        let credentials = Credentials::new("local", "local", None, None, "interop");
        Ok(SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.endpoint(service)?)
            .http_client(http_client(self.certificate.as_deref())?)
            .build())
    }

    /// Creates a stream and waits until it takes records.
    ///
    /// # Errors
    /// Kinesis refuses.
    pub async fn create_stream(&self, stream: &str, shards: i32) -> anyhow::Result<()> {
        let kinesis = aws_sdk_kinesis::Client::new(&self.kinesis()?);
        kinesis.create_stream().stream_name(stream).shard_count(shards).send().await?;
        let begun = Instant::now();
        loop {
            let summary = kinesis.describe_stream_summary().stream_name(stream).send().await?;
            let status = summary.stream_description_summary().map(|summary| summary.stream_status().clone());
            if status == Some(StreamStatus::Active) {
                return Ok(());
            }
            ensure!(begun.elapsed() < STARTING, "the new stream is {status:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Speaks HTTP, and HTTPS with servers of this certificate.
pub(super) fn http_client(certificate: Option<&Path>) -> anyhow::Result<SharedHttpClient> {
    let builder = aws_smithy_http_client::Builder::new();
    let Some(certificate) = certificate else { return Ok(builder.build_http()) };
    let pem = std::fs::read(certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    let trusted = TrustStore::empty().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trusted).build()?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}
