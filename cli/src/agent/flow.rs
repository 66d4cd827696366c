//! SHELL: one flow: files => records => producer => positions. One task, which owns everything.
//!
//! (A) A position moves only when every record before it is stored. (B) Nothing is dropped: while the producer's buffer is full
//! nothing is read, and after a refusal everything from the positions on is read again. (C) Files are read in the order in
//! which they appeared, one to its end before the next.

use std::{collections::VecDeque, io, time::Duration};

use bytes::Bytes;
use kpl::{Delivery, DeliveryError, Producer, UserRecord};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::{Flow, KeyOption},
    following::{Access, Following},
    records::Cutter,
    state::FileState,
};
use crate::{failure::Failure, put::key::KeyRule};

/// Records that are put and not known to be stored.
const PENDING: usize = 50_000;
/// Time without growth after which the rest of a file that has a successor is a record, and the last record of several lines.
const QUIET: Duration = Duration::from_secs(5);
/// Interval at which positions are published while there is work.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Pause while no further file can be opened.
const NO_ROOM: Duration = Duration::from_millis(10);
/// Pauses after a refusal.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A flow's account of itself, for the state file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) files: Vec<FileState>,
    pub(super) stored: u64,
}

pub(super) struct FlowTask {
    flow: Flow,
    producer: Producer,
    cutter: Cutter,
    key: KeyRule,
    following: Following,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    max_pending_bytes: usize,
    refused: Option<String>,
    pause: Duration,
    next_poll: Instant,
    published: Instant,
    progress: watch::Sender<Progress>,
    stored: u64,
}

/// Maximum bytes of a record, and of pending records up to which more is read.
pub(super) struct Bounds {
    pub(super) record_bytes: usize,
    pub(super) pending_bytes: usize,
}

/// Outcome of a look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Some,
    /// It has no more, or its rest is no record yet.
    Nothing,
    /// It was renamed since the last look, or deleted.
    Away,
    /// It cannot be opened before others are stored.
    NoRoom,
}

struct Pending {
    file: u64,
    /// Begin of the next record.
    next: u64,
    bytes: usize,
    delivery: Delivery,
}

impl FlowTask {
    pub(super) fn new(
        flow: Flow,
        producer: Producer,
        bounds: Bounds,
        following: Following,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let key = match flow.key {
            KeyOption::Random => KeyRule::Random,
            KeyOption::Deterministic => KeyRule::Hash,
            KeyOption::Folder => {
                KeyRule::Text(flow.patterns.first().map_or_else(String::new, |it| it.folder.display().to_string()))
            }
        };
        let cutter = Cutter { record_start: flow.record_start.clone(), max_bytes: bounds.record_bytes };
        Self {
            producer,
            cutter,
            key,
            following,
            pending: VecDeque::new(),
            pending_bytes: 0,
            max_pending_bytes: bounds.pending_bytes,
            refused: None,
            pause: FIRST_PAUSE,
            next_poll: Instant::now(),
            published: Instant::now(),
            progress,
            stored: 0,
            flow,
        }
    }

