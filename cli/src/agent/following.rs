//! SHELL: the files of a flow: which are followed, and from where on. Renamed, truncated, copied and deleted ones are found again.
//!
//! The number of open files is bounded: others are closed while nothing of them is under way.

use std::{collections::HashMap, io, time::Duration};

use tokio::time::Instant;

use super::{
    config::Flow,
    file::{FileId, Followed},
    folder::{self, Seen},
    state::FileState,
};

/// Time without growth and without a name that matches, after which a file is left.
const LEFT: Duration = Duration::from_secs(60);
/// Time in which a file that is copied is truncated.
const COPIED: Duration = Duration::from_secs(10);

/// Files of a flow, in the order in which they appeared.
#[derive(Debug)]
pub(super) struct Following {
    flow: Flow,
    pub(super) files: Vec<Followed>,
    /// Positions of files that were truncated, until their copies are found.
    truncated: Vec<Truncated>,
    /// Files that look like copies of followed ones, since when.
    copies: HashMap<FileId, Instant>,
    /// The state of before the start, as far as its files are not found yet.
    known: Vec<FileState>,
    is_first_start: bool,
    next_number: u64,
    max_open: usize,
}

/// Outcome of opening a file to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Open,
    /// Its path leads elsewhere: it was renamed or deleted.
    Away,
    /// All files that may be open have records that are not stored.
    NoRoom,
}

/// A file that was truncated.
#[derive(Debug)]
struct Truncated {
    /// By which its copy is known.
    mark: FileState,
    number: u64,
    stored: u64,
    since: Instant,
}

impl Following {
    /// `known`: what the state file has of the flow; None if it was never followed. `max_open`: files that are open at a time.
    pub(super) fn new(flow: Flow, known: Option<Vec<FileState>>, max_open: usize) -> Self {
        let is_first_start = known.is_none();
        let (files, truncated, copies, known) = (Vec::new(), Vec::new(), HashMap::new(), known.unwrap_or_default());
        Self { flow, files, truncated, copies, known, is_first_start, next_number: 0, max_open }
    }

    /// Opens a file that was closed; another one is closed for it.
    pub(super) fn open(&mut self, place: usize) -> io::Result<Access> {
        if self.files[place].is_open() {
            return Ok(Access::Open);
        }
        if self.open_files() >= self.max_open {
            let resting = |file: &&mut Followed| file.is_open() && file.stored == file.read;
            // Those with more to read last: if they are deleted while closed, the rest of them is lost.
            let rested = self.files.iter_mut().filter(resting).min_by_key(|file| (file.has_more(), file.grown));
            let Some(rested) = rested else { return Ok(Access::NoRoom) };
            rested.close(&self.flow.name)?;
        }
        Ok(if self.files[place].reopen()? { Access::Open } else { Access::Away })
    }

    fn open_files(&self) -> usize {
        self.files.iter().filter(|file| file.is_open()).count()
    }

    /// Notes that a file, by its number, is stored up to `position`.
    pub(super) fn store(&mut self, number: u64, position: u64) -> io::Result<()> {
        if let Some(file) = self.files.iter_mut().find(|file| file.number == number) {
            return file.store(position);
        }
        if let Some(truncated) = self.truncated.iter_mut().find(|it| it.number == number) {
            truncated.stored = position;
        }
        Ok(())
    }

    /// Goes back to what is stored.
    pub(super) fn rewind(&mut self) {
        for file in &mut self.files {
            file.read = file.stored;
        }
    }

    /// The flow as the state file is to have it.
    pub(super) fn states(&mut self) -> io::Result<Vec<FileState>> {
        let states: io::Result<Vec<FileState>> =
            self.files.iter_mut().map(|file| file.state(&self.flow.name)).collect();
        let mut states = states?;
        states.extend(self.known.iter().cloned());
        Ok(states)
    }

