//! The configuration of the original Kinesis Agent, as far as it is supported. Pure.
//!
//! Source: <https://docs.aws.amazon.com/streams/latest/dev/writing-with-agents.html>

use std::{path::PathBuf, time::Duration};

use globset::{GlobBuilder, GlobMatcher};
use kpl::settings::ProducerSettings;
use regex::bytes::Regex;
use serde_json::{Map, Value};

use crate::{aws::stream_name::StreamName, failure::Failure};

/// Tasks of the agent.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) state_file: Option<PathBuf>,
    pub(super) flows: Vec<Flow>,
    /// Settings that are not supported and do no harm.
    pub(super) ignored: Vec<String>,
}

/// Files that are put into a stream.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// The patterns as given: the flow's name in the state file.
    pub(super) name: String,
    pub(super) patterns: Vec<Pattern>,
    pub(super) stream: StreamName,
    pub(super) key: KeyOption,
    pub(super) from_start: bool,
    pub(super) poll: Duration,
    pub(super) skipped_lines: usize,
    /// Begin of a record of several lines.
    pub(super) record_start: Option<Regex>,
    pub(super) aggregate: bool,
    /// Settings of the producer. Not one of the original agent's.
    pub(super) producer: ProducerSettings,
}

/// Files of a folder whose names match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) folder: PathBuf,
    pub(super) name: GlobMatcher,
}

/// Partition keys of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyOption {
    Random,
    /// The MD5 of the data.
    Deterministic,
    /// One key for the files of a folder: their records stay in order. Not one of the original agent's.
    Folder,
}

/// Pause between two looks at the files. Source: `minTimeBetweenFilePollsMillis`.
const POLL: Duration = Duration::from_millis(100);
const MIN_POLL: Duration = Duration::from_millis(10);

/// Settings that would change what is put, and are not supported.
const REFUSED: [(&str, &str); 2] = [
    ("dataProcessingOptions", "records are put as they are"),
    ("deliveryStream", "only Kinesis streams are supported"),
];

/// Settings of the producer that the agent has its own values for.
const FIXED: [&str; 3] = ["max_outstanding_bytes", "max_outstanding_records", "record_ttl"];

impl Config {
    /// Reads a configuration; the failure names what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(what, "see docs/kds.md for what is supported");
        let json: Value =
            serde_json::from_str(&uncommented(text)).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
        let Value::Object(mut settings) = json else { return Err(wrong("it is no JSON object".to_owned())) };
        let flows = match settings.remove("flows") {
            Some(Value::Array(flows)) if !flows.is_empty() => flows,
            _ => return Err(wrong("it has no flows".to_owned())),
        };
        let mut ignored = Vec::new();
        let flows: Result<Vec<Flow>, String> =
            flows.into_iter().enumerate().map(|(place, flow)| flow_of(place, flow, &mut ignored)).collect();
        let mut text_of = |name: &str| settings.remove(name).and_then(|value| value.as_str().map(str::to_owned));
        let endpoint = text_of("kinesis.endpoint").filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.map(|it| if it.contains("://") { it } else { format!("https://{it}") });
        let (region, state_file) = (text_of("kinesis.region"), text_of("checkpointFile").map(PathBuf::from));
        ignored.extend(settings.into_iter().map(|(name, _)| name));
        Ok(Self { endpoint, region, state_file, flows: flows.map_err(wrong)?, ignored })
    }
}

