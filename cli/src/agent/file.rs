//! SHELL: a file that is followed: its identity, and how far it is read and stored.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
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
    handle: File,
    /// The next byte to be read: the begin of a record.
    pub(super) read: u64,
    /// Everything before is stored.
    pub(super) stored: u64,
    /// Lines that are still to be left out.
    pub(super) skip: usize,
    /// It had something new, or was opened.
    pub(super) grown: Instant,
    len: u64,
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
        let (id, path, grown) = (FileId::of(&metadata), path.to_owned(), Instant::now());
        let (len, head) = (metadata.len(), Digested::default());
        Ok(Self { number, id, path, handle, read: position, stored: position, skip, grown, len, head, published: None })
    }

    /// Looks at its size. True: it was truncated, or begins differently, and has to be followed anew.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<bool> {
        let len = self.handle.metadata()?.len();
        if len > self.len {
            self.grown = now;
        }
        let is_other = len < self.read || (len != self.len && !self.begins_with(&self.head)?);
        self.len = len;
        Ok(is_other)
    }

    pub(super) fn has_more(&self) -> bool {
        self.len > self.read
    }

    /// True: no name leads to it any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.handle.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Reads on from the next record; `records_of` is the maximum of a record, so that a whole one fits.
    pub(super) fn chunk(&self, records_of: usize) -> io::Result<Chunk> {
        let mut bytes = vec![0; CHUNK_BYTES];
        let mut filled = self.fill(&mut bytes, 0)?;
        // One long line: more of it, so that its end may be found.
        if filled == bytes.len() && !bytes.contains(&b'\n') {
            bytes.resize(records_of * 2 + 2, 0);
            filled += self.fill(&mut bytes, filled)?;
        }
        let is_last = filled < bytes.len();
        bytes.truncate(filled);
        Ok(Chunk { bytes, is_last })
    }

    fn fill(&self, bytes: &mut [u8], from: usize) -> io::Result<usize> {
        let mut filled = from;
        while filled < bytes.len() {
            match self.handle.read_at(&mut bytes[filled..], self.read + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled - from)
    }

    /// Notes that everything before `position` is stored.
    pub(super) fn store(&mut self, position: u64) -> io::Result<()> {
        self.stored = position;
        let bytes = position.min(KNOWN_BYTES);
        if bytes > self.head.bytes {
            self.head = self.digested(0, bytes)?;
        }
        Ok(())
    }

    fn begins_with(&self, head: &Digested) -> io::Result<bool> {
        Ok(self.digested(head.start, head.bytes)? == *head)
    }

    /// The digest of a part; of one that is not there, it equals no other.
    fn digested(&self, start: u64, bytes: u64) -> io::Result<Digested> {
        let mut part = vec![0; usize::try_from(bytes).unwrap_or(0)];
        let digest = match self.handle.read_exact_at(&mut part, start) {
            Ok(()) => format!("{:032x}", u128::from_be_bytes(Md5::digest(&part).into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "missing".to_owned(),
            Err(error) => return Err(error),
        };
        Ok(Digested { start, bytes, digest: if bytes == 0 { String::new() } else { digest } })
    }

    /// True: up to the position it holds what that file held. For files that are found again, and those that were copied, then
    /// truncated.
    pub(super) fn continues(&self, state: &FileState) -> io::Result<bool> {
        let is_there = state.position > 0 && self.len >= state.position;
        Ok(is_there && self.begins_with(&state.head)? && self.begins_with(&state.tail)?)
    }

    /// Its state, to be kept.
    pub(super) fn state(&mut self, flow: &str) -> io::Result<FileState> {
        if let Some(published) = self.published.as_ref().filter(|it| it.position == self.stored && it.path == self.path)
        {
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
            tail: self.digested(self.stored - bytes, bytes)?,
        };
        self.published = Some(state.clone());
        Ok(state)
    }

    /// The state last published: its content may have changed since.
    pub(super) fn published(&self) -> Option<&FileState> {
        self.published.as_ref()
    }
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
        assert_eq!(file.chunk(10).unwrap().bytes, b"three\n");
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
