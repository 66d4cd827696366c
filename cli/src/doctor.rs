//! `kds doctor`: what is wrong with a fleet, and what to do.

mod findings;
mod probe;

use clap::Args;
use serde::Serialize;

use self::findings::{Evidence, Finding, Severity};
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    fleet::{lag, read},
    output,
};

/// Exit codes by the worst finding.
const WARNED: u8 = 3;
const CRITICAL: u8 = 4;

/// Arguments of `kds doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit codes: 0 nothing or notes, 3 warnings, 4 critical findings, 1 the fleet cannot be read.")]
pub(crate) struct DoctorArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Stream of the application [default: as workers of kcl note it]
    stream: Option<StreamName>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    application: String,
    stream: Option<String>,
    findings: Vec<Finding>,
}

/// Prints the findings. Tries permissions by calls that change nothing.
pub(crate) async fn run(aws: &Aws, arguments: DoctorArguments) -> Result<(), Failure> {
    let DoctorArguments { application, stream, json } = arguments;
    let mut view = read::read(aws, &application).await?;
    let stream = read::stream_of(&view, stream);
    lag::measure(aws, &mut view, stream.as_ref()).await;
    let mut denied = Vec::new();
    let table = probe::table(aws, &application, &mut denied).await;
    let of_stream = match &stream {
        Some(stream) => probe::stream(aws, stream, &mut denied).await,
        None => None,
    };
    let clock_ahead_millis = aws.clock_ahead_millis();
    let findings = findings::findings(&Evidence { view: &view, table, stream: of_stream, denied, clock_ahead_millis });
    let worst = findings.first().map(|finding| finding.severity);
    let report = Report { application, stream: stream.map(|stream| stream.to_string()), findings };
    output::print(json, &report, || report.text())?;
    match worst {
        None | Some(Severity::Note) => Ok(()),
        Some(Severity::Warning) => Err(Failure::silent(WARNED)),
        Some(Severity::Critical) => Err(Failure::silent(CRITICAL)),
    }
}

impl Report {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().map(Finding::text).collect();
        if self.stream.is_none() {
            lines.push(
                "its stream is not known, so shards, retention and consumers were not looked at: name it".to_owned(),
            );
        }
        if lines.is_empty() {
            lines.push(format!("nothing is wrong with {}", self.application));
        }
        lines.join("\n") + "\n"
    }
}

impl Finding {
    fn text(&self) -> String {
        let severity = match self.severity {
            Severity::Note => "note    ",
            Severity::Warning => "warning ",
            Severity::Critical => "critical",
        };
        format!("{severity}  {}\n          {}", self.what, self.advice)
    }
}
