//! SHELL: reads lines of files and stdin on a thread of its own, and passes them on in chunks.

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::mpsc;

use crate::{
    failure::Failure,
    put::{
        entry::Place,
        lines::{Line as Length, read_line},
        source::{RECORD_LINE_BYTES, is_stdin, open},
    },
};

/// Bytes and lines of a chunk, beyond which it is passed on.
const CHUNK_BYTES: usize = 1024 * 1024;
const CHUNK_LINES: usize = 500;
const BUFFER_BYTES: usize = 64 * 1024;

/// A line of the input.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) place: Place,
    /// None: too long to be held.
    pub(super) text: Option<Vec<u8>>,
}

/// Lines, or why the input cannot be read further.
pub(super) type Chunk = Result<Vec<Line>, Failure>;

/// Checks that all files can be opened, and starts to read.
pub(super) fn read(files: Vec<PathBuf>) -> Result<mpsc::Receiver<Chunk>, Failure> {
    files.iter().filter(|file| !is_stdin(file)).try_for_each(|file| open(file).map(drop))?;
    // One chunk is put while the next is read.
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        for file in files {
            if let Err(failure) = read_file(&file, &sender) {
                let _ = sender.blocking_send(Err(failure)); // an error: the command has ended
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("letters".to_owned()).spawn(read);
    started.map(|_| receiver).map_err(|error| Failure::new("the input cannot be read", error))
}

fn read_file(file: &Path, chunks: &mpsc::Sender<Chunk>) -> Result<(), Failure> {
    let name: Arc<str> = if is_stdin(file) { "stdin".into() } else { file.display().to_string().into() };
    let input: Box<dyn Read> = if is_stdin(file) { Box::new(io::stdin()) } else { Box::new(open(file)?) };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let (mut chunk, mut bytes, mut text) = (Vec::new(), 0, Vec::new());
    for line in 1.. {
        let place = Place { file: Arc::clone(&name), line };
        let read = read_line(&mut input, &mut text, RECORD_LINE_BYTES);
        let read = read.map_err(|error| Failure::new(format!("{place} cannot be read"), error))?;
        let text = match read {
            None => break,
            Some(Length::Whole) if text.trim_ascii().is_empty() => continue,
            Some(Length::Whole) => Some(std::mem::take(&mut text)),
            Some(Length::TooLong { .. }) => None,
        };
        bytes += text.as_ref().map_or(0, Vec::len);
        chunk.push(Line { place, text });
        let is_full = bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_LINES;
        // The next line may take long to come.
        if (is_full || input.buffer().is_empty()) && chunks.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
            return Ok(()); // nobody wants more
        }
        bytes = if chunk.is_empty() { 0 } else { bytes };
    }
    if !chunk.is_empty() {
        let _ = chunks.blocking_send(Ok(chunk)); // an error: nobody wants more
    }
    Ok(())
}