fn flow_of(place: usize, flow: Value, ignored: &mut Vec<String>) -> Result<Flow, String> {
    let at = |name: &str| format!("flows[{place}].{name}");
    let Value::Object(mut settings) = flow else { return Err(format!("flows[{place}] is no JSON object")) };
    if let Some((name, reason)) = REFUSED.iter().find(|(name, _)| settings.contains_key(*name)) {
        return Err(format!("{} is not supported: {reason}", at(name)));
    }
    let patterns = match settings.remove("filePattern") {
        Some(Value::String(pattern)) => vec![pattern],
        Some(Value::Array(patterns)) => patterns.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        _ => return Err(format!("{} is missing", at("filePattern"))),
    };
    let stream = text(&mut settings, "kinesisStream")?.ok_or_else(|| format!("{} is missing", at("kinesisStream")))?;
    let stream = stream.parse().map_err(|error| format!("{}: {error}", at("kinesisStream")))?;
    let key = match text(&mut settings, "partitionKeyOption")?.as_deref() {
        None | Some("RANDOM") => KeyOption::Random,
        Some("DETERMINISTIC") => KeyOption::Deterministic,
        Some("FOLDER") => KeyOption::Folder,
        Some(other) => {
            return Err(format!("{} is {other}, known are RANDOM, DETERMINISTIC and FOLDER", at("partitionKeyOption")));
        }
    };
    let from_start = match text(&mut settings, "initialPosition")?.as_deref() {
        Some("START_OF_FILE") => true,
        None | Some("END_OF_FILE") => false,
        Some(other) => {
            return Err(format!("{} is {other}, known are START_OF_FILE and END_OF_FILE", at("initialPosition")));
        }
    };
    let record_start =
        text(&mut settings, "multiLineStartPattern")?.map(|pattern| Regex::new(&format!("^(?:{pattern})")));
    let record_start = record_start.transpose().map_err(|error| format!("{}: {error}", at("multiLineStartPattern")))?;
    let poll =
        number(&mut settings, "minTimeBetweenFilePollsMillis")?.map_or(POLL, Duration::from_millis).max(MIN_POLL);
    let skipped_lines = number(&mut settings, "skipHeaderLines")?.unwrap_or(0);
    let aggregate = settings.remove("aggregatedRecordSizeBytes").is_some();
    let producer = producer(&mut settings).map_err(|error| format!("{}: {error}", at("producer")))?;
    let name = patterns.join(",");
    let patterns = patterns.iter().map(|it| pattern(it)).collect::<Result<_, _>>();
    let patterns = patterns.map_err(|error: String| format!("{}: {error}", at("filePattern")))?;
    ignored.extend(settings.into_iter().map(|(name, _)| at(&name)));
    let skipped_lines = usize::try_from(skipped_lines).unwrap_or(usize::MAX);
    Ok(Flow { name, patterns, stream, key, from_start, poll, skipped_lines, record_start, aggregate, producer })
}

/// Settings of the producer but for those on which it depends that every line is stored.
fn producer(settings: &mut Map<String, Value>) -> Result<ProducerSettings, String> {
    let Some(producer) = settings.remove("producer") else { return Ok(ProducerSettings::default()) };
    let producer = serde_json::from_value(producer);
    let producer: ProducerSettings = producer.map_err(|error| error.to_string())?;
    let fixed = producer.values().into_iter().map(|(name, _)| name).find(|name| FIXED.contains(name));
    fixed.map_or(Ok(producer), |name| Err(format!("{name} cannot be set: a line is tried again until it is stored")))
}

fn text(settings: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match settings.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{name} is {other}, a text is expected")),
    }
}

fn number(settings: &mut Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match settings.remove(name) {
        None => Ok(None),
        // The original agent takes numbers as texts, too.
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|_| format!("{name} is {text}, a number is expected"))
        }
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{name} is {value}, a number is expected")),
    }
}

/// A pattern whose folder is plain and whose last part may have `*`, `?` and the like, as for the original agent.
fn pattern(text: &str) -> Result<Pattern, String> {
    let text = text.strip_prefix("file://").unwrap_or(text);
    let (folder, name) = text.rsplit_once('/').ok_or_else(|| format!("{text} is no absolute path"))?;
    if !folder.is_empty() && !folder.starts_with('/') {
        return Err(format!("{text} is no absolute path"));
    }
    if folder.contains(['*', '?', '[']) {
        return Err(format!("{text} has a wildcard in its folder, only the file's name may"));
    }
    let name =
        GlobBuilder::new(name).literal_separator(true).build().map_err(|error| error.to_string())?.compile_matcher();
    let folder = if folder.is_empty() { "/" } else { folder };
    Ok(Pattern { folder: PathBuf::from(folder), name })
}

