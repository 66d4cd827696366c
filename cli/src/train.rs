//! SHELL: `kds train-dictionary`: a dictionary for zstd, from lines like those that will be put.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use kpl::compressed::{Compression, Dictionary, FrameWriter};
use serde::Serialize;

use crate::{failure::Failure, output, text, whole_file};

/// Maximum bytes of samples; the training takes some ten times as much memory.
const MAX_SAMPLES_BYTES: usize = 16 << 20;
/// Maximum samples by which the gain is measured.
const MAX_MEASURED: usize = 1000;
const LEVEL: Compression = Compression::Zstd(3);

/// Arguments of `kds train-dictionary`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrainArguments {
    /// Files whose lines are samples, each one record; "-" is stdin. The first 16 MiB count
    #[arg(default_value = "-", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File for the dictionary
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Maximum bytes of the dictionary, at least 256
    #[arg(long, default_value_t = 65_536, value_name = "N")]
    max_bytes: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    id: u32,
    bytes: usize,
    samples: usize,
    /// Bytes of the samples that were compressed each alone, and of their frames.
    measured: usize,
    without_dictionary: usize,
    with_dictionary: usize,
}

/// Trains a dictionary, writes it, and reports what it brings.
pub(crate) fn run(arguments: &TrainArguments) -> Result<(), Failure> {
    let TrainArguments { files, output, max_bytes, json } = arguments;
    let samples = samples(files)?;
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let dictionary = Dictionary::train(&samples, *max_bytes)
        .map_err(|error| Failure::new(error, "give more lines, or a lower --max-bytes"))?;
    let shown = output.display();
    whole_file::replace(output, dictionary.bytes())
        .map_err(|error| Failure::new(format!("{shown} cannot be written"), error))?;
    let report = Report::new(&dictionary, &samples);
    output::print(*json, &report, || report.text(output))
}

fn samples(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failure> {
    let (mut samples, mut room) = (Vec::new(), MAX_SAMPLES_BYTES);
    for file in files {
        let unread = |error: io::Error| Failure::new(format!("{} cannot be read", file.display()), error);
        let input: Box<dyn Read> =
            if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file).map_err(unread)?) };
        // A line that is cut off is no sample.
        let mut lines = BufReader::new(input.take(room as u64));
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(unread)? > 0 {
            room = room.saturating_sub(line.len());
            let data = line.strip_suffix(b"\n").unwrap_or(&line);
            let data = data.strip_suffix(b"\r").unwrap_or(data);
            if !data.is_empty() {
                samples.push(data.to_vec());
            }
            line.clear();
        }
    }
    Ok(samples)
}

impl Report {
    fn new(dictionary: &Dictionary, samples: &[&[u8]]) -> Self {
        let measured: Vec<_> = samples.iter().take(MAX_MEASURED).collect();
        let stored = |dictionary: Option<&Dictionary>| {
            let writer = FrameWriter::new(LEVEL, dictionary.cloned());
            measured.iter().map(|sample| writer.frame(sample).map_or(sample.len(), |frame| frame.len())).sum()
        };
        Self {
            id: dictionary.id(),
            bytes: dictionary.bytes().len(),
            samples: samples.len(),
            measured: measured.iter().map(|sample| sample.len()).sum(),
            without_dictionary: stored(None),
            with_dictionary: stored(Some(dictionary)),
        }
    }

    fn text(&self, file: &Path) -> String {
        let percent = |bytes: usize| (100 * bytes).div_ceil(self.measured.max(1));
        format!(
            "dictionary {} of {} in {}, from {}\neach compressed alone, records become {} % with it, {} % without\n",
            self.id,
            text::bytes(self.bytes as u64),
            file.display(),
            text::counted(self.samples as u64, "line"),
            percent(self.with_dictionary),
            percent(self.without_dictionary),
        )
    }
}
