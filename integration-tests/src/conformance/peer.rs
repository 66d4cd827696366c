//! A [`Peer`]: whom the checks are run against.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_types::SdkConfig;
use tokio::time::{Instant, sleep};

use super::check::Needs;
use super::context::{Pace, in_context, pace};
use super::expect::{Failure, Outcome};
use crate::service::Clients;

/// Clients of an emulator, and what it is capable of.
#[derive(Clone, Debug)]
pub struct Peer {
    kinesis: aws_sdk_kinesis::Client,
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    limited: Option<aws_sdk_kinesis::Client>,
    has_virtual_time: bool,
}

impl Peer {
    /// A peer with Kinesis alone. Its clients do not retry: a check wants to see what was answered.
    pub fn new(config: &SdkConfig) -> Self {
        Self { kinesis: kinesis(config), dynamodb: None, limited: None, has_virtual_time: false }
    }

    /// The service itself: clients that try again what is throttled, and others that do not, which see its limits.
    pub(super) fn on_service(patient: &Clients, direct: &Clients) -> Self {
        Self {
            kinesis: patient.kinesis.clone(),
            dynamodb: Some(patient.dynamodb.clone()),
            limited: Some(direct.kinesis.clone()),
            has_virtual_time: false,
        }
    }

    /// That enforces the service's limits on throughput and calls as well, when this configuration is used.
    #[must_use]
    pub fn with_limits(mut self, config: &SdkConfig) -> Self {
        self.limited = Some(kinesis(config));
        self
    }

    /// That has DynamoDB as well.
    #[must_use]
    pub fn with_dynamodb(mut self, config: &SdkConfig) -> Self {
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).retry_config(RetryConfig::disabled());
        self.dynamodb = Some(aws_sdk_dynamodb::Client::from_conf(dynamodb.build()));
        self
    }

    /// Whose time is tokio's, which is paused.
    #[must_use]
    pub fn with_virtual_time(mut self) -> Self {
        self.has_virtual_time = true;
        self
    }

    /// True if the peer has what a check needs.
    pub fn offers(&self, needs: Needs) -> bool {
        match needs {
            Needs::Kinesis | Needs::IdleKinesis => true,
            Needs::VirtualTime => self.has_virtual_time,
            Needs::DynamoDb => self.dynamodb.is_some(),
            Needs::Limits => self.limited.is_some(),
        }
    }

    /// True if minutes and days pass at once.
    pub(super) fn has_virtual_time(&self) -> bool {
        self.has_virtual_time
    }

    pub(super) fn kinesis(&self) -> &aws_sdk_kinesis::Client {
        &self.kinesis
    }

    /// The same peer where it enforces limits.
    pub(super) fn limited(&self) -> Result<Self, Failure> {
        let limited = self.limited.clone().ok_or_else(|| Failure::new("the peer has no limits"))?;
        Ok(Self { kinesis: limited, ..self.clone() })
    }

    pub(super) fn dynamodb(&self) -> Result<&aws_sdk_dynamodb::Client, Failure> {
        self.dynamodb.as_ref().ok_or_else(|| Failure::new("the peer has no DynamoDB"))
    }
}

fn kinesis(config: &SdkConfig) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::config::Builder::from(config).retry_config(RetryConfig::disabled());
    aws_sdk_kinesis::Client::from_conf(config.build())
}

/// The configuration of clients for an emulator that checks no signatures.
pub fn config(url: &str, http_client: SharedHttpClient) -> SdkConfig {
    let credentials = Credentials::new("conformance", "conformance", None, None, "conformance");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .http_client(http_client)
        .build()
}

/// A name that nothing else has, in this run and in another against the same peer.
pub(super) fn unique(what: &str) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let n = NAMES.fetch_add(1, Ordering::Relaxed);
    in_context(&format!("{what}-{}-{n}", std::process::id()))
}

/// Waits until something holds that a peer may take its time for.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool, Failure>) -> Outcome {
    let Pace { patience, pause, .. } = pace();
    let deadline = Instant::now() + patience;
    while !condition().await? {
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("not within {patience:?}: {what}")));
        }
        sleep(pause).await;
    }
    Ok(())
}
