//! The input of a child: lines that wait to be written, and how far it has read.
//!
//! A child may ask for a checkpoint after its answer to a batch, and means that batch. So the end of an action, its
//! newline, is held back until the child has read all before it and everything that it wrote until then is heard: a child
//! that writes and reads in turns writes nothing late after that.

use std::{collections::VecDeque, future::pending, io, mem, time::Duration};

use tokio::{io::AsyncWriteExt as _, process::ChildStdin, time::sleep};

use super::process::unread;
use crate::wire::message::{Message, ProcessRecords};

/// Maximum number of lines that wait. A child waits for each acknowledgement, so that one is the rule.
const MAX_LINES: usize = 64;
/// Pause between two looks at what a child has not read.
const LOOK: Duration = Duration::from_millis(1);

/// Progress of the action in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// All of it may be written.
    Open,
    /// All but its end; the child has not read that yet.
    Unread,
    /// The child has read that. Its output up to here comes first, in bytes since the start.
    Unheard(u64),
}

#[derive(Debug)]
pub(crate) struct Input {
    /// None: closed, by either side.
    stdin: Option<ChildStdin>,
    lines: VecDeque<Vec<u8>>,
    /// Rest of the action in hand, which is not written down yet; it follows the lines.
    rest: Option<ProcessRecords>,
    /// Buffer of the last written piece, for the next one.
    spare: Vec<u8>,
    /// Bytes that follow the end of the action.
    held: VecDeque<Vec<u8>>,
    stage: Stage,
    /// Bytes of the first line that are written.
    done: usize,
    queued: u64,
    written: u64,
    /// End of the last action whose end may be written, in bytes since the start.
    action_ends: u64,
}

impl Input {
    pub(crate) fn new(stdin: ChildStdin) -> Self {
        Self {
            stdin: Some(stdin),
            lines: VecDeque::new(),
            rest: None,
            spare: Vec::new(),
            held: VecDeque::new(),
            stage: Stage::Open,
            done: 0,
            queued: 0,
            written: 0,
            action_ends: 0,
        }
    }

    /// Queues a line. False: too many wait.
    pub(crate) fn push(&mut self, line: Vec<u8>) -> bool {
        if self.stage == Stage::Open {
            self.queue(line);
        } else {
            self.held.push_back(line);
        }
        self.lines.len() + self.held.len() <= MAX_LINES
    }

    fn queue(&mut self, line: Vec<u8>) {
        self.queued += line.len() as u64;
        self.lines.push_back(line);
    }

    /// Queues an action, which ends in a newline.
    pub(crate) fn push_action(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.queue_but_for_its_end(line),
            Message::Records(records) => self.rest = Some(records),
        }
        self.stage = Stage::Unread;
    }

    fn queue_but_for_its_end(&mut self, mut line: Vec<u8>) {
        line.pop();
        self.queue(line);
    }

    /// Makes the next piece of the action in hand once the one before is written.
    fn refill(&mut self) {
        if !self.lines.is_empty() {
            return;
        }
        let Some(rest) = &mut self.rest else { return };
        let mut piece = mem::take(&mut self.spare);
        piece.clear();
        if rest.put_next(&mut piece) {
            self.queue(piece);
        } else {
            self.rest = None;
            self.queue_but_for_its_end(piece);
        }
    }

    /// True if the child has read the action in hand to its end.
    pub(crate) fn is_action_read(&self) -> bool {
        let unread = self.stdin.as_ref().map_or(0, unread);
        self.stage == Stage::Open && self.written.saturating_sub(unread) >= self.action_ends
    }

    /// Writes what the pipe takes, or else waits until the child has read the action in hand but for its end: true then.
    /// Waits for ever if there is neither. Cancellation: safe, and after it returned the caller looks again.
    pub(crate) async fn go_on(&mut self) -> bool {
        self.refill();
        match (&mut self.stdin, self.lines.front(), self.stage) {
            (Some(stdin), Some(line), _) => {
                let written = stdin.write(&line[self.done..]).await;
                self.note_written(written);
                false
            }
            (Some(stdin), None, Stage::Unread) => {
                while unread(stdin) > 0 {
                    sleep(LOOK).await;
                }
                true
            }
            // What is to be heard may be less than a line.
            (Some(_), None, Stage::Unheard(_)) => {
                sleep(LOOK).await;
                false
            }
            _ => pending().await,
        }
    }

    fn note_written(&mut self, written: io::Result<usize>) {
        // The child closed its input. Its end, or the time limit, shows what that means.
        let Ok(written) = written else { return self.close() };
        (self.done, self.written) = (self.done + written, self.written + written as u64);
        if self.lines.front().is_some_and(|line| line.len() == self.done) {
            let line = self.lines.pop_front();
            self.done = 0;
            // The buffer is freed with the last piece.
            self.spare = line.filter(|_| self.rest.is_some()).unwrap_or_default();
        }
    }

    /// The child has read the action but for its end, and what it wrote before that ends at `heard`.
    pub(crate) fn hold_until(&mut self, heard: u64) {
        self.stage = Stage::Unheard(heard);
    }

    /// Queues the end of the action once its time has come.
    pub(crate) fn release(&mut self, heard: u64) {
        if let Stage::Unheard(until) = self.stage
            && heard >= until
        {
            self.stage = Stage::Open;
            self.queue(b"\n".to_vec());
            self.action_ends = self.queued;
            for line in mem::take(&mut self.held) {
                self.queue(line);
            }
        }
    }

    /// The end of the input: a child ends at that.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
        (self.rest, self.spare) = (None, Vec::new());
        self.lines.clear();
        self.held.clear();
    }
}
