//! SHELL: the file of records that were not stored, which can be put again.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use super::entry::{Place, Refusal};
use crate::{failure::Failure, record_line::RecordLine};
use kpl::UserRecord;

/// Names that are tried for a file that the user did not name.
const MAX_FILES: u32 = 1_000;

/// The file, made with the first failure. An existing one is never written to.
#[derive(Debug)]
pub(crate) struct FailedFile {
    named: Option<PathBuf>,
    open: Option<(PathBuf, BufWriter<File>)>,
    /// Failures that are in it, and lines that are too long to be.
    pub(crate) records: u64,
    pub(crate) left_out: u64,
    /// The first failure: its place and reason.
    pub(crate) first: Option<(Place, String)>,
}

impl FailedFile {
    /// Fails if `named` exists.
    pub(crate) fn new(named: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = named.as_ref().filter(|path| path.exists()) {
            let what = format!("the file of failures {} exists", path.display());
            return Err(Failure::new(what, "put it again or name another by --failures"));
        }
        Ok(Self { named, open: None, records: 0, left_out: 0, first: None })
    }

    pub(crate) fn refused(&mut self, refusal: Refusal) -> Result<(), Failure> {
        let Refusal { place, reason, data } = refusal;
        match data {
            Some(data) => self.write(&place, reason, RecordLine::default().with_data(&data)),
            None => {
                self.left_out += 1;
                self.note(&place, reason);
                Ok(())
            }
        }
    }

    pub(crate) fn failed(&mut self, place: &Place, reason: String, record: &UserRecord) -> Result<(), Failure> {
        let line = RecordLine {
            partition_key: Some(record.partition_key().to_owned()),
            explicit_hash_key: record.explicit_hash_key().map(|key| key.to_string()),
            ..RecordLine::default()
        };
        self.write(place, reason, line.with_data(record.data()))
    }

    fn note(&mut self, place: &Place, reason: String) {
        self.first.get_or_insert_with(|| (place.clone(), reason));
    }

    fn write(&mut self, place: &Place, reason: String, line: RecordLine) -> Result<(), Failure> {
        self.note(place, reason.clone());
        let line = RecordLine { error: Some(reason), source: Some(place.to_string()), ..line };
        let unwritten = |path: &Path, error: &dyn std::fmt::Display| {
            let what = format!("failures cannot be written to {} ({error})", path.display());
            Failure::new(what, format!("{place} and what follows may not be stored: put the input again from there"))
        };
        let (path, file) = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = create(self.named.as_deref(), "records");
                self.open.insert(opened.map_err(|(path, error)| unwritten(&path, &error))?)
            }
        };
        let mut text = serde_json::to_vec(&line).map_err(|error| unwritten(path, &error))?;
        text.push(b'\n');
        file.write_all(&text).map_err(|error| unwritten(path, &error))?;
        self.records += 1;
        Ok(())
    }

    /// Writes what is buffered; returns the file's name if there is one.
    pub(crate) fn finish(&mut self) -> Result<Option<PathBuf>, Failure> {
        let Some((path, file)) = &mut self.open else { return Ok(None) };
        let written = file.flush().and_then(|()| file.get_ref().sync_all());
        written.map_err(|error| {
            let what = format!("failures cannot be written to {} ({error})", path.display());
            Failure::new(what, "put the whole input again")
        })?;
        Ok(Some(path.clone()))
    }
}

/// Makes a new file: the named one, or the first free one of `kds-failed.KIND.jsonl`, `kds-failed-2.KIND.jsonl` and so on.
pub(crate) fn create(named: Option<&Path>, kind: &str) -> Result<(PathBuf, BufWriter<File>), (PathBuf, io::Error)> {
    let open = |path: PathBuf| match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => Ok((path, BufWriter::new(file))),
        Err(error) => Err((path, error)),
    };
    if let Some(path) = named {
        return open(path.to_owned());
    }
    let name = |number: u32| match number {
        1 => PathBuf::from(format!("kds-failed.{kind}.jsonl")),
        number => PathBuf::from(format!("kds-failed-{number}.{kind}.jsonl")),
    };
    let taken = |opened: &Result<_, (PathBuf, io::Error)>| {
        opened.as_ref().is_err_and(|(_, error)| error.kind() == ErrorKind::AlreadyExists)
    };
    let free = (1..MAX_FILES).map(|number| open(name(number))).find(|opened| !taken(opened));
    free.unwrap_or_else(|| open(name(MAX_FILES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { file: "in.log".into(), line: 7 }
    }

    #[test]
    fn an_existing_file_is_never_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures");
        let mut file = FailedFile::new(Some(path.clone())).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();

        let refused = file.failed(&place(), "throttled".into(), &UserRecord::new("k", "v")).unwrap_err().to_string();

        assert!(refused.contains("in.log:7 and what follows"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody else's");
        assert!(FailedFile::new(Some(path)).is_err());
    }

    #[test]
    fn a_failed_record_is_written_with_its_key_place_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures");
        let mut file = FailedFile::new(Some(path.clone())).unwrap();

        file.failed(&place(), "throttled".into(), &UserRecord::new("k", "v")).unwrap();
        file.refused(Refusal { place: place(), reason: "too long".into(), data: None }).unwrap();

        assert_eq!(file.finish().unwrap(), Some(path.clone()));
        assert_eq!((file.records, file.left_out), (1, 1));
        let written: RecordLine = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((written.partition_key.as_deref(), written.text.as_deref()), (Some("k"), Some("v")));
        assert_eq!((written.error.as_deref(), written.source.as_deref()), (Some("throttled"), Some("in.log:7")));
    }
}
