//! Content of the shards of a canned stream: a page of records each, made once and given again and again under sequence
//! numbers that grow.

use aws_smithy_types::base64;
use kpl::{UserRecord, aggregated::Aggregate, compressed::FrameWriter};

/// As the KPL and `kpl` limit an aggregate.
const AGGREGATE_BYTES: usize = 51_200;
/// Of 56 digits, as the service writes them; the last 20 count.
const NUMBER: &str = "4959033827149025660855969253836157100000000000000000";
const DIGITS: usize = 20;

/// Shape of a stream's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes of a user record.
    pub record_bytes: usize,
    /// True if the user records come in aggregates.
    pub aggregated: bool,
    /// Bytes of user records in each page.
    pub page_bytes: usize,
}

impl Load {
    /// User records in each page.
    pub fn page_records(&self) -> usize {
        self.page_bytes / self.record_bytes
    }
}

/// User records that are aggregated, and perhaps compressed.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// All of them.
    pub records: &'a [UserRecord],
    /// Compresses each aggregate.
    pub writer: Option<&'a FrameWriter>,
}

/// Answer to one read of a shard.
#[derive(Debug)]
pub struct Page {
    /// JSON of the records.
    records: Vec<u8>,
    /// Positions of the digits that count, one for each Kinesis record.
    numbers: Vec<usize>,
    /// Ends of the Kinesis records.
    ends: Vec<usize>,
    /// User records.
    pub user_records: usize,
    /// Bytes of all Kinesis records.
    pub bytes: usize,
}

impl Page {
    /// One record for each of these partition keys.
    pub fn of(load: Load, keys: Vec<String>) -> Self {
        let (records, numbers, ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut page = Self { records, numbers, ends, user_records: keys.len(), bytes: 0 };
        let mut open = Aggregate::new();
        for (n, key) in keys.into_iter().enumerate() {
            let data: Vec<u8> = (0..load.record_bytes).map(|at| (at * 31 + n * 7) as u8).collect();
            if !load.aggregated {
                page.push(&key, &data);
                continue;
            }
            let record = UserRecord::new(key, data);
            if !open.try_push(&record, AGGREGATE_BYTES) {
                page.push("a", &open.encode());
                open = Aggregate::new();
                open.push(record);
            }
        }
        if !open.is_empty() {
            page.push("a", &open.encode());
        }
        page
    }

    /// These records in aggregates, each as long as the limit allows, compressed if there is a writer.
    pub fn of_records(records: &[&UserRecord], writer: Option<&FrameWriter>) -> Self {
        let (stored, numbers, ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut page = Self { records: stored, numbers, ends, user_records: records.len(), bytes: 0 };
        let mut rest = records;
        let mut content_bytes = AGGREGATE_BYTES;
        while !rest.is_empty() {
            let mut open = Aggregate::new();
            let taken = rest.iter().take_while(|record| open.try_push(record, content_bytes)).count().max(1);
            rest = &rest[taken..];
            let aggregate = open.encode();
            let frame = writer.and_then(|writer| writer.frame(&aggregate));
            if let Some(frame) = &frame {
                // A little less than what would fill the next one.
                content_bytes = (aggregate.len() * AGGREGATE_BYTES / frame.len()).min(32 * AGGREGATE_BYTES) * 24 / 25;
            }
            page.push("a", &frame.unwrap_or(aggregate));
        }
        page
    }

    fn push(&mut self, key: &str, data: &[u8]) {
        self.bytes += data.len();
        let separator = if self.records.is_empty() { "" } else { "," };
        self.records.extend_from_slice(format!(r#"{separator}{{"SequenceNumber":"{NUMBER}"#).as_bytes());
        self.numbers.push(self.records.len() - DIGITS);
        let rest = format!(
            r#"","ApproximateArrivalTimestamp":1.700000000123E9,"Data":"{}","PartitionKey":"{key}"}}"#,
            base64::encode(data)
        );
        self.records.extend_from_slice(rest.as_bytes());
        self.ends.push(self.records.len());
    }

    /// Number of Kinesis records.
    pub fn stored(&self) -> usize {
        self.numbers.len()
    }

    /// An answer with up to `limit` records, after `given` were given before, with what stands in it beside the records.
    /// No answer reaches beyond the end of the page.
    pub fn answer(&self, given: u64, limit: usize, beside: &str) -> Vec<u8> {
        const BEGIN: &[u8] = br#"{"Records":["#;
        let first = (given % self.numbers.len() as u64) as usize;
        let end = self.numbers.len().min(first.saturating_add(limit));
        // Behind the separator.
        let begin = if first == 0 { 0 } else { self.ends[first - 1] + 1 };
        let records = &self.records[begin..self.ends[end - 1]];
        let mut answer = Vec::with_capacity(BEGIN.len() + records.len() + beside.len() + 3);
        answer.extend_from_slice(BEGIN);
        answer.extend_from_slice(records);
        answer.extend_from_slice(format!("],{beside}}}").as_bytes());
        for (at, number) in self.numbers[first..end].iter().zip(given..) {
            let digits = &mut answer[BEGIN.len() + at - begin..][..DIGITS];
            digits.copy_from_slice(format!("{number:0DIGITS$}").as_bytes());
        }
        answer
    }

    /// The sequence number of the last of as many Kinesis records.
    pub fn last_number(given: u64) -> String {
        let last = given.saturating_sub(1);
        format!("{}{last:0DIGITS$}", &NUMBER[..NUMBER.len() - DIGITS])
    }
}
