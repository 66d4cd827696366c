//! Dead letters from a file of lines, as `kcl::DeadLetterFile` writes it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use kcl::{BoxError, DeadLetter, ProcessorFactory, Record};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use super::{
    CHUNK_BYTES, CHUNK_LETTERS, Redriven, Rerun,
    redrive::{Each, Read, Reprocess, Source, redrive},
};

/// A file of letters, a letter in each line, which nothing is added to meanwhile: it is renamed first. One whose length changes
/// nevertheless stays as it is, and the redrive ends with an error.
#[derive(Debug, Clone)]
pub struct FileLetters(PathBuf);

impl FileLetters {
    /// The letters in a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Has each letter processed by a closure. The file then has those that failed; without any it is removed.
    ///
    /// # Errors
    /// The file cannot be read or replaced. It is as it was: all letters come back again.
    ///
    /// # Cancellation
    /// As for an error.
    pub async fn redrive(&self, process: impl AsyncFn(Record) -> Result<(), BoxError>) -> Result<Redriven, BoxError> {
        self.redrive_by(&Each(process)).await
    }

    /// Has the letters processed by record processors. The file then has those that failed; without any it is removed.
    ///
    /// # Errors
    /// As for [`redrive`](Self::redrive), or the worker failed.
    ///
    /// # Cancellation
    /// As for an error.
    pub async fn redrive_through<F: ProcessorFactory>(&self, rerun: &Rerun<F>) -> Result<Redriven, BoxError> {
        self.redrive_by(rerun).await
    }

    async fn redrive_by(&self, by: &impl Reprocess) -> Result<Redriven, BoxError> {
        let named = |error: BoxError| format!("dead letters in {}: {error}", self.0.display());
        let mut lines = Lines { files: Some(Files::open(&self.0).map_err(named)?), chunk: Vec::new(), number: 0 };
        let redriven = redrive(&mut lines, by).await.map_err(named)?;
        if let Some(files) = lines.files {
            files.finish(&self.0).map_err(named)?;
        }
        Ok(redriven)
    }
}

/// The file, and the one that takes its place.
struct Files {
    lines: BufReader<File>,
    rest: NamedTempFile,
    has_rest: bool,
    bytes_read: u64,
}

impl Files {
    fn open(path: &Path) -> Result<Self, BoxError> {
        let lines = BufReader::new(File::open(path)?);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { lines, rest: NamedTempFile::new_in(folder)?, has_rest: false, bytes_read: 0 })
    }

    /// Keeps these lines, and reads the next.
    fn next(&mut self, kept: &[String]) -> Result<Vec<String>, BoxError> {
        for line in kept {
            self.rest.write_all(line.as_bytes())?;
            self.has_rest = true;
        }
        let (mut next, mut bytes) = (Vec::new(), 0);
        while next.len() < CHUNK_LETTERS && (next.is_empty() || bytes < CHUNK_BYTES) {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                break;
            }
            bytes += line.len();
            self.bytes_read += u64::try_from(line.len())?;
            if !line.trim().is_empty() {
                next.push(line);
            }
        }
        Ok(next)
    }

    fn finish(self, path: &Path) -> Result<(), BoxError> {
        let (length, read) = (fs::metadata(path)?.len(), self.bytes_read);
        if length != read {
            return Err(format!("the file has {length} bytes, and {read} were read: it stays, for the next run").into());
        }
        if self.has_rest {
            self.rest.as_file().sync_all()?;
            self.rest.persist(path)?;
        } else {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Lines on their way back.
struct Lines {
    /// None: an error ended the reading.
    files: Option<Files>,
    /// The lines in hand. None: it is processed.
    chunk: Vec<Option<String>>,
    /// Number of the lines that were read.
    number: usize,
}

impl Source for Lines {
    /// Place in the chunk.
    type Handle = usize;

    async fn next(&mut self) -> Result<Vec<Read<usize>>, BoxError> {
        let Some(mut files) = self.files.take() else { return Ok(Vec::new()) };
        let kept: Vec<String> = std::mem::take(&mut self.chunk).into_iter().flatten().collect();
        let (files, lines) = spawn_blocking(move || {
            let lines = files.next(&kept);
            (files, lines)
        })
        .await?;
        let lines = lines?;
        self.files = Some(files);
        let mut read = Vec::with_capacity(lines.len());
        for (handle, line) in lines.into_iter().enumerate() {
            self.number += 1;
            let letter: Result<DeadLetter, BoxError> =
                serde_json::from_str(&line).map_err(|error| format!("the line is no dead letter: {error}").into());
            read.push(Read { name: format!("line {}", self.number), letter, handle });
            self.chunk.push(Some(line));
        }
        Ok(read)
    }

    async fn take_out(&mut self, handle: usize) -> Result<(), BoxError> {
        if let Some(line) = self.chunk.get_mut(handle) {
            *line = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_was_added_to_after_the_last_read_stays() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("letters.jsonl");
        for kept in [vec![], vec!["tea\n".to_owned()]] {
            fs::write(&path, "tea\n").unwrap();
            let mut files = Files::open(&path).unwrap();
            assert_eq!(files.next(&[]).unwrap(), ["tea\n"]);
            assert_eq!(files.next(&kept).unwrap(), Vec::<String>::new());
            fs::write(&path, "tea\ncoffee\n").unwrap();

            let error = files.finish(&path).unwrap_err();

            assert!(error.to_string().contains("11 bytes, and 4 were read"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "tea\ncoffee\n");
        }
    }
}
