//! Lines of bounded length: one that is longer is passed over, not held.

use std::io::{self, BufRead};

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole,
    /// Longer than the maximum by so much that nothing of it is kept.
    TooLong {
        bytes: u64,
    },
}

/// Reads a line into `line`, without `\n` or `\r\n`. None at the end of the input.
pub(crate) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, max_bytes: usize) -> io::Result<Option<Line>> {
    line.clear();
    let mut bytes = 0_u64;
    loop {
        let chunk = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        if chunk.is_empty() {
            break if bytes == 0 { Ok(None) } else { Ok(Some(finish(line, bytes, max_bytes))) };
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        bytes += part.len() as u64;
        if bytes <= max_bytes as u64 + 1 {
            line.extend_from_slice(part);
        } else {
            *line = Vec::new();
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            break Ok(Some(finish(line, bytes, max_bytes)));
        }
    }
}

fn finish(line: &mut Vec<u8>, bytes: u64, max_bytes: usize) -> Line {
    if bytes > max_bytes as u64 + 1 {
        return Line::TooLong { bytes };
    }
    line.pop_if(|last| *last == b'\r');
    if line.len() > max_bytes { Line::TooLong { bytes } } else { Line::Whole }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &[u8]) -> Vec<(Line, String)> {
        // A small buffer, so that lines span several fills.
        let mut input = BufReader::with_capacity(3, text);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        while let Some(read) = read_line(&mut input, &mut line, 8).unwrap() {
            let text = if read == Line::Whole { String::from_utf8(line.clone()).unwrap() } else { String::new() };
            lines.push((read, text));
        }
        lines
    }

    #[test]
    fn reads_lines_with_and_without_an_end() {
        let whole = |text: &str| (Line::Whole, text.to_owned());

        assert_eq!(lines(b"one\r\n\ntwo and3\nlast"), ["one", "", "two and3", "last"].map(whole));
        assert_eq!(lines(b"12345678\r\n"), [whole("12345678")]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn passes_over_a_line_that_is_too_long_and_goes_on_behind_it() {
        let read = lines(b"123456789\n1234567890123\nok");

        let expected = [Line::TooLong { bytes: 9 }, Line::TooLong { bytes: 13 }, Line::Whole];
        assert_eq!(read.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), expected);
    }
}
