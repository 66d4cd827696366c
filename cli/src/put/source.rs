//! SHELL: reads files and stdin on a thread of its own, and passes on what it finds in chunks.

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use kpl::MAX_RECORD_BYTES;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    entry::{Entry, EntryMaker, InputFormat, Place, Refusal},
    key::KeyRule,
    lines::{Line, read_line},
};
use crate::failure::Failure;

/// Bytes and entries of a chunk, beyond which it is passed on.
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNK_ENTRIES: usize = 500;
/// Chunks that wait for the producer.
const CHUNKS: usize = 4;
/// Bytes that are read and not stored, or one line.
const ROOM_BYTES: usize = 8 * 1024 * 1024;
/// Base64 and escapes of JSON, and the other fields.
pub(crate) const RECORD_LINE_BYTES: usize = MAX_RECORD_BYTES * 2;
const BUFFER_BYTES: usize = 64 * 1024;

/// Part of the input.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) entries: Vec<Result<Entry, Refusal>>,
    /// Bytes read for it, separators included.
    pub(crate) bytes: u64,
    /// Held until all entries are settled.
    pub(crate) room: Room,
}

/// Room of a chunk, a permit for each byte. Clones share it.
pub(crate) type Room = Option<Arc<OwnedSemaphorePermit>>;

/// Input of a `put`.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) format: Option<InputFormat>,
    pub(crate) key: KeyRule,
}

impl Source {
    /// Size of all files; None if one is no plain file.
    pub(crate) fn size(&self) -> Option<u64> {
        let size = |file: &PathBuf| std::fs::metadata(file).ok().filter(|it| it.is_file()).map(|it| it.len());
        self.files.iter().map(size).sum()
    }

    /// Checks that all files can be opened, before anything is put.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.files.iter().filter(|file| !is_stdin(file)).try_for_each(|file| open(file).map(drop))
    }

    /// Starts to read, within a runtime. The last item is an error if a file cannot be read further.
    pub(crate) fn start(self) -> Result<mpsc::Receiver<Result<Chunk, Failure>>, Failure> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let (runtime, room) = (Handle::current(), Arc::new(Semaphore::new(ROOM_BYTES)));
        let read = move || {
            let failed = self.read(&mut Chunks { sender: &sender, chunk: Chunk::default(), runtime, room });
            if let Err(Ended::Failed(failure)) = failed {
                let _ = sender.blocking_send(Err(failure)); // an error: the command has ended
            }
        };
        let started = std::thread::Builder::new().name("source".to_owned()).spawn(read);
        started.map(|_| receiver).map_err(|error| Failure::new("the input cannot be read", error))
    }

    fn read(&self, chunks: &mut Chunks<'_>) -> Result<(), Ended> {
        for file in &self.files {
            let name = if is_stdin(file) { "stdin".to_owned() } else { file.display().to_string() };
            let format = self.format.unwrap_or_else(|| InputFormat::of_file(&name));
            let maker = EntryMaker { format, key: self.key.clone() };
            let input: Box<dyn Read> = if is_stdin(file) { Box::new(io::stdin()) } else { Box::new(open(file)?) };
            let input = BufReader::with_capacity(BUFFER_BYTES, input);
            match format {
                InputFormat::Csv => read_rows(&maker, &name, input, chunks)?,
                _ => read_lines(&maker, &name, input, chunks)?,
            }
        }
        chunks.pass_on()
    }
}

pub(crate) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

pub(crate) fn open(file: &Path) -> Result<File, Failure> {
    let refused = |error: io::Error| Failure::new(format!("{} cannot be read", file.display()), error);
    let opened = File::open(file).map_err(refused)?;
    match opened.metadata().map_err(refused)?.is_dir() {
        true => Err(Failure::new(format!("{} is a folder", file.display()), "name files")),
        false => Ok(opened),
    }
}

enum Ended {
    /// Nobody takes the chunks any more.
    Unwanted,
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Chunks<'a> {
    sender: &'a mpsc::Sender<Result<Chunk, Failure>>,
    chunk: Chunk,
    runtime: Handle,
    room: Arc<Semaphore>,
}

