//! `kds decode`: takes a Kinesis record's data apart, and says what a KCL would make of them.

mod input;
mod report;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use kpl::MAX_RECORD_BYTES;

use self::report::Report;
use crate::{
    aws::{AwsArguments, stream_name::StreamName},
    compressed::DictionaryArguments,
    failure::Failure,
    output,
    reading::shards::{self, Shard},
};

/// Hexadecimal digits and line breaks of the largest record, and some more.
const MAX_INPUT_BYTES: u64 = MAX_RECORD_BYTES as u64 * 3;

/// Encoding of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Whatever makes an aggregate or a compressed record of it, else the first of hex, base64 and binary that fits
    Auto,
    Base64,
    Hex,
    Binary,
}

/// Arguments of `kds decode`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DecodeArguments {
    /// File with the record's data; "-" is stdin
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// The data themselves, rather than a file
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    data: Option<String>,
    /// Encoding of the data
    #[arg(long, short, value_enum, default_value = "auto")]
    encoding: Encoding,
    /// Stream of the record: says on which of its shards a KCL delivers the user records; by default on one that owns all
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    #[command(flatten)]
    dictionaries: DictionaryArguments,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what the data are. Calls AWS only if a stream is named.
pub(crate) async fn run(aws: &AwsArguments, arguments: DecodeArguments) -> Result<(), Failure> {
    let input = match arguments.data {
        Some(text) => text.into_bytes(),
        None => read(&arguments.file)?,
    };
    let data: Bytes = input::decoded(input, arguments.encoding)?.into();
    let shards = match &arguments.stream {
        Some(stream) => shards_of(aws, stream).await?,
        None => Vec::new(),
    };
    let report = Report::new(&data, &shards, &arguments.dictionaries.reader()?);
    output::print(arguments.json, &report, || report.text())
}

async fn shards_of(aws: &AwsArguments, stream: &StreamName) -> Result<Vec<Shard>, Failure> {
    Ok(shards::all_shards(&aws.load().await?, stream).await?.iter().filter_map(shards::shard).collect())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unread = |error: io::Error| Failure::new(format!("{} cannot be read", path.display()), error);
    let input: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unread)?) };
    let mut data = Vec::new();
    input.take(MAX_INPUT_BYTES + 1).read_to_end(&mut data).map_err(unread)?;
    if data.len() as u64 > MAX_INPUT_BYTES {
        return Err(Failure::new(
            format!("{} is larger than any record", path.display()),
            "give the data of one record",
        ));
    }
    Ok(data)
}
