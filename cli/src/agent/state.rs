//! SHELL: the state file: how far each file is stored. It is replaced as a whole, so that a crash leaves the old or the new one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{failure::Failure, whole_file};

/// State of all flows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    /// Flows that were followed: their new files are read from the start.
    pub(super) flows: Vec<String>,
    pub(super) files: Vec<FileState>,
}

/// State of a file. Its identity is device, inode and the digest of its beginning: inodes are used again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileState {
    pub(super) flow: String,
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Everything before is stored.
    pub(super) position: u64,
    pub(super) head: Digested,
    /// The bytes before the position.
    pub(super) tail: Digested,
}

/// A part of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Digested {
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) digest: String,
}

/// The state file, which one agent at a time may use.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    /// Holds a lock as long as it is open.
    _lock: File,
}

impl StateFile {
    /// Opens it and reads what there is. Fails if another agent uses it, or if it cannot be written.
    pub(super) fn open(path: &Path) -> Result<(Self, State), Failure> {
        let unusable = |error: &dyn std::fmt::Display| {
            let what = format!("state file {} cannot be used ({error})", path.display());
            Failure::new(what, "name another by --state, or make room")
        };
        let lock = File::create(whole_file::with_suffix(path, "lock")).map_err(|error| unusable(&error))?;
        if lock.try_lock().is_err() {
            let what = format!("another agent uses state file {}", path.display());
            return Err(Failure::new(what, "end it, or name another file by --state"));
        }
        let state = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| unusable(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(unusable(&error)),
        };
        let file = Self { path: path.to_owned(), _lock: lock };
        file.write(&state)?;
        Ok((file, state))
    }

    /// Replaces the file. If that fails, the old one is left as it is.
    pub(super) fn write(&self, state: &State) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(state).map_err(io::Error::from);
        text.and_then(|text| whole_file::replace(&self.path, &text)).map_err(|error| {
            let what = format!("state file {} cannot be written ({error})", self.path.display());
            Failure::new(what, "make room and start again; what was stored since it was last written is put again")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(position: u64) -> State {
        let (flow, path, head, tail) = ("f".to_owned(), PathBuf::from("/a"), Digested::default(), Digested::default());
        State { flows: Vec::new(), files: vec![FileState { flow, path, device: 1, inode: 2, position, head, tail }] }
    }

    #[test]
    fn reads_what_was_written_last_and_lets_in_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (file, empty) = StateFile::open(&path).unwrap();
        assert_eq!(empty, State::default());

        file.write(&state(7)).unwrap();
        file.write(&state(9)).unwrap();

        let second = StateFile::open(&path).unwrap_err().to_string();
        assert!(second.starts_with("another agent uses state file"), "{second}");
        drop(file);
        assert_eq!(StateFile::open(&path).unwrap().1, state(9));
    }

    #[test]
    fn refuses_a_damaged_or_unwritable_file_before_anything_is_put() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, "{").unwrap();

        assert!(StateFile::open(&path).unwrap_err().to_string().contains("cannot be used"));
        assert!(StateFile::open(&folder.path().join("missing/state")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    }
}
