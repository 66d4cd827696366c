//! Records out of the bytes of a file: lines, or several lines each. Pure.

use regex::bytes::Regex;

/// Cuts bytes into records.
#[derive(Debug, Clone)]
pub(super) struct Cutter {
    /// Begin of a record of several lines; None: each line is one.
    pub(super) record_start: Option<Regex>,
    /// Longer records are cut into pieces of this size.
    pub(super) max_bytes: usize,
}

/// A record within the bytes that were cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) start: usize,
    /// End of its data.
    pub(super) end: usize,
    /// Begin of the next one.
    pub(super) next: usize,
}

impl Cutter {
    /// Bytes in which a whole record is found, if it is not longer than one may be.
    ///
    /// The end of a record of several lines is known from the line that follows it.
    pub(super) fn window(&self) -> usize {
        let line_break = "\r\n".len();
        if self.record_start.is_some() { self.max_bytes * 2 } else { self.max_bytes + line_break }
    }

    /// The complete records at the beginning of `bytes`. `at_end`: nothing follows, so that the rest is a record, too.
    pub(super) fn cut(&self, bytes: &[u8], at_end: bool) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let mut start = 0;
        while start < bytes.len() {
            let Some(next) = self.end_of_record(&bytes[start..], at_end).map(|length| start + length) else { break };
            self.push(bytes, start, next, &mut cuts);
            start = next;
        }
        // A record that is longer than any may be is cut although its end has not come.
        if bytes.len() - start >= self.window() {
            let next = start + self.max_bytes;
            cuts.push(Cut { start, end: next, next });
        }
        cuts
    }

    fn push(&self, bytes: &[u8], mut start: usize, next: usize, cuts: &mut Vec<Cut>) {
        let mut end = next;
        if bytes[start..end].ends_with(b"\n") {
            end -= 1;
        }
        if bytes[start..end].ends_with(b"\r") {
            end -= 1;
        }
        while end - start > self.max_bytes {
            let piece = start + self.max_bytes;
            cuts.push(Cut { start, end: piece, next: piece });
            start = piece;
        }
        cuts.push(Cut { start, end, next });
    }

    /// Length of the record at the beginning, its line breaks included; None if its end is not there yet.
    fn end_of_record(&self, bytes: &[u8], at_end: bool) -> Option<usize> {
        let rest = at_end.then_some(bytes.len());
        let Some(record_start) = &self.record_start else { return line_end(bytes).or(rest) };
        let mut next = line_end(bytes);
        while let Some(line) = next {
            // The line that follows is needed as a whole: its begin decides.
            let Some(following) = line_end(&bytes[line..]) else { break };
            if record_start.is_match(&bytes[line..line + following]) {
                return Some(line);
            }
            next = Some(line + following);
        }
        rest
    }
}

/// Length of the first line, its line break included.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut<'a>(cutter: &Cutter, text: &'a str, at_end: bool) -> (Vec<&'a str>, usize) {
        let cuts = cutter.cut(text.as_bytes(), at_end);
        (cuts.iter().map(|cut| &text[cut.start..cut.end]).collect(), cuts.last().map_or(0, |cut| cut.next))
    }

    fn lines() -> Cutter {
        Cutter { record_start: None, max_bytes: 10 }
    }

    #[test]
    fn an_unfinished_line_waits_for_its_end() {
        assert_eq!(cut(&lines(), "one\r\n\ntwo\nthr", false), (vec!["one", "", "two"], 10));
        assert_eq!(cut(&lines(), "thr", true), (vec!["thr"], 3));
        assert_eq!(cut(&lines(), "", true), (vec![], 0));
    }

    #[test]
    fn a_record_of_several_lines_ends_where_the_next_begins() {
        let cutter = Cutter { record_start: Some(Regex::new("^\\[").unwrap()), max_bytes: 100 };

        assert_eq!(cut(&cutter, "[a\n b\n[c\n d\n[e", false), (vec!["[a\n b"], 6));
        assert_eq!(cut(&cutter, "[a\n b\n[c\n d\n[e\n", true), (vec!["[a\n b", "[c\n d", "[e"], 15));
        assert_eq!(cut(&cutter, " of before\n[a\n", false), (vec![" of before"], 11));
    }

    #[test]
    fn a_record_that_is_too_long_is_cut_and_nothing_of_it_lost() {
        let long = "0123456789abcdefghijKLM\nnext\n";

        assert_eq!(cut(&lines(), long, false), (vec!["0123456789", "abcdefghij", "KLM", "next"], 29));
        assert_eq!(cut(&lines(), &long[..12], false), (vec!["0123456789"], 10));
        assert_eq!(cut(&lines(), "0123456789\r\n", false), (vec!["0123456789"], 12));
        assert_eq!(cut(&lines(), "0123456789\r", false), (vec![], 0));
    }
}
