//! A bounded set of record numbers. Pure.
//!
//! (A) It never holds a number that was not added. (B) Beyond its bounds the series that was used longest ago, or the lowest
//! numbers of one, fall out. (C) What is written has at most [`MAX_BYTES`], and is read for the checkpoint alone that it was
//! written for: of another one, or damaged, it is nothing.

use std::num::NonZero;

use kpl::RecordNumber;

use crate::model::Checkpoint;

/// Maximum bytes of what is kept in a lease: it keeps an item with a usual lease within two write units.
pub(crate) const MAX_BYTES: usize = 1_024;
/// Maximum series of a shard in memory: one for each producer, or more while it is busy.
const MAX_SERIES: usize = 512;
/// Maximum spans of a series: each but the highest ends before numbers that were not delivered, at least not here.
const MAX_SPANS: usize = 64;
const FORMAT: u8 = 1;
const COMPLETE: u8 = 0;
const INCOMPLETE: u8 = 1;

/// Numbers of records, by series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    rows: Vec<Row>,
    /// Counts uses of the rows.
    uses: u64,
    /// A series is missing that may have been delivered.
    is_incomplete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    series: NonZero<u64>,
    /// First and last numbers; ascending, with numbers in between that are missing.
    spans: Vec<(u64, u64)>,
    /// Of lower numbers, those in no span may have been delivered as well.
    floor: u64,
    /// The last use.
    used: u64,
}

/// Knowledge of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Delivered,
    New,
    /// It was not added, or fell out.
    Undecided,
}

impl Row {
    fn contains(&self, number: u64) -> bool {
        // Most often it is behind all.
        let behind = self.spans.partition_point(|(first, _)| *first <= number);
        behind > 0 && self.spans[behind - 1].1 >= number
    }

    fn add(&mut self, first: u64, last: u64) {
        match self.spans.last_mut() {
            Some(highest) if highest.0 <= first && first <= highest.1.saturating_add(1) => {
                highest.1 = highest.1.max(last);
            }
            Some(highest) if first <= highest.1 => self.merge(first, last),
            _ => self.spans.push((first, last)),
        }
        if self.spans.len() > MAX_SPANS {
            let (_, last) = self.spans.remove(0);
            self.floor = self.floor.max(last.saturating_add(1));
        }
    }

    /// Adds a span that begins before the end of others.
    fn merge(&mut self, first: u64, last: u64) {
        let from = self.spans.partition_point(|(_, end)| end.saturating_add(1) < first);
        let to = self.spans.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let touched = &self.spans[from..to];
        let start = touched.first().map_or(first, |(start, _)| first.min(*start));
        let end = touched.last().map_or(last, |(_, end)| last.max(*end));
        self.spans.splice(from..to, [(start, end)]);
    }
}

impl Numbers {
    /// No numbers, of a shard of which some may have been delivered.
    pub(crate) fn unknown() -> Self {
        Self { is_incomplete: true, ..Self::default() }
    }

    pub(crate) fn known(&self, number: RecordNumber) -> Known {
        let row = self.rows.iter().rev().find(|row| row.series == number.series());
        match row {
            Some(row) if row.contains(number.number()) => Known::Delivered,
            Some(row) if number.number() < row.floor => Known::Undecided,
            None if self.is_incomplete => Known::Undecided,
            _ => Known::New,
        }
    }

    /// Adds the numbers from `first` to `last`.
    pub(crate) fn add(&mut self, series: NonZero<u64>, first: u64, last: u64) {
        self.uses += 1;
        let at = self.rows.iter().rposition(|row| row.series == series).unwrap_or_else(|| {
            self.make_room();
            self.rows.push(Row { series, spans: Vec::new(), floor: first, used: 0 });
            self.rows.len() - 1
        });
        let row = &mut self.rows[at];
        row.used = self.uses;
        row.add(first, last);
    }

