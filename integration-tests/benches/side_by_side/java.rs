//! Commands of the peers in Java, with the runtime's default settings.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::clients::Services;
use super::work::{STREAM, Work};

/// Installed peers: a folder each, with its libraries, and its own classes in `classes`.
pub(crate) struct Java {
    installed: PathBuf,
}

impl Java {
    pub(crate) fn new(installed: &Path) -> Self {
        Self { installed: installed.to_owned() }
    }

    /// A producer of the KPL.
    pub(crate) fn kpl(&self, services: &Services, work: Work) -> anyhow::Result<Command> {
        let (host, port) = services.kinesis_address()?;
        let mut command = self.class("kpl", "MeasuredProducer", services);
        let kind = if work.aggregated { "aggregated" } else { "plain" };
        command.args([STREAM, host, port, &work.records.to_string(), &work.bytes.to_string(), kind]);
        Ok(command)
    }

    /// A worker of the KCL.
    pub(crate) fn kcl(&self, services: &Services, (application, worker): (&str, &str), records: usize) -> Command {
        let mut command = self.class("kcl-3.5.1", "MeasuredConsumer", services);
        command.args([application, STREAM, worker, &records.to_string()]);
        command
    }

    fn class(&self, folder: &str, class: &str, services: &Services) -> Command {
        let folder = self.installed.join(folder);
        let mut command = Command::new("java");
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp").arg(format!("{0}/classes:{0}/*", folder.display())).arg(class);
        command.env("AWS_ENDPOINT_URL_KINESIS", &services.kinesis).env("AWS_ENDPOINT_URL_DYNAMODB", &services.dynamodb);
        command.envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
        command
    }
}
