//! `kds replay`: a window of a stream's past, to files or stdout.

use std::path::PathBuf;

use clap::Args;
use regex::bytes::Regex;

use crate::{
    aws::{Aws, stream_name::StreamName},
    compressed::{DictionaryArguments, Unopened},
    failure::Failure,
    moment::{Moment, Start},
    output::Output,
    tail::{
        self, Reading,
        filter::Filter,
        print::{OutputFormat, Printer},
        reader::Until,
        sink::Sink,
    },
    text,
};

/// Arguments of `kds replay`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// Start: horizon, an age such as 2h, or a time
    #[arg(long, value_name = "POSITION", default_value = "horizon")]
    from: Start,
    /// End: an age or a time
    #[arg(long, value_name = "TIME", default_value = "now")]
    to: Moment,
    /// Only records of this partition key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only records whose data contain this regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Shape of the output; json is what kds put --format records puts again
    #[arg(long, short, value_enum, default_value = "json")]
    output: OutputFormat,
    #[command(flatten)]
    dictionaries: DictionaryArguments,
    /// New folder for a file for each shard [default: stdout]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Writes the records of the window, parents before children.
pub(crate) async fn run(aws: &Aws, arguments: ReplayArguments) -> Result<(), Failure> {
    let ReplayArguments { stream, from, to, key, grep, output, dictionaries, folder } = arguments;
    if matches!(from, Start::Latest | Start::Sequence(_)) {
        return Err(Failure::usage(
            "a window begins at a time or the horizon",
            "give --from as an age, a time or horizon",
        ));
    }
    let sink = match &folder {
        Some(folder) => Sink::folder(folder, output)?,
        None => Sink::Stdout(Output::new()),
    };
    let printer = Printer {
        format: output,
        filter: Filter { key: key.clone(), grep, keep_compressed: true },
        keep_aggregates: false,
        frames: dictionaries.reader()?,
        unopened: Unopened::default(),
        left: u64::MAX,
        discarded: 0,
        printed: 0,
    };
    let reading = Reading { stream, from, shard: None, key, printer, sink };
    let printed = tail::read(aws, reading, |aws| Until::moment(to, aws)).await?;
    if let Some(folder) = folder {
        eprintln!("kds: {} in {}", text::counted(printed, "record"), folder.display());
    }
    Ok(())
}
