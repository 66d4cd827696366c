//! Size of a shard's next answer, by those before: the memory that a read is granted, and the records it may ask for.
//! Pure.
//!
//! What counts is memory: the text of an answer, its records as they are parsed, and the user records taken out of them.
//! (A) An answer that takes as much for each record as those before is within what was granted. (B) Before the first one
//! a shard's records are taken to be as large as a full aggregate. (C) A read asks for one record at least.

use kpl::{aggregated, compressed};

use super::budget::Ask;
use crate::model::{KinesisRecord, Record};

/// Maximum records and bytes of data of an answer. Source:
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
pub(crate) const MAX_RECORDS: i32 = 10_000;
const MAX_BYTES: u64 = 10 << 20;
/// Bytes of an answer's text around the data and the key of a record: names, sequence number, time.
const TEXT: u64 = 190;
/// Bytes of an allocation that are not its content.
const ALLOCATION: u64 = 16;
/// Bytes of an aggregate as the KPL limits it. Source: KPL `AggregationMaxSize`.
const AGGREGATE: u64 = 51_200;
/// Bytes that an aggregate takes with its user records, over those without: for records of 100 bytes.
const TAKEN_APART: u64 = 3;

/// Bytes of records that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stored {
    records: u64,
    /// Of data, which is what the service limits.
    data: u64,
    /// Of partition keys.
    keys: u64,
    /// As they are held.
    pub(crate) held: u64,
    aggregated: bool,
}

impl Stored {
    pub(crate) fn of(records: &[KinesisRecord]) -> Self {
        let data = records.iter().map(|record| record.data.len() as u64).sum();
        let keys = records.iter().map(|record| record.partition_key.len() as u64).sum();
        let texts =
            records.first().map_or(0, |first| size_of::<KinesisRecord>() + first.sequence_number.as_str().len()) as u64;
        let count = records.len() as u64;
        // The data are allocated, and often a count of who shares them; texts share allocations.
        let held = data + keys + count * (texts + 3 * ALLOCATION);
        let aggregated = records.first().is_some_and(|first| is_divided(&first.data));
        Self { records: count, data, keys, held, aggregated }
    }

    /// Bytes held once user records are taken out: their data is the aggregates', of which frames unfold to `unfolded` bytes, and
    /// their keys share an allocation.
    pub(crate) fn with(&self, user_records: &[Record], unfolded: usize) -> u64 {
        let keys = match self.aggregated {
            true => user_records.iter().map(|record| record.partition_key.len() as u64).sum(),
            false => 0,
        };
        let stored = self.held - self.records * size_of::<KinesisRecord>() as u64;
        stored + keys + (unfolded + std::mem::size_of_val(user_records)) as u64
    }
}

fn is_divided(data: &[u8]) -> bool {
    data.starts_with(&aggregated::MAGIC) || data.starts_with(&compressed::MAGIC)
}

/// Bytes that a Kinesis record of the shard takes: the larger of the last answer's mean and of what was expected before,
/// which shrinks by an eighth with each answer.
#[derive(Debug, Clone)]
pub(crate) struct AnswerSize {
    data: u64,
    /// Bytes of an answer's text.
    text: u64,
    held: u64,
    /// Bytes held with user records taken out, over those without, in percent. None until the first are taken out.
    growth: Option<u64>,
    /// Records of the last answer that had some.
    last_records: u64,
}

impl Default for AnswerSize {
    fn default() -> Self {
        Self { data: AGGREGATE, text: text(AGGREGATE, 0), held: AGGREGATE, growth: None, last_records: 1 }
    }
}

impl AnswerSize {
    /// Memory for the next read.
    pub(crate) fn ask(&self) -> Ask {
        let by_bytes = MAX_BYTES / self.data.max(1) + 1;
        Ask { least: self.record(), most: by_bytes.min(MAX_RECORDS.unsigned_abs().into()) * self.record() }
    }

    /// Memory for the next event of a subscription, which cannot be asked for less: as many records as the last had.
    pub(crate) fn ask_for_event(&self) -> Ask {
        let event = self.last_records * self.record();
        Ask { least: event, most: event }
    }

    /// Number of records to ask for with that much memory.
    pub(crate) fn limit(&self, granted: u64) -> i32 {
        if granted >= self.ask().most {
            return MAX_RECORDS;
        }
        i32::try_from(granted / self.record()).map_or(MAX_RECORDS, |limit| limit.clamp(1, MAX_RECORDS))
    }

