//! SHELL: dead letters in a local file.
//!
//! (A) A letter is on the disk before its record counts as kept. (B) A line that a crash cut off stays a line of its own.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{error::BoxError, locked::locked, settings::error_policy::FailedRecords};

/// A local file of dead letters, a [`DeadLetter`](crate::DeadLetter) in each line. `kds redrive` puts them into their stream
/// again. Clones share it; of several workers each has a file of its own.
///
/// ```
/// use kcl::{DeadLetterFile, ErrorPolicy};
///
/// let letters = DeadLetterFile::new("/var/lib/printer/dead-letters.jsonl");
/// let policy = ErrorPolicy::dead_letter_after(3, move |failed| letters.keep(failed)).isolate();
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetterFile {
    path: Arc<Path>,
    /// Protects the end of the file.
    writing: Arc<Mutex<()>>,
}

impl DeadLetterFile {
    /// A file by its path, made with the first letter, in a folder that exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), writing: Arc::default() }
    }

    /// Appends the records; returns once they are on the disk.
    ///
    /// # Errors
    /// The file cannot be written. The records are tried again, and may then be in the file twice.
    ///
    /// # Cancellation
    /// The records may be in the file or not, each whole.
    pub fn keep(&self, failed: FailedRecords) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
        let file = self.clone();
        async move { tokio::task::spawn_blocking(move || file.append(&failed)).await? }
    }

    fn append(&self, failed: &FailedRecords) -> Result<(), BoxError> {
        let mut lines = String::new();
        for letter in failed.letters() {
            lines.push_str(&letter.to_json()?);
            lines.push('\n');
        }
        let _writing = locked(&self.writing);
        let appended = append(&self.path, &lines);
        appended.map_err(|error| format!("dead letters cannot be written to {}: {error}", self.path.display()).into())
    }
}

fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    if is_cut_off(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

/// True: the last line has no end.
fn is_cut_off(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        DeadLetter,
        model::{Record, StreamShard},
    };

    fn number(text: &str) -> kpl::SequenceNumber {
        text.parse().unwrap()
    }

    fn failed(data: &'static str) -> FailedRecords {
        FailedRecords {
            application: "printer".to_owned(),
            shard: StreamShard::new("orders", "shardId-000000000000"),
            records: vec![Record::new("k", data, number("1")), Record::new("k", data, number("2"))],
            error: "no".into(),
            attempts: 1,
            failed_at: SystemTime::UNIX_EPOCH,
        }
    }

    fn numbers(path: &Path) -> Vec<Option<String>> {
        let read = |line: &str| serde_json::from_str(line).ok().map(|letter: DeadLetter| letter.sequence_number);
        std::fs::read_to_string(path).unwrap().lines().map(read).collect()
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        let letters = DeadLetterFile::new(&path);
        letters.keep(failed("a")).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();

        letters.keep(failed("b")).await.unwrap();

        let (one, two) = (Some("1".to_owned()), Some("2".to_owned()));
        assert_eq!(numbers(&path), [one.clone(), None, one, two]);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/letters");

        let error = DeadLetterFile::new(&path).keep(failed("a")).await.unwrap_err().to_string();

        assert!(error.starts_with(&format!("dead letters cannot be written to {}: ", path.display())), "{error}");
    }
}