    /// Looks for new, renamed, truncated and deleted files.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let (now, seen) = (Instant::now(), folder::look(&self.flow)?);
        for file in &mut self.files {
            if let Some(seen) = seen.iter().find(|seen| seen.id == file.id) {
                file.path.clone_from(&seen.path);
                file.wanted = if seen.is_wanted { now } else { file.wanted };
            }
        }
        self.note_truncated(now)?;
        for it in &seen {
            let is_followed = self.files.iter().any(|file| file.id == it.id);
            let is_known = self.known.iter().any(|state| (state.device, state.inode) == (it.id.device, it.id.inode));
            if !is_followed && (it.is_wanted || is_known) {
                self.follow(it, now)?;
            }
        }
        self.files.retain(|file| !is_left(file, now));
        self.truncated.retain(|it| now - it.since < LEFT);
        // What is not in the folders any more.
        self.is_first_start = false;
        self.known.retain(|state| seen.iter().any(|it| (state.device, state.inode) == (it.id.device, it.id.inode)));
        Ok(())
    }

    fn note_truncated(&mut self, now: Instant) -> io::Result<()> {
        for place in 0..self.files.len() {
            if !self.files[place].look(now)? {
                continue;
            }
            let number = self.number();
            let file = &mut self.files[place];
            let anew = Followed::open(&file.path, number, 0, self.flow.skipped_lines);
            // Renamed between two looks: it is found under its new name by the next one.
            let Ok(anew) = anew else { continue };
            if anew.id != file.id {
                continue;
            }
            let old = std::mem::replace(file, anew);
            if let Some(mark) = old.published().cloned() {
                self.truncated.push(Truncated { mark, number: old.number, stored: old.stored, since: now });
            }
        }
        Ok(())
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Follows a file from where it is stored up to.
    fn follow(&mut self, seen: &Seen, now: Instant) -> io::Result<()> {
        let number = self.number();
        let mut file = match Followed::open(&seen.path, number, 0, self.flow.skipped_lines) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // renamed a moment ago
            Err(error) => return Err(error),
        };
        if file.id != seen.id {
            return Ok(());
        }
        file.look(now)?;
        let mut position = None;
        if let Some(place) = self.known.iter().position(|it| (it.device, it.inode) == (file.id.device, file.id.inode)) {
            let state = self.known.swap_remove(place);
            position = file.continues(&state)?.then_some(state.position);
        }
        if position.is_none() {
            for place in 0..self.truncated.len() {
                if file.continues(&self.truncated[place].mark)? {
                    let old = self.truncated.swap_remove(place);
                    (position, file.number) = (Some(old.stored), old.number);
                    break;
                }
            }
        }
        if position.is_none() && self.is_copy_in_progress(&file, now)? {
            return Ok(());
        }
        if position.is_none() && self.is_first_start && !self.flow.from_start {
            position = Some(std::fs::metadata(&file.path)?.len());
        }
        if let Some(position) = position {
            (file.read, file.skip) = (position, if position > 0 { 0 } else { file.skip });
            file.store(position)?;
        }
        self.copies.remove(&file.id);
        if self.open_files() >= self.max_open {
            file.close(&self.flow.name)?;
        }
        self.files.push(file);
        Ok(())
    }

    /// True: it is a copy of a followed file, which will be truncated. After a while it is a file like any other.
    fn is_copy_in_progress(&mut self, file: &Followed, now: Instant) -> io::Result<bool> {
        for original in &self.files {
            let published = original.published().filter(|_| original.id != file.id);
            if published.map_or(Ok(false), |mark| file.continues(mark))? {
                let since = *self.copies.entry(file.id).or_insert(now);
                return Ok(now - since < COPIED);
            }
        }
        Ok(false)
    }
}

/// True: nothing more is read of a file. Of one that was closed and deleted nothing can be.
fn is_left(file: &Followed, now: Instant) -> bool {
    let is_settled = file.stored == file.read;
    let has_more = file.has_more() && file.is_open();
    let is_left = is_settled && !has_more && now - file.wanted >= LEFT && now - file.grown >= LEFT;
    if is_left && file.has_more() {
        eprintln!("kds: {} was deleted before it was read to its end", file.path.display());
    }
    is_left
}