    /// Records were read. Returns the bytes to hold for them: with those of the user records that are still inside.
    pub(crate) fn read(&mut self, answer: Stored) -> u64 {
        if answer.records == 0 {
            return 0;
        }
        let mean = |bytes: u64| bytes.div_ceil(answer.records);
        let known = self.growth.is_some();
        let shrunk = |before: u64| if known { before - before / 8 } else { 0 };
        // Rounded down, as the service's limit then allows more of them.
        self.data = (answer.data / answer.records).max(shrunk(self.data));
        self.text = text(mean(answer.data), mean(answer.keys)).max(shrunk(self.text));
        self.held = mean(answer.held).max(shrunk(self.held));
        self.last_records = answer.records;
        let growth = self.growth.unwrap_or(if answer.aggregated { 100 * TAKEN_APART } else { 100 });
        answer.held * growth / 100
    }

    /// User records were taken out of those that were read.
    pub(crate) fn taken_out(&mut self, answer: Stored, held: u64) {
        let growth = (100 * held / answer.held.max(1)).max(100);
        self.growth = Some(growth.max(self.growth.map_or(0, |before| before - before / 8)));
    }

    /// Memory of one record while its answer is parsed, and after.
    fn record(&self) -> u64 {
        self.text + self.held * self.growth.unwrap_or(100 * TAKEN_APART) / 100
    }
}

/// Bytes of an answer's text for a record: its data in base64, its key, and what is around them.
fn text(data: u64, keys: u64) -> u64 {
    data + data.div_ceil(3) + keys + TEXT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(bytes: usize) -> KinesisRecord {
        KinesisRecord {
            sequence_number: "49590338271490256608559692538361571095921575989136588898".parse().unwrap(),
            partition_key: "key".into(),
            data: vec![0; bytes].into(),
            approximate_arrival: None,
        }
    }

    fn stored(count: usize, bytes_each: usize) -> Stored {
        Stored::of(&vec![record(bytes_each); count])
    }

    fn after(count: usize, bytes_each: usize) -> AnswerSize {
        let (mut size, answer) = (AnswerSize::default(), stored(count, bytes_each));
        size.read(answer);
        size.taken_out(answer, answer.held);
        size
    }

    #[test]
    fn asks_for_as_much_as_the_service_gives_where_memory_is_no_matter() {
        for size in [AnswerSize::default(), after(10, 100), after(1, 10 << 20)] {
            assert_eq!(size.limit(size.ask().most), MAX_RECORDS);
        }
    }

    #[test]
    fn before_its_first_answer_a_shard_may_have_full_aggregates() {
        let size = AnswerSize::default();

        assert_eq!(size.limit(4 << 20), 18);
        assert_eq!(size.limit(1), 1);
    }

    #[test]
    fn an_answer_counts_with_its_text_while_it_is_parsed_and_without_it_after() {
        let mut size = after(4096, 1024);
        let (ask, held) = (size.ask().most / 10_000, size.read(stored(4096, 1024)) / 4096);

        assert!((2_600..3_000).contains(&ask), "{ask}");
        assert!((1_200..1_400).contains(&held), "{held}");
    }

    #[test]
    fn user_records_count_that_are_not_taken_out_yet() {
        let mut size = AnswerSize::default();
        let answer = Stored { aggregated: true, ..stored(10, 51_200) };
        assert_eq!(size.read(answer), 3 * answer.held, "as a guess");

        size.taken_out(answer, 2 * answer.held);
        assert_eq!(size.read(answer), 2 * answer.held);
        size.taken_out(answer, answer.held);
        assert_eq!(size.read(answer), answer.held * 175 / 100, "shrinks by an eighth");
    }

    #[test]
    fn the_most_is_what_ten_mebibytes_of_data_take_whatever_the_keys() {
        let key: std::sync::Arc<str> = "key".repeat(80).into();
        let record = KinesisRecord { partition_key: key.into(), ..record(1_843) };
        let answer = Stored::of(&vec![record; MAX_BYTES as usize / 1_843]);
        let mut size = AnswerSize::default();
        size.read(answer);
        size.taken_out(answer, answer.held);

        let text = (1_843 * 4 / 3 + 240 + TEXT) * answer.records;
        assert!(size.ask().most >= answer.held + text, "{} of {}", size.ask().most, answer.held + text);
    }

    #[test]
    fn expects_an_event_as_large_as_the_last() {
        let size = after(100, 1024);

        assert_eq!(size.ask_for_event().least, 100 * size.ask().least);
    }

    proptest! {
        #[test]
        fn records_no_larger_than_before_are_within_what_was_granted(bytes in 0_usize..60_000, granted in 1_u64..50_000_000) {
            let size = after(3, bytes);
            let granted = granted.max(size.ask().least);
            let count = u64::from(size.limit(granted).unsigned_abs());
            // The service returns at most 10 MiB.
            let count = count.min((10 << 20) / bytes.max(1) as u64).max(1);

            let answer = stored(1, bytes);
            let text = bytes as u64 * 4 / 3 + TEXT;
            prop_assert!(count * (answer.held + text) <= granted.max(size.ask().most));
        }
    }
}
