//! The services in a process of their own.

use std::collections::BTreeMap;
use std::ops::Sub;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::candidate::Candidate;
use super::clients::Services;
use super::process_tree::Usage;

/// Requests to the services up to a moment, and the units they consumed, counted there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// PutRecords and GetRecords.
    pub(crate) kinesis: u64,
    /// Requests to DynamoDB by operation.
    pub(crate) requests: BTreeMap<String, u64>,
    pub(crate) read_units: f64,
    pub(crate) write_units: f64,
}

impl Counts {
    /// Requests to DynamoDB.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

impl Sub<&Counts> for Counts {
    type Output = Self;

    fn sub(mut self, before: &Self) -> Self {
        for (operation, requests) in &mut self.requests {
            *requests -= before.requests.get(operation).copied().unwrap_or(0);
        }
        self.requests.retain(|_, requests| *requests > 0);
        self.kinesis -= before.kinesis;
        self.read_units -= before.read_units;
        self.write_units -= before.write_units;
        self
    }
}

/// The serving process.
pub(crate) struct Server {
    process: Candidate,
    services: Services,
}

impl Server {
    /// Starts the services, empty, over TLS.
    pub(crate) async fn start(name: &str, logs: &Path) -> anyhow::Result<Self> {
        let certificate = logs.join(format!("{name}.pem"));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--certificate").arg(&certificate);
        let mut process = Candidate::start(name, command, logs)?;
        let urls = process.line().await?;
        let (kinesis, dynamodb) = urls.split_once(' ').context("the server tells two URLs")?;
        let services = Services { kinesis: kinesis.to_owned(), dynamodb: dynamodb.to_owned(), certificate };
        Ok(Self { process, services })
    }

    /// Addresses of the services.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    pub(crate) async fn create_stream(&self, stream: &str, shards: u32) -> anyhow::Result<()> {
        let (kinesis, _) = self.services.configs()?;
        let create = aws_sdk_kinesis::Client::new(&kinesis).create_stream().stream_name(stream);
        create.shard_count(i32::try_from(shards)?).send().await?;
        Ok(())
    }

    /// CPU time and memory that the serving process has used.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Requests to the services up to now.
    pub(crate) async fn counts(&mut self) -> anyhow::Result<Counts> {
        let line = self.process.ask("counts").await?;
        serde_json::from_str(&line).with_context(|| format!("the server tells no counts: {line}"))
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.process.end().await
    }
}
