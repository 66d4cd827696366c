//! SHELL: compressed records on the command line: the codec of what is put, dictionaries in files.

use std::path::{Path, PathBuf};

use clap::Args;
use kpl::{
    ProducerBuilder,
    compressed::{Compression, Dictionary, FrameError, FrameReader},
};

use crate::{failure::Failure, text};

/// Level of zstd unless another is given.
const ZSTD_LEVEL: i32 = 3;

/// Dictionaries of commands that read.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DictionaryArguments {
    /// Dictionary of compressed records, as train-dictionary writes it; may be given several times
    #[arg(long = "dictionary", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl DictionaryArguments {
    /// A reader of compressed records with these dictionaries.
    pub(crate) fn reader(&self) -> Result<FrameReader, Failure> {
        reader(&self.files)
    }
}

/// A reader of compressed records with the dictionaries in these files.
pub(crate) fn reader(files: &[PathBuf]) -> Result<FrameReader, Failure> {
    files.iter().try_fold(FrameReader::new(), |reader, file| Ok(reader.with_dictionary(dictionary(file)?)))
}

/// Compressed records that cannot be opened.
#[derive(Debug, Default)]
pub(crate) struct Unopened {
    records: u64,
    first: Option<FrameError>,
}

impl Unopened {
    pub(crate) fn count(&mut self, error: FrameError) {
        self.add(Self { records: 1, first: Some(error) });
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.first = self.first.take().or(other.first);
    }

    /// Says on stderr how many there were, why, and what was `done` with them.
    pub(crate) fn report(&self, done: &str) {
        let Some(first) = &self.first else { return };
        eprintln!(
            "kds: {} {done}, the first because {}",
            text::counted(self.records, "compressed record"),
            closed(first)
        );
    }
}

/// The reason why a compressed record cannot be opened, and what helps.
pub(crate) fn closed(error: &FrameError) -> String {
    match error {
        FrameError::UnknownDictionary { .. } => format!("{error}: name its file by --dictionary"),
        _ => error.to_string(),
    }
}

/// Compression of what is put.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompressionArguments {
    /// Compress Kinesis records: zstd, zstd:LEVEL, gzip or lz4; only kpl's own consumers can read them
    #[arg(long, value_name = "CODEC", value_parser = codec)]
    compress: Option<Compression>,
    /// Dictionary for zstd, as train-dictionary writes it
    #[arg(long, value_name = "FILE", requires = "compress")]
    dictionary: Option<PathBuf>,
}

impl CompressionArguments {
    pub(crate) fn set(&self, producer: ProducerBuilder) -> Result<ProducerBuilder, Failure> {
        let producer = self.compress.into_iter().fold(producer, ProducerBuilder::compression);
        let dictionary = self.dictionary.as_deref().map(dictionary).transpose()?;
        Ok(dictionary.into_iter().fold(producer, ProducerBuilder::compression_dictionary))
    }
}

fn dictionary(file: &Path) -> Result<Dictionary, Failure> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| Failure::new(format!("{shown} cannot be read"), error))?;
    Dictionary::new(bytes).map_err(|error| Failure::new(format!("{shown} is no dictionary"), error))
}

fn codec(text: &str) -> Result<Compression, String> {
    let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
    let compression = match (name, level) {
        ("gzip", None) => Compression::Gzip,
        ("lz4", None) => Compression::Lz4,
        ("zstd", None) => Compression::Zstd(ZSTD_LEVEL),
        ("zstd", Some(level)) => Compression::Zstd(level.parse().map_err(|_| "the level is a number".to_owned())?),
        _ => return Err("zstd, zstd:LEVEL, gzip or lz4 are known".to_owned()),
    };
    let levels = (Compression::MIN_ZSTD_LEVEL, Compression::MAX_ZSTD_LEVEL);
    compression.is_available().then_some(compression).ok_or(format!("levels are {} to {}", levels.0, levels.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_named_with_levels_in_their_bounds() {
        assert_eq!(codec("gzip"), Ok(Compression::Gzip));
        assert_eq!(codec("lz4"), Ok(Compression::Lz4));
        assert_eq!(codec("zstd"), Ok(Compression::Zstd(3)));
        assert_eq!(codec("zstd:-7"), Ok(Compression::Zstd(-7)));
        for wrong in ["zstd:20", "zstd:-8", "zstd:x", "gzip:6", "snappy", ""] {
            assert!(codec(wrong).is_err(), "{wrong}");
        }
    }
}
