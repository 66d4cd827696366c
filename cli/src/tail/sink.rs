//! SHELL: where records are printed: on stdout, or in a file for each shard.
//!
//! A file has its name only once it is complete and on the disk; until then its name ends in `.part`.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use kpl::ShardId;

use super::print::OutputFormat;
use crate::{failure::Failure, output::Output};

/// A place for records.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout(Output),
    Folder(Folder),
}

/// A folder with a file for each shard.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    extension: &'static str,
    files: HashMap<ShardId, (Output, File)>,
}

impl Sink {
    /// A folder, which is made if it does not exist. Fails if it has files already.
    pub(crate) fn folder(path: &Path, format: OutputFormat) -> Result<Self, Failure> {
        let unusable = |error: io::Error| Failure::new(format!("folder {} cannot be used", path.display()), error);
        fs::create_dir_all(path).map_err(unusable)?;
        if fs::read_dir(path).map_err(unusable)?.next().is_some() {
            return Err(Failure::new(format!("folder {} is not empty", path.display()), "name a new one"));
        }
        let extension = match format {
            OutputFormat::Text => "txt",
            OutputFormat::Raw => "raw",
            OutputFormat::Json => "records.jsonl",
        };
        Ok(Self::Folder(Folder { path: path.to_owned(), extension, files: HashMap::new() }))
    }

    /// The output for a shard's records.
    pub(crate) fn of(&mut self, shard: &ShardId) -> Result<&mut Output, Failure> {
        match self {
            Self::Stdout(output) => Ok(output),
            Self::Folder(folder) => folder.of(shard),
        }
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Stdout(output) => output.flush(),
            Self::Folder(_) => Ok(()), // at the end of each file
        }
    }

    /// Gives complete files their names; returns their number.
    pub(crate) fn finish(self) -> Result<usize, Failure> {
        match self {
            Self::Stdout(mut output) => output.flush().map(|()| 0),
            Self::Folder(folder) => folder.finish(),
        }
    }
}

impl Folder {
    fn part(&self, shard: &ShardId) -> PathBuf {
        self.path.join(format!("{shard}.{}.part", self.extension))
    }

    fn of(&mut self, shard: &ShardId) -> Result<&mut Output, Failure> {
        if !self.files.contains_key(shard) {
            let part = self.part(shard);
            let unwritten = |error: io::Error| Failure::new(format!("{} cannot be written", part.display()), error);
            let file = OpenOptions::new().write(true).create_new(true).open(&part).map_err(unwritten)?;
            let output = Output::to(Box::new(file.try_clone().map_err(unwritten)?), part.display().to_string());
            self.files.insert(shard.clone(), (output, file));
        }
        match self.files.get_mut(shard) {
            Some((output, _)) => Ok(output),
            None => Err(Failure::new(format!("the file of {shard} is gone"), "try again")),
        }
    }

    fn finish(mut self) -> Result<usize, Failure> {
        let files = std::mem::take(&mut self.files);
        let count = files.len();
        for (shard, (mut output, file)) in files {
            output.flush()?;
            let (part, whole) = (self.part(&shard), self.path.join(format!("{shard}.{}", self.extension)));
            let unwritten = |error: io::Error| Failure::new(format!("{} cannot be written", whole.display()), error);
            file.sync_all().map_err(unwritten)?;
            fs::rename(&part, &whole).map_err(unwritten)?;
        }
        let folder = File::open(&self.path).and_then(|folder| folder.sync_all());
        folder.map_err(|error| Failure::new(format!("folder {} cannot be written", self.path.display()), error))?;
        Ok(count)
    }
}