/// The text without lines that are comments, which the original agent allows.
fn uncommented(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(settings: &str) -> Result<Config, String> {
        Config::parse(&format!("{{\"flows\": [{{{settings}}}]}}")).map_err(|failure| failure.to_string())
    }

    #[test]
    fn reads_the_original_agents_configuration_and_names_what_it_ignores() {
        let config = Config::parse(
            r#"{
              // a comment
              "cloudwatch.emitMetrics": true,
              "kinesis.endpoint": "kinesis.us-west-2.amazonaws.com",
              "checkpointFile": "/var/run/agent",
              "flows": [{
                "filePattern": "/var/log/app.log*", "kinesisStream": "orders", "partitionKeyOption": "DETERMINISTIC",
                "initialPosition": "START_OF_FILE", "multiLineStartPattern": "\\[", "skipHeaderLines": 1,
                "minTimeBetweenFilePollsMillis": "250", "maxBufferAgeMillis": 5000,
                "producer": { "record_max_buffered_time": "2s" }
              }]
            }"#,
        )
        .unwrap();

        let flow = &config.flows[0];
        assert_eq!(config.endpoint.as_deref(), Some("https://kinesis.us-west-2.amazonaws.com"));
        assert_eq!(config.ignored, ["flows[0].maxBufferAgeMillis", "cloudwatch.emitMetrics"]);
        assert_eq!((flow.key, flow.from_start, flow.skipped_lines), (KeyOption::Deterministic, true, 1));
        assert_eq!((flow.poll, flow.patterns[0].folder.to_str()), (Duration::from_millis(250), Some("/var/log")));
        assert_eq!(flow.producer.record_max_buffered_time, Some(Duration::from_secs(2)));
        assert!(flow.patterns[0].name.is_match("app.log.1") && !flow.patterns[0].name.is_match("other.log"));
        assert!(
            flow.record_start.as_ref().unwrap().is_match(b"[a") && !flow.record_start.as_ref().unwrap().is_match(b"a[")
        );
    }

    #[test]
    fn refuses_what_would_put_something_else() {
        let valid = r#""filePattern": "/a", "kinesisStream": "s""#;
        for (settings, text) in [
            (format!(r#"{valid}, "dataProcessingOptions": []"#), "flows[0].dataProcessingOptions is not supported"),
            (r#""filePattern": "/a", "deliveryStream": "s""#.to_owned(), "only Kinesis streams"),
            (r#""filePattern": "/a""#.to_owned(), "flows[0].kinesisStream is missing"),
            (r#""filePattern": "a*", "kinesisStream": "s""#.to_owned(), "no absolute path"),
            (r#""filePattern": "/a*/b", "kinesisStream": "s""#.to_owned(), "only the file's name may"),
            (format!(r#"{valid}, "partitionKeyOption": "MINE""#), "RANDOM, DETERMINISTIC and FOLDER"),
            (format!(r#"{valid}, "multiLineStartPattern": "(""#), "unclosed group"),
            (format!(r#"{valid}, "skipHeaderLines": "x""#), "a number is expected"),
            (format!(r#"{valid}, "producer": {{"record_ttl": "1m"}}"#), "flows[0].producer: record_ttl cannot be set"),
            (format!(r#"{valid}, "producer": {{"max_in_flights": 1}}"#), "max_in_flight is one"),
        ] {
            let refused = flow(&settings).unwrap_err();
            assert!(refused.contains(text), "{settings}: {refused}");
        }
        assert!(Config::parse("{}").is_err() && Config::parse("[").is_err() && flow(valid).is_ok());
    }
}
