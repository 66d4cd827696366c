//! Command and properties of the KCL's multi-language daemon for Java. Its processor is `interop/processor.py`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tokio::process::Command;

use super::STREAM;
use super::peers::{ConsumerOptions, Peers, java_arguments};
use super::served::Served;

/// Program of the processor, which tells what happens on standard error.
const PROCESSOR: &str = include_str!("../../interop/processor.py");
/// Exchanges standard output and standard error of a command: the daemon prints its log on the former, and what its processors
/// tell on the latter.
const EXCHANGE: &str = r#"exec "$@" 3>&1 1>&2 2>&3 3>&-"#;

/// Differences between the daemons.
struct Version {
    /// Folder among the installed peers.
    folder: String,
    class: &'static str,
    /// Arguments before the name of the file of properties.
    arguments: &'static [&'static str],
    credentials: &'static str,
}

impl Version {
    fn of(version: &str) -> Self {
        if version.starts_with("1.") {
            Self {
                folder: format!("kcl-{version}"),
                class: "com.amazonaws.services.kinesis.multilang.MultiLangDaemon",
                arguments: &[],
                credentials: "AWSCredentialsProvider = DefaultAWSCredentialsProviderChain",
            }
        } else {
            Self {
                folder: format!("daemon-{version}"),
                class: "software.amazon.kinesis.multilang.MultiLangDaemon",
                arguments: &["--properties-file"],
                credentials: "AwsCredentialsProvider = DefaultCredentialsProvider",
            }
        }
    }
}

/// Command of the daemon of a version of the KCL. `name` is that of its files in the folder of logs.
///
/// # Errors
/// It is not installed, or its files cannot be written.
pub(super) fn command(
    peers: &Peers,
    served: &Served,
    version: &str,
    name: &str,
    options: &ConsumerOptions,
) -> anyhow::Result<Command> {
    let daemon = Version::of(version);
    let logs = peers.logs();
    // One for each daemon: while a file is written anew, the processors that others start find it empty.
    let processor = logs.join(format!("{name}-processor.py"));
    write(&processor, PROCESSOR)?;
    let file = format!("{name}.properties");
    write(&logs.join(&file), &properties(&daemon, served, &processor, options)?)?;
    // The daemon of KCL 1.x logs on standard error unless it is told of a file.
    let logging = logs.join(format!("{name}-logging.properties"));
    write(&logging, &log_to(&logs.join(format!("{name}.log"))))?;

    let mut command = Command::new("sh");
    command.args(["-c", EXCHANGE, "sh", "java"]);
    // The file of properties is looked for on the class path.
    let libraries = peers.installed(&daemon.folder)?;
    command.args(java_arguments(&format!("{}/*:{}", libraries.display(), logs.display())));
    command.arg(format!("-Djava.util.logging.config.file={}", logging.display()));
    command.arg(daemon.class).args(daemon.arguments).arg(file);
    Ok(command)
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn properties(
    daemon: &Version,
    served: &Served,
    processor: &Path,
    options: &ConsumerOptions,
) -> anyhow::Result<String> {
    let ConsumerOptions { application, worker, failover_millis, limit, .. } = options;
    let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
    let mut lines = format!("executableName = python3 {} {limit}\n{}\n", processor.display(), daemon.credentials);
    let millis = failover_millis.to_string();
    for (key, value) in [
        ("applicationName", application.as_str()),
        ("streamName", STREAM),
        ("workerId", worker.as_str()),
        ("initialPositionInStream", "TRIM_HORIZON"),
        ("regionName", "us-east-1"),
        ("kinesisEndpoint", served.endpoint("KINESIS")?),
        ("dynamoDBEndpoint", served.endpoint("DYNAMODB")?),
        ("failoverTimeMillis", millis.as_str()),
        ("idleTimeBetweenReadsInMillis", "250"),
        ("shardSyncIntervalMillis", "1000"),
        ("parentShardPollIntervalMillis", "500"),
        ("retrievalMode", "POLLING"),
        ("metricsLevel", "NONE"),
    ] {
        let _ = writeln!(lines, "{key} = {value}"); // a String takes everything
    }
    Ok(lines)
}

fn log_to(log: &Path) -> String {
    let handler = "java.util.logging.FileHandler";
    let log = log.display();
    let formatter = "java.util.logging.SimpleFormatter";
    format!(
        "handlers = {handler}\n{handler}.pattern = {log}\n{handler}.append = true\n{handler}.formatter = {formatter}\n"
    )
}
