//! Lines of a child's output, of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Reads lines, of which it keeps the first `max` bytes.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    max: usize,
    line: Vec<u8>,
    /// Something of the line has come, perhaps only its cut-off part.
    is_begun: bool,
    /// Bytes of the lines so far, that in work included.
    taken: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, max: usize) -> Self {
        Self { reader: BufReader::with_capacity(16 << 10, reader), max, line: Vec::new(), is_begun: false, taken: 0 }
    }

    /// Output that it reads.
    pub(crate) fn source(&self) -> &R {
        self.reader.get_ref()
    }

    /// Bytes that were made into lines.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes that were read from the source.
    pub(crate) fn received(&self) -> u64 {
        self.taken + self.reader.buffer().len() as u64
    }

    /// The next line, without its newline; None at the end. Cancellation: safe, what has come of a line is kept.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                let rest = std::mem::take(&mut self.line);
                return Ok(std::mem::take(&mut self.is_begun).then_some(rest));
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = end.unwrap_or(bytes.len());
            let kept = part.min(self.max - self.line.len());
            self.line.extend_from_slice(&bytes[..kept]);
            self.is_begun = end.is_none();
            let used = end.map_or(part, |end| end + 1);
            self.reader.consume(used);
            self.taken += used as u64;
            if end.is_some() {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], max: usize) -> Vec<String> {
        let mut lines = Lines::new(text, max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(String::from_utf8(line).unwrap());
        }
        found
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        assert_eq!(lines(b"a\n\nbc", 10).await, ["a", "", "bc"]);
        assert_eq!(lines(b"", 10).await, [""; 0]);
        assert_eq!(lines(b"a\n", 10).await, ["a"]);
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_begins_after_its_end() {
        let long = [vec![b'x'; 40_000], b"\nnext\n".to_vec(), vec![b'y'; 9]].concat();

        assert_eq!(lines(&long, 4).await, ["xxxx", "next", "yyyy"]);
    }
}
