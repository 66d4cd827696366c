//! Settings: the keys of the daemon for Java with the same meanings, and a few of our own.

mod consume;
mod credentials;
mod keys;
mod properties;
mod reader;
mod source;
mod worker;

use std::{path::Path, time::Duration};

use kcl::WorkerSettings;

pub(crate) use self::{
    consume::{Consume, GiveUp},
    credentials::Credentials,
};
use self::{keys::HONOURED, reader::Reader, source::Entries};

/// Default time for the answer to an action. The daemon for Java waits for ever.
const CALL_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Default time for a child to end after its input has ended, and again after SIGTERM.
const EXIT_LIMIT: Duration = Duration::from_secs(10);

/// A setting that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum SettingsError {
    /// Neither file nor variables.
    #[error(
        "there are no settings: name a file, as in kcl-multilang app.properties, or set variables, as in KCL_MULTILANG_APPLICATION_NAME"
    )]
    #[non_exhaustive]
    None {},
    /// A file cannot be opened, or is not in the syntax of its kind.
    #[error("{file} cannot be read: {reason}")]
    #[non_exhaustive]
    File { file: String, reason: String },
    /// A key without which nothing runs.
    #[error("{key} is missing: {example}")]
    #[non_exhaustive]
    Missing {
        key: &'static str,
        /// Purpose, with an example.
        example: &'static str,
    },
    /// A value that is not accepted.
    #[error("{key} is {value:?}, accepted: {expected}")]
    #[non_exhaustive]
    Unreadable { key: String, value: String, expected: String },
    /// A setting of the worker that is not accepted.
    #[error("{key}: {reason}")]
    #[non_exhaustive]
    Worker { key: String, reason: String },
}

/// Settings of the daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(crate) executable: Vec<String>,
    pub(crate) call_limit: Duration,
    pub(crate) exit_limit: Duration,
    pub(crate) aws: Aws,
    pub(crate) consume: Consume,
    /// Settings of the worker that win over those of `consume`.
    pub(crate) worker: WorkerSettings,
    /// Address of the probes.
    pub(crate) probes: Option<String>,
    /// Keys and values that count, in order.
    pub(crate) taken: Vec<(String, String)>,
    /// Remarks for the start: keys without effect, and why.
    pub(crate) notes: Vec<String>,
}

/// Region, credentials and addresses of the services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aws {
    pub(crate) region: Option<String>,
    pub(crate) kinesis: Service,
    pub(crate) dynamodb: Service,
    pub(crate) cloudwatch: Service,
}

/// Settings of the client of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Service {
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
}

impl Settings {
    /// Reads a file of properties, or of TOML if its name ends so, and variables that begin with `KCL_MULTILANG_`, which
    /// win. Without a file, the variables alone.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn read(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> Result<Self, SettingsError> {
        let mut entries = file.map(source::read_file).transpose()?.unwrap_or_default();
        let worker = worker::keys();
        let known = HONOURED.iter().copied().chain(keys::WITHOUT_EFFECT.iter().map(|(key, _)| *key));
        let known = known.chain(worker.iter().map(String::as_str));
        source::add_environment(&mut entries, known, variables);
        if file.is_none() && entries.is_empty() {
            return Err(SettingsError::None {});
        }
        Self::of(entries)
    }

    /// Remarks for the start: keys without effect, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn of(entries: Entries) -> Result<Self, SettingsError> {
        let reader = Reader::new(entries);
        let executable =
            reader.filled("executableName").map(|text| text.split_whitespace().map(str::to_owned).collect());
        let executable = executable.ok_or(SettingsError::Missing {
            key: "executableName",
            example: "the program of a shard's child, as in executableName = sample_processor.py",
        })?;
        let mut notes = Vec::new();
        let consume = Consume::read(&reader, &mut notes)?;
        let worker = worker::read(&reader)?;
        let aws = Aws::read(&reader)?;
        let seconds = |text: &str| text.parse().ok().filter(|seconds| *seconds > 0);
        let call_limit = reader.parsed("timeoutInSeconds", "a whole number of seconds from 1", seconds)?;
        let exit_limit = reader.millis("childExitMillis")?.unwrap_or(EXIT_LIMIT);
        let probes = reader.filled("probeAddress").map(str::to_owned);
        notes.extend(reader.rest().iter().map(|key| keys::note(key, HONOURED.iter().copied())));
        let call_limit = call_limit.map_or(CALL_LIMIT, Duration::from_secs);
        let taken = reader.taken();
        Ok(Self { executable, call_limit, exit_limit, aws, consume, worker, probes, taken, notes })
    }
}

impl Aws {
    fn read(reader: &Reader) -> Result<Self, SettingsError> {
        let common = credentials::read(reader, "AwsCredentialsProvider")?.ok_or(SettingsError::Missing {
            key: "AwsCredentialsProvider",
            example: "where credentials come from, as in AwsCredentialsProvider = DefaultCredentialsProvider",
        })?;
        let service = |suffix: &str, prefix: &str, endpoint: &str| -> Result<Service, SettingsError> {
            let own = if suffix.is_empty() {
                None
            } else {
                credentials::read(reader, &format!("AwsCredentialsProvider{suffix}"))?
            };
            let url = |key: &str| reader.parsed(key, "a URL with http:// or https://", address);
            let over = url(&format!("{prefix}.endpointOverride"))?;
            let plain = if endpoint.is_empty() { None } else { url(endpoint)? };
            let region = reader.filled(&format!("{prefix}.region")).map(str::to_owned);
            Ok(Service { credentials: own.unwrap_or_else(|| common.clone()), endpoint: over.or(plain), region })
        };
        Ok(Self {
            region: reader.filled("regionName").map(str::to_owned),
            kinesis: service("", "kinesisClient", "kinesisEndpoint")?,
            dynamodb: service("DynamoDB", "dynamoDbClient", "dynamoDBEndpoint")?,
            cloudwatch: service("CloudWatch", "cloudWatchClient", "")?,
        })
    }
}

fn address(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    (!rest.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