    /// Follows until `stop`, then until everything that was put is settled. Handles: deliveries, the time to look again.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        self.following.look().map_err(|error| self.unread(&error))?;
        let mut stopping = false;
        while !(stopping && self.pending.is_empty()) {
            let has_room = self.pending.len() < PENDING && self.pending_bytes < self.max_pending_bytes;
            let may_read = !stopping && self.refused.is_none() && has_room;
            tokio::select! {
                // biased: what is stored is noted before more is read.
                biased;
                outcome = settled(&mut self.pending), if !self.pending.is_empty() => self.settle(outcome)?,
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.producer.flush().await;
                }
                () = sleep_until(self.next_poll), if may_read => self.poll().await?,
            }
            if self.refused.is_some() && self.pending.is_empty() {
                self.rewind();
            }
            if self.published.elapsed() >= PUBLISH_EVERY {
                self.publish()?;
            }
        }
        self.publish()
    }

    /// Reads a chunk of the oldest file that has more; looks for files if none has.
    async fn poll(&mut self) -> Result<(), Failure> {
        let mut read = self.read_oldest(false).await?;
        if matches!(read, Read::Nothing | Read::Away) {
            self.following.look().map_err(|error| self.unread(&error))?;
            read = self.read_oldest(true).await?;
            self.publish()?;
        }
        let pause = match read {
            Read::Some => Duration::ZERO,
            Read::NoRoom => NO_ROOM,
            Read::Nothing | Read::Away => self.flow.poll,
        };
        self.next_poll = Instant::now() + pause;
        Ok(())
    }

    /// `past_away`: files that are away are passed over, since they are so after a look, too.
    async fn read_oldest(&mut self, past_away: bool) -> Result<Read, Failure> {
        for place in 0..self.following.files.len() {
            match self.read(place).await? {
                Read::Nothing => {}
                Read::Away if past_away => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(Read::Nothing)
    }

    /// Puts the next records of a file.
    async fn read(&mut self, place: usize) -> Result<Read, Failure> {
        if !self.following.files[place].has_more() {
            return Ok(Read::Nothing);
        }
        match self.following.open(place).map_err(|error| self.unread(&error))? {
            Access::Open => {}
            Access::Away => return Ok(Read::Away),
            Access::NoRoom => return Ok(Read::NoRoom),
        }
        let has_successor = place + 1 < self.following.files.len() || self.following.files[place].is_deleted();
        let file = &mut self.following.files[place];
        let chunk = file.chunk().map_err(|error| unread(&self.flow, &error))?;
        let is_quiet = file.grown.elapsed() >= QUIET && (has_successor || self.cutter.record_start.is_some());
        let ends_line = self.cutter.record_start.is_none() || chunk.bytes.ends_with(b"\n") || has_successor;
        let data = Bytes::from(chunk.bytes);
        let (mut begin, mut first) = (file.read, 0);
        while file.skip > 0 {
            let Some(end) = data[first..].iter().position(|byte| *byte == b'\n') else { break };
            (first, file.skip) = (first + end + 1, file.skip - 1);
        }
        if file.skip > 0 {
            return Ok(Read::Nothing);
        }
        if first > 0 {
            begin += first as u64;
            file.read = begin;
            if file.stored + first as u64 == begin {
                file.store(begin).map_err(|error| unread(&self.flow, &error))?;
            }
        }
        let data = data.slice(first..);
        let cuts = self.cutter.cut(&data, chunk.is_last && is_quiet && ends_line);
        let number = file.number;
        // The end of a large record is further on.
        let is_larger = cuts.is_empty() && !chunk.is_last && data.len() < self.cutter.window();
        file.read_by(is_larger.then(|| self.cutter.window()));
        if is_larger {
            return Ok(Read::Some);
        }
        for cut in &cuts {
            let record = data.slice(cut.start..cut.end);
            // Rules without fields have a key for all data.
            let key = self.key.key(&record, None).unwrap_or_default();
            let next = begin + cut.next as u64;
            // A copy: a slice would keep the whole chunk until the last of its records is stored.
            let is_most = record.len() > data.len() / 2;
            let record = if is_most { record } else { Bytes::copy_from_slice(&record) };
            let bytes = record.len();
            let put = self.producer.put(UserRecord::new(key, record)).await;
            let delivery = put.map_err(|error| {
                Failure::new(format!("a record of {} cannot be put", self.following.files[place].path.display()), error)
            })?;
            self.pending_bytes += bytes;
            self.pending.push_back(Pending { file: number, next, bytes, delivery });
            self.following.files[place].read = next;
        }
        Ok(if cuts.is_empty() { Read::Nothing } else { Read::Some })
    }

    /// Notes the outcome of the oldest record.
    fn settle(&mut self, (pending, outcome): (Pending, Result<(), DeliveryError>)) -> Result<(), Failure> {
        self.pending_bytes -= pending.bytes;
        if let Err(error) = outcome {
            let text = error.to_string();
            if self.refused.is_none() {
                eprintln!(
                    "kds: {} of {}: {text}: it is put again in {:?}",
                    self.flow.stream, self.flow.name, self.pause
                );
            }
            self.refused.get_or_insert(text);
            return Ok(());
        }
        // Behind a refused record nothing counts as stored.
        if self.refused.is_some() {
            return Ok(());
        }
        self.stored += 1;
        self.pause = FIRST_PAUSE;
        self.following.store(pending.file, pending.next).map_err(|error| self.unread(&error))
    }

    /// Goes back to the positions, after a pause that grows.
    fn rewind(&mut self) {
        self.refused = None;
        self.following.rewind();
        self.next_poll = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    fn publish(&mut self) -> Result<(), Failure> {
        self.published = Instant::now();
        let files = self.following.states().map_err(|error| self.unread(&error))?;
        let progress = Progress { files, stored: self.stored };
        self.progress.send_if_modified(|now| {
            let is_new = *now != progress;
            *now = progress;
            is_new
        });
        Ok(())
    }

    fn unread(&self, error: &io::Error) -> Failure {
        unread(&self.flow, error)
    }
}

fn unread(flow: &Flow, error: &io::Error) -> Failure {
    Failure::new(format!("files of {} cannot be read", flow.name), error)
}

/// The oldest record with its outcome. Dropping the future loses nothing.
async fn settled(pending: &mut VecDeque<Pending>) -> (Pending, Result<(), DeliveryError>) {
    let outcome = match pending.front_mut() {
        Some(front) => (&mut front.delivery).await,
        None => std::future::pending().await,
    };
    match pending.pop_front() {
        Some(front) => (front, outcome.map(drop)),
        None => std::future::pending().await,
    }
}
