//! Output of a command for people or as JSON, to stdout or files. A reader that goes away ends the command without an error.

use std::{
    fmt,
    io::{self, BufWriter, ErrorKind, Write},
};

use serde::Serialize;

use crate::{failure::Failure, text};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// A place to write to, with a buffer, which is written by [`flush`](Self::flush).
pub(crate) struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    name: String,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    /// Stdout.
    pub(crate) fn new() -> Self {
        Self::to(Box::new(io::stdout()), "stdout")
    }

    /// Another place, with its name for errors.
    pub(crate) fn to(place: Box<dyn Write + Send>, name: impl Into<String>) -> Self {
        Self { to: BufWriter::with_capacity(BUFFER_BYTES, place), name: name.into() }
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, data: &[u8]) -> Result<(), Failure> {
        let written = self.to.write_all(data);
        written.map_err(|error| self.unwritten(&error))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.to, value);
        written.map_err(|error| self.unwritten(&error.into()))?;
        self.raw(b"\n")
    }

    /// Writes data with their control characters escaped.
    pub(crate) fn printable(&mut self, data: &[u8]) -> Result<(), Failure> {
        text::print(data, |part| self.raw(part.as_bytes()))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let flushed = self.to.flush();
        flushed.map_err(|error| self.unwritten(&error))
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::new(format!("{} cannot be written", self.name), error),
        }
    }
}

/// Prints one result: as JSON if asked for, else as `text` has it.
pub(crate) fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let mut output = Output::new();
    if json {
        output.json(value)?
    } else {
        output.raw(text().as_bytes())?
    }
    output.flush()
}
