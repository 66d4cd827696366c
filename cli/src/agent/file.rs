//! SHELL: a file that is followed: its identity, and how far it is read and stored.
//!
//! (A) A file is closed only while everything that was read of it is stored. (B) A closed one is opened again by its path, and
//! is the same if its device, its inode, and its content before the position are.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use md5::{Digest as _, Md5};
use tokio::time::Instant;

use super::state::{Digested, FileState};

/// Bytes at the beginning of a file, and before its position, by which it is known again.
const KNOWN_BYTES: u64 = 256;
/// Bytes of a read.
const CHUNK_BYTES: usize = 256 * 1024;

/// Device and inode of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file of a flow.
#[derive(Debug)]
pub(super) struct Followed {
    /// Number of this following; a file that was truncated is followed anew.
    pub(super) number: u64,
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    /// None: closed.
    handle: Option<File>,
    /// The next byte to be read: the begin of a record.
    pub(super) read: u64,
    /// Everything before is stored.
    pub(super) stored: u64,
    /// Lines that are still to be left out.
    pub(super) skip: usize,
    /// It had something new, or was opened.
    pub(super) grown: Instant,
    /// Time at which it last had a name that matches.
    pub(super) wanted: Instant,
    /// Bytes of the next read.
    chunk_bytes: usize,
    len: u64,
    /// Time of its last change.
    modified: Option<SystemTime>,
    head: Digested,
    /// Its state as it was last published.
    published: Option<FileState>,
}

/// Bytes of a file from the next record on.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// They reach to the end of the file.
    pub(super) is_last: bool,
}

impl Followed {
    pub(super) fn open(path: &Path, number: u64, position: u64, skip: usize) -> io::Result<Self> {
        let handle = File::open(path)?;
        let metadata = handle.metadata()?;
        let now = Instant::now();
        Ok(Self {
            number,
            id: FileId::of(&metadata),
            path: path.to_owned(),
            handle: Some(handle),
            read: position,
            stored: position,
            skip,
            grown: now,
            wanted: now,
            chunk_bytes: CHUNK_BYTES,
            len: metadata.len(),
            modified: metadata.modified().ok(),
            head: Digested::default(),
            published: None,
        })
    }

    pub(super) fn is_open(&self) -> bool {
        self.handle.is_some()
    }

