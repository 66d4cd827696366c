//! `kds put`: puts lines, JSON lines, CSV rows or records into a stream.

pub(crate) mod entry;
pub(crate) mod failed;
pub(crate) mod key;
pub(crate) mod lines;
mod progress;
mod send;
pub(crate) mod source;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kpl::{
    Aggregation, Producer,
    settings::{ProducerSettings, SettingError},
};
use serde::Serialize;
use tokio::time::Instant;

use self::{
    entry::InputFormat,
    failed::FailedFile,
    key::KeyRule,
    send::{OUTSTANDING, Outcome},
    source::Source,
};
use crate::{
    aws::{Aws, refusal, stream_name::StreamName},
    compressed::CompressionArguments,
    failure::Failure,
    output, stop, text,
};

/// Bytes of records that are accepted and not stored.
const OUTSTANDING_BYTES: usize = 12 * 1024 * 1024;
/// Bytes of a request, which are in memory twice: as records and as its body.
pub(crate) const REQUEST_BYTES: usize = 1024 * 1024;
/// Time in which a record must be stored: a busy shard takes long.
const RECORD_TTL: Duration = Duration::from_secs(300);

/// Arguments of `kds put`.
#[derive(Debug, Clone, Args)]
pub(crate) struct PutArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// Files to put; "-" is stdin
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Shape of the input [default: by the file's name: .csv, .jsonl, .records.jsonl, else lines]
    #[arg(long, short, value_enum)]
    format: Option<InputFormat>,
    /// Partition key: random, hash (of the data), field:NAME or column:NAME (of JSON by a path with dots, of CSV), text:KEY
    #[arg(long, short, default_value = "random", value_name = "RULE")]
    key: KeyRule,
    /// One Kinesis record for each record, for consumers that do not take KPL aggregates apart
    #[arg(long)]
    no_aggregation: bool,
    /// Setting of the producer, such as record_ttl=1m, over the others; may be repeated. `kds settings producer` lists them
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    compression: CompressionArguments,
    /// File for records that are not stored, to be put again [default: kds-failed.records.jsonl, made if it is needed]
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    stored: u64,
    stored_bytes: u64,
    failed: u64,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<PathBuf>,
}

/// Puts the input. Fails unless every record is stored.
pub(crate) async fn run(aws: &Aws, arguments: PutArguments) -> Result<(), Failure> {
    let PutArguments { stream, files, format, key, no_aggregation, set, compression, failures, json } = arguments;
    let settings = settings_of(&set)?;
    let source = Source { files, format, key };
    source.check()?;
    let failures = FailedFile::new(failures)?;
    find(aws, &stream).await?;
    let aggregation = if no_aggregation { Aggregation::Off } else { Aggregation::default() };
    let producer = Producer::builder(&aws.config, stream.as_str())
        .aggregation(aggregation)
        .max_outstanding_bytes(OUTSTANDING_BYTES)
        .max_outstanding_records(OUTSTANDING)
        .collection_max_bytes(REQUEST_BYTES)
        .record_ttl(RECORD_TTL);
    let producer = compression.set(producer)?.settings(&settings).build();
    let producer = producer.map_err(|error| Failure::new("the producer cannot be built", error))?;
    let bar = progress::bar(source.size());
    let (begun, stop) = (Instant::now(), stop::on_signal()?);
    let (outcome, mut failures) = send::send(&producer, source.start()?, failures, stop, &bar).await;
    producer.shutdown().await;
    bar.finish_and_clear();
    let file = failures.finish()?;
    let report = Report {
        stored: outcome.stored,
        stored_bytes: outcome.stored_bytes,
        failed: failures.records + failures.left_out,
        seconds: begun.elapsed().as_secs_f64(),
        failures: file,
    };
    output::print(json, &report, || report.text())?;
    verdict(aws, &stream, outcome, &failures, &report)
}

fn settings_of(pairs: &[String]) -> Result<ProducerSettings, Failure> {
    let mut settings = ProducerSettings::default();
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let unset = |error: SettingError| Failure::new("--set cannot be taken", error);
        settings.set(key.trim(), value).map_err(unset)?;
    }
    Ok(settings)
}

/// Fails if the stream does not exist. That it cannot be described is no obstacle.
async fn find(aws: &Aws, stream: &StreamName) -> Result<(), Failure> {
    let described = aws.kinesis().describe_stream_summary().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    match described.send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error().map(|error| error.is_resource_not_found_exception()) {
            Some(false) => Ok(()),
            Some(true) | None => Err(aws.explain("kinesis:DescribeStreamSummary", &format!("stream {stream}"), error)),
        },
    }
}

impl Report {
    fn text(&self) -> String {
        let (stored, size) = (text::counted(self.stored, "record"), text::bytes(self.stored_bytes));
        let time = text::duration(Duration::from_secs_f64(self.seconds));
        format!("stored {stored} ({size}) in {time}, {} failed\n", text::count(self.failed))
    }
}

fn verdict(
    aws: &Aws,
    stream: &StreamName,
    outcome: Outcome,
    failures: &FailedFile,
    report: &Report,
) -> Result<(), Failure> {
    if let Some(failure) = outcome.unwritten.or(outcome.unread) {
        return Err(failure);
    }
    let again = match (&report.failures, failures.left_out) {
        (Some(file), 0) => format!("put {} again", file.display()),
        (Some(file), _) => format!("put {} again, without the lines that are too long", file.display()),
        (None, _) => "shorten the lines".to_owned(),
    };
    let end = outcome.last.as_ref().map_or("its start".to_owned(), ToString::to_string);
    let rest = if outcome.stopped { format!(", and the input after {end}") } else { String::new() };
    if let Some((code, message)) = outcome.lasting {
        let cause = refusal::refused(aws, "kinesis:PutRecords", &format!("stream {stream}"), &code, &message);
        return Err(Failure::new(cause, format!("then {again}{rest}")));
    }
    if let Some((place, reason)) = &failures.first {
        let failed = text::counted(report.failed, "record");
        return Err(Failure::new(
            format!("{failed} not stored, the first at {place}: {reason}"),
            format!("{again}{rest}"),
        ));
    }
    if outcome.stopped {
        return Err(Failure::new(format!("stopped after {end}"), "everything up to there is stored: put the rest"));
    }
    Ok(())
}