impl Chunks<'_> {
    fn push(&mut self, entry: Option<Result<Entry, Refusal>>, bytes: u64) -> Result<(), Ended> {
        self.chunk.entries.extend(entry);
        self.chunk.bytes += bytes;
        let is_full = self.chunk.bytes >= CHUNK_BYTES as u64 || self.chunk.entries.len() >= CHUNK_ENTRIES;
        if is_full { self.pass_on() } else { Ok(()) }
    }

    /// Waits for room. A chunk that is larger than all room has all of it, and nothing is read until it is settled.
    fn pass_on(&mut self) -> Result<(), Ended> {
        let bytes = u32::try_from(self.chunk.bytes.min(ROOM_BYTES as u64)).unwrap_or(u32::MAX);
        let chunk = std::mem::take(&mut self.chunk);
        self.runtime.block_on(async {
            let room = self.take(bytes).await?.map(Arc::new);
            self.sender.send(Ok(Chunk { room, ..chunk })).await.map_err(|_| Ended::Unwanted)?;
            if bytes as usize == ROOM_BYTES { self.take(1).await.map(drop) } else { Ok(()) }
        })
    }

    async fn take(&self, bytes: u32) -> Result<Option<OwnedSemaphorePermit>, Ended> {
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(bytes) => Ok(room.ok()), // it is never closed
            () = self.sender.closed() => Err(Ended::Unwanted),
        }
    }
}

fn read_lines(
    maker: &EntryMaker,
    name: &str,
    mut input: BufReader<impl Read>,
    chunks: &mut Chunks<'_>,
) -> Result<(), Ended> {
    let max_bytes = if maker.format == InputFormat::Records { RECORD_LINE_BYTES } else { MAX_RECORD_BYTES };
    let (file, mut line): (Arc<str>, _) = (name.into(), Vec::new());
    for number in 1.. {
        let place = Place { file: Arc::clone(&file), line: number };
        let read = read_line(&mut input, &mut line, max_bytes);
        let read = read.map_err(|error| Failure::new(format!("{place} cannot be read"), error))?;
        match read {
            None => break,
            Some(Line::Whole) => {
                let bytes = line.len() as u64 + 1;
                chunks.push(maker.of_line(place, std::mem::take(&mut line)), bytes)?;
            }
            Some(Line::TooLong { bytes }) => {
                let reason = format!("it is {bytes} bytes long, above the {MAX_RECORD_BYTES}-byte limit of a record");
                chunks.push(Some(Err(Refusal { place, reason, data: None })), bytes + 1)?;
            }
        }
        if input.buffer().is_empty() && !chunks.chunk.entries.is_empty() {
            chunks.pass_on()?; // the next line may take long to come
        }
    }
    Ok(())
}

fn read_rows(maker: &EntryMaker, name: &str, input: impl Read, chunks: &mut Chunks<'_>) -> Result<(), Ended> {
    let room = Rc::new(Cell::new(MAX_RECORD_BYTES as u64));
    let input = Bounded { input, room: Rc::clone(&room) };
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(input);
    let failed = |error: csv::Error| {
        Failure::new(format!("{name} cannot be read as CSV"), format!("{error}; nothing after it was put"))
    };
    let header: Vec<String> = rows.headers().map_err(failed)?.iter().map(str::to_owned).collect();
    if let KeyRule::Field(column) = &maker.key
        && !header.contains(column)
    {
        let columns = header.join(", ");
        return Err(Failure::new(format!("{name} has no column {column}"), format!("its columns are {columns}")).into());
    }
    let (file, mut row): (Arc<str>, _) = (name.into(), csv::ByteRecord::new());
    let mut before = 0;
    while rows.read_byte_record(&mut row).map_err(failed)? {
        room.set(MAX_RECORD_BYTES as u64);
        let line = row.position().map_or(0, csv::Position::line);
        let position = rows.position().byte();
        let place = Place { file: Arc::clone(&file), line };
        chunks.push(Some(maker.of_row(place, &header, &row)), position - before)?;
        before = position;
    }
    Ok(())
}

/// Input that fails when a row is longer than a record may be, as one with a quote that is never closed.
struct Bounded<R> {
    input: R,
    room: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        match self.room.get().checked_sub(read as u64) {
            Some(room) => self.room.set(room),
            None => return Err(io::Error::other("a row is longer than a record may be, or a quote is not closed")),
        }
        Ok(read)
    }
}