    /// Opens it again. False: its path leads to another file, or to none, at the moment.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        if self.handle.is_none()
            && let Some(file) = self.at_path()?
            && self.is_continued(&file, self.len)?
        {
            self.handle = Some(file);
        }
        Ok(self.handle.is_some())
    }

    /// Closes it once its state is known. Everything that was read of it must be stored.
    pub(super) fn close(&mut self, flow: &str) -> io::Result<()> {
        self.state(flow)?;
        self.handle = None;
        Ok(())
    }

    /// The file that its path leads to, if it is this one.
    fn at_path(&self) -> io::Result<Option<File>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok((FileId::of(&file.metadata()?) == self.id).then_some(file))
    }

    /// Looks at its size. True: it was truncated, or its content is another, and it has to be followed anew.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<bool> {
        let metadata = match &self.handle {
            Some(handle) => handle.metadata()?,
            None => match fs::metadata(&self.path) {
                Ok(metadata) if FileId::of(&metadata) == self.id => metadata,
                // It has another name by now, which the next look at its folder finds.
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        let (len, modified) = (metadata.len(), metadata.modified().ok());
        if len > self.len {
            self.grown = now;
        }
        let is_changed = len != self.len || (self.handle.is_none() && modified != self.modified);
        let is_other = len < self.read || (is_changed && !self.is_same(len)?);
        (self.len, self.modified) = (len, modified);
        Ok(is_other)
    }

    /// Returns whether it still holds what was read of it. The inode of a closed file may have become that of another.
    fn is_same(&self, len: u64) -> io::Result<bool> {
        if let Some(handle) = &self.handle {
            return is_part_of(handle, &self.head);
        }
        self.at_path()?.map_or(Ok(true), |file| self.is_continued(&file, len))
    }

    /// Returns whether what was at its path when it was closed is still in a file of this size.
    fn is_continued(&self, file: &File, len: u64) -> io::Result<bool> {
        let read = self.published.as_ref().filter(|state| state.position > 0);
        read.map_or(Ok(true), |state| holds(file, len, state))
    }

    pub(super) fn has_more(&self) -> bool {
        self.len > self.read
    }

    /// True: no name leads to it any more.
    pub(super) fn is_deleted(&self) -> bool {
        let metadata = self.handle.as_ref().map(File::metadata);
        metadata.is_some_and(|metadata| metadata.is_ok_and(|metadata| metadata.nlink() == 0))
    }

    /// Reads on from the next record.
    pub(super) fn chunk(&self) -> io::Result<Chunk> {
        let mut bytes = vec![0; self.chunk_bytes];
        let filled = self.fill(&mut bytes)?;
        let is_last = filled < bytes.len();
        bytes.truncate(filled);
        Ok(Chunk { bytes, is_last })
    }

    /// Sets the bytes of the next reads, at least the usual number; None: the usual number.
    pub(super) fn read_by(&mut self, bytes: Option<usize>) {
        self.chunk_bytes = bytes.unwrap_or(0).max(CHUNK_BYTES);
    }

    fn fill(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let (handle, mut filled) = (self.handle()?, 0);
        while filled < bytes.len() {
            match handle.read_at(&mut bytes[filled..], self.read + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Notes that everything before `position` is stored.
    pub(super) fn store(&mut self, position: u64) -> io::Result<()> {
        self.stored = position;
        let bytes = position.min(KNOWN_BYTES);
        if bytes > self.head.bytes {
            self.head = digested(self.handle()?, 0, bytes)?;
        }
        Ok(())
    }

    /// True: up to the position it holds what that file held. For files that are found again, and those that were copied, then
    /// truncated.
    pub(super) fn continues(&self, state: &FileState) -> io::Result<bool> {
        holds(self.handle()?, self.len, state)
    }

    fn handle(&self) -> io::Result<&File> {
        self.handle.as_ref().ok_or_else(|| io::Error::other("a file is read that was closed"))
    }

    /// Its state, to be kept.
    pub(super) fn state(&mut self, flow: &str) -> io::Result<FileState> {
        if let Some(published) = self.published.as_mut().filter(|it| it.position == self.stored) {
            published.path.clone_from(&self.path);
            return Ok(published.clone());
        }
        let bytes = self.stored.min(KNOWN_BYTES);
        let state = FileState {
            flow: flow.to_owned(),
            path: self.path.clone(),
            device: self.id.device,
            inode: self.id.inode,
            position: self.stored,
            head: self.head.clone(),
            tail: digested(self.handle()?, self.stored - bytes, bytes)?,
        };
        self.published = Some(state.clone());
        Ok(state)
    }

    /// The state last published: its content may have changed since.
    pub(super) fn published(&self) -> Option<&FileState> {
        self.published.as_ref()
    }
}

/// True: up to the state's position the file, of this size, holds what that one held.
fn holds(file: &File, len: u64, state: &FileState) -> io::Result<bool> {
    let is_there = state.position > 0 && len >= state.position;
    Ok(is_there && is_part_of(file, &state.head)? && is_part_of(file, &state.tail)?)
}

fn is_part_of(file: &File, part: &Digested) -> io::Result<bool> {
    Ok(digested(file, part.start, part.bytes)? == *part)
}

/// The digest of a part; of one that is not there, it equals no other.
fn digested(file: &File, start: u64, bytes: u64) -> io::Result<Digested> {
    let mut part = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let digest = match file.read_exact_at(&mut part, start) {
        Ok(()) => format!("{:032x}", u128::from_be_bytes(Md5::digest(&part).into())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "missing".to_owned(),
        Err(error) => return Err(error),
    };
    Ok(Digested { start, bytes, digest: if bytes == 0 { String::new() } else { digest } })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::*;

    fn followed(path: &Path) -> Followed {
        Followed::open(path, 0, 0, 0).unwrap()
    }

    #[tokio::test]
    async fn sees_growth_truncation_and_another_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut file = followed(&path);
        (file.read, file.len) = (8, 8);
        file.store(8).unwrap();

        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"three\n").unwrap();
        assert!(!file.look(Instant::now()).unwrap() && file.has_more());
        assert_eq!(file.chunk().unwrap().bytes, b"three\n");
        file.read = 14;
        fs::write(&path, "x\n").unwrap();
        assert!(file.look(Instant::now()).unwrap(), "it is shorter");
        fs::write(&path, "other beginning, and longer\n").unwrap();
        assert!(file.look(Instant::now()).unwrap(), "it begins differently");
    }

    #[tokio::test]
    async fn knows_a_copy_by_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "one\ntwo\n").unwrap();
        let mut file = followed(&a);
        file.store(4).unwrap();
        fs::copy(&a, &b).unwrap();

        let state = file.state("f").unwrap();
        assert!(followed(&b).continues(&state).unwrap());
        fs::write(&b, "two\none\n").unwrap();
        assert!(!followed(&b).continues(&state).unwrap());
    }
}