    fn make_room(&mut self) {
        if self.rows.len() == MAX_SERIES {
            let oldest = self.rows.iter().enumerate().min_by_key(|(_, row)| row.used).map_or(0, |(at, _)| at);
            self.rows.remove(oldest);
            self.is_incomplete = true;
        }
    }

    /// Adds those of another set, which count as used later.
    pub(crate) fn add_all(&mut self, other: &Self) {
        let mut rows: Vec<_> = other.rows.iter().collect();
        rows.sort_by_key(|row| row.used);
        for row in rows {
            row.spans.iter().for_each(|(first, last)| self.add(row.series, *first, *last));
            if let Some(own) = self.rows.iter_mut().rfind(|own| own.series == row.series) {
                own.floor = own.floor.max(row.floor);
            }
        }
        self.is_incomplete |= other.is_incomplete;
    }

    /// Those used last, as many as there is room for, for the lease with this checkpoint.
    pub(crate) fn write(&self, checkpoint: &Checkpoint) -> Vec<u8> {
        let text = checkpoint.as_wire().as_bytes();
        let mut out = vec![FORMAT, COMPLETE, u8::try_from(text.len()).unwrap_or(0)];
        out.extend_from_slice(text);
        put(&mut out, checkpoint.sub_sequence_number());
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.used));
        let mut is_cut = self.is_incomplete;
        for row in rows {
            is_cut |= !row.write(&mut out);
        }
        if is_cut {
            out[1] = INCOMPLETE;
        }
        out
    }

    /// `None` if it was written for another checkpoint, or cannot be read.
    pub(crate) fn read(mut bytes: &[u8], checkpoint: &Checkpoint) -> Option<Self> {
        let [FORMAT, completeness @ (COMPLETE | INCOMPLETE), len] = *bytes.split_off(..3)? else { return None };
        let is_of = bytes.split_off(..usize::from(len))? == checkpoint.as_wire().as_bytes();
        if !is_of || take(&mut bytes)? != checkpoint.sub_sequence_number() {
            return None;
        }
        let mut rows = Vec::new();
        while !bytes.is_empty() {
            rows.push(Row::read(&mut bytes)?);
        }
        let mut numbers = Self { is_incomplete: completeness == INCOMPLETE, ..Self::default() };
        // The one used last was written first.
        for row in rows.into_iter().rev() {
            row.spans.iter().for_each(|(first, last)| numbers.add(row.series, *first, *last));
        }
        Some(numbers)
    }
}

impl Row {
    /// Writes the highest spans, as many as there is room for. True: all.
    fn write(&self, out: &mut Vec<u8>) -> bool {
        let (mut fields, mut count, mut above) = (Vec::new(), 0, None);
        // Of a series, the id and the count of spans, at most 64, take nine bytes.
        let room = MAX_BYTES.saturating_sub(out.len() + 9);
        for (first, last) in self.spans.iter().rev() {
            let mut span = Vec::new();
            put(&mut span, above.map_or(*last, |above: u64| above - last));
            put(&mut span, last - first);
            if fields.len() + span.len() > room {
                break;
            }
            fields.extend(span);
            (count, above) = (count + 1, Some(*first));
        }
        if count > 0 {
            out.extend(self.series.get().to_be_bytes());
            put(out, count);
            out.extend(fields);
        }
        count == self.spans.len() as u64
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let series = bytes.split_off(..8)?.try_into().ok().map(u64::from_be_bytes)?;
        let count = usize::try_from(take(bytes)?).ok().filter(|count| (1..=MAX_SPANS).contains(count))?;
        let (mut spans, mut above) = (Vec::with_capacity(count), None);
        for _ in 0..count {
            let distance = take(bytes)?;
            let last = match above {
                None => distance,
                // Else two spans would be one.
                Some(above) => u64::checked_sub(above, distance).filter(|_| distance > 1)?,
            };
            let first = last.checked_sub(take(bytes)?)?;
            spans.push((first, last));
            above = Some(first);
        }
        spans.reverse();
        Some(Self { series: NonZero::new(series)?, spans, floor: 0, used: 0 })
    }
}

/// Adds a number, seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;
