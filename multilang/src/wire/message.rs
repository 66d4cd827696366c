//! Messages of the daemon: each a line of JSON, with all keys, in one order, without spaces.

use std::{
    time::{Duration, UNIX_EPOCH},
    vec,
};

use kcl::{Checkpoint, Record, RecordBatch};

use super::{Action, Refusal, request::Echo};

/// Size from which a piece of a message is complete, in bytes: that of a pipe. Source: pipe(7).
const PIECE: usize = 64 << 10;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// An action for a child, a line.
#[derive(Debug)]
pub(crate) enum Message {
    /// All of it.
    Line(Vec<u8>),
    /// Made piece by piece.
    Records(ProcessRecords),
}

/// Records to process: a line of up to 16 MB, made while the child reads it. A record is dropped once it is written down.
#[derive(Debug)]
pub(crate) struct ProcessRecords {
    records: vec::IntoIter<Record>,
    is_begun: bool,
    behind_latest: Option<Duration>,
}

impl ProcessRecords {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Self { records: batch.records.into_iter(), is_begun: false, behind_latest: batch.behind_latest }
    }

    /// Appends the next piece, of 64 KiB and at most a record more. False: it was the last.
    pub(crate) fn put_next(&mut self, piece: &mut Vec<u8>) -> bool {
        if !self.is_begun {
            piece.extend(br#"{"action":"processRecords","records":["#);
        }
        for record in self.records.by_ref() {
            if std::mem::replace(&mut self.is_begun, true) {
                piece.push(b',');
            }
            put_record(piece, &record);
            if piece.len() >= PIECE {
                return true;
            }
        }
        piece.extend(br#"],"millisBehindLatest":"#);
        match self.behind_latest {
            Some(behind) => put_number(piece, behind.as_millis()),
            None => piece.extend(b"null"),
        }
        piece.extend(b"}\n");
        false
    }
}

/// The start of a shard, which is processed after this checkpoint.
pub(crate) fn initialize(shard_id: &str, checkpoint: &Checkpoint) -> Vec<u8> {
    let (sequence_number, sub_sequence_number) = match checkpoint {
        Checkpoint::At(position) => (position.sequence_number.to_string(), position.sub_sequence_number),
        sentinel => (sentinel.to_string(), 0),
    };
    let mut line = br#"{"action":"initialize","shardId":"#.to_vec();
    put_text(&mut line, shard_id);
    line.extend(br#","sequenceNumber":"#);
    put_text(&mut line, &sequence_number);
    line.extend(br#","subSequenceNumber":"#);
    put_number(&mut line, sub_sequence_number);
    line.extend(b"}\n");
    line
}

fn put_record(line: &mut Vec<u8>, record: &Record) {
    line.extend(br#"{"data":""#);
    base64_simd::STANDARD.encode_append(&record.data, line);
    line.extend(br#"","partitionKey":"#);
    put_text(line, &record.partition_key);
    line.extend(br#","sequenceNumber":"#);
    put_text(line, record.sequence_number.as_str());
    line.extend(br#","approximateArrivalTimestamp":"#);
    // Never null: clients end at that. Kinesis has it for every record.
    let arrival = record.approximate_arrival.and_then(|arrival| arrival.duration_since(UNIX_EPOCH).ok());
    put_number(line, arrival.unwrap_or_default().as_millis());
    line.extend(br#","subSequenceNumber":"#);
    put_number(line, record.sub_sequence_number);
    line.extend(br#","action":"record"}"#);
}

/// An action without contents: `shardEnded`, `shutdownRequested`, `leaseLost`.
pub(crate) fn bare(action: Action) -> Vec<u8> {
    format!("{{\"action\":\"{action}\"}}\n").into_bytes()
}

/// Acknowledgement of a checkpoint: the numbers of the request, and the error by which it is refused.
pub(crate) fn checkpoint(echo: &Echo, refusal: Option<Refusal>) -> Vec<u8> {
    let mut line = br#"{"action":"checkpoint","sequenceNumber":"#.to_vec();
    match &echo.sequence_number {
        Some(number) => put_text(&mut line, number),
        None => line.extend(b"null"),
    }
    line.extend(br#","subSequenceNumber":"#);
    match echo.sub_sequence_number {
        Some(number) => put_number(&mut line, number),
        None => line.extend(b"null"),
    }
    line.extend(br#","error":"#);
    match refusal {
        Some(refusal) => put_text(&mut line, refusal.as_str()),
        None => line.extend(b"null"),
    }
    line.extend(b"}\n");
    line
}

fn put_number(line: &mut Vec<u8>, number: impl ToString) {
    line.extend(number.to_string().as_bytes());
}

/// A text in quotes. Escaped are `"`, `\` and control characters, nothing else; serde_json differs in the case of digits.
fn put_text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        line.extend(&text.as_bytes()[plain..at]);
        plain = at + 1;
        match byte {
            b'"' | b'\\' => line.extend([b'\\', byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            8 => line.extend(b"\\b"),
            12 => line.extend(b"\\f"),
            _ => line.extend([b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
    line.extend(&text.as_bytes()[plain..]);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use kcl::Position;
    use proptest::prelude::*;

    use super::*;

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    fn record(partition_key: &str, data: &str, sub_sequence_number: u64) -> Record {
        let number = "49179590039186700000000001795900391876000000000000000016".parse().unwrap();
        let mut record = Record::new(partition_key, data.to_owned(), number);
        record.sub_sequence_number = sub_sequence_number;
        record.approximate_arrival = Some(UNIX_EPOCH + Duration::from_millis(1_795_900_391_876));
        record
    }

    fn process_records(batch: RecordBatch) -> Vec<u8> {
        let (mut line, mut rest, mut piece) = (Vec::new(), ProcessRecords::new(batch), Vec::new());
        while rest.put_next(&mut piece) {
            assert!(piece.len() < 2 * PIECE, "{}", piece.len());
            line.append(&mut piece);
        }
        line.append(&mut piece);
        line
    }

    fn batch(records: Vec<Record>, behind_latest: Option<Duration>) -> RecordBatch {
        let mut batch = RecordBatch::default();
        (batch.records, batch.behind_latest) = (records, behind_latest);
        batch
    }

    #[test]
    fn initialize_names_a_sentinel_or_a_number() {
        assert_eq!(
            text(initialize("shardId-000000000000", &Checkpoint::TrimHorizon)),
            "{\"action\":\"initialize\",\"shardId\":\"shardId-000000000000\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}\n"
        );
        let at = Checkpoint::At(Position::new("4917".parse().unwrap(), 7));
        for (checkpoint, number) in [
            (Checkpoint::Latest, "\"LATEST\",\"subSequenceNumber\":0"),
            (Checkpoint::AtTimestamp, "\"AT_TIMESTAMP\",\"subSequenceNumber\":0"),
            (at, "\"4917\",\"subSequenceNumber\":7"),
        ] {
            assert_eq!(
                text(initialize("s", &checkpoint)),
                format!("{{\"action\":\"initialize\",\"shardId\":\"s\",\"sequenceNumber\":{number}}}\n")
            );
        }
    }

    #[test]
    fn records_have_all_keys_in_order_and_the_action_last() {
        assert_eq!(
            text(process_records(batch(vec![record("plain0", "plain before", 0)], Some(Duration::ZERO)))),
            "{\"action\":\"processRecords\",\"records\":[{\"data\":\"cGxhaW4gYmVmb3Jl\",\"partitionKey\":\"plain0\",\
             \"sequenceNumber\":\"49179590039186700000000001795900391876000000000000000016\",\
             \"approximateArrivalTimestamp\":1795900391876,\"subSequenceNumber\":0,\"action\":\"record\"}],\
             \"millisBehindLatest\":0}\n"
        );
    }

    #[test]
    fn user_records_of_an_aggregate_differ_in_the_sub_sequence_number() {
        let line = text(process_records(batch(vec![record("a", "", 1), record("b", "x", 2)], None)));

        assert!(line.contains("{\"data\":\"\",\"partitionKey\":\"a\""));
        assert!(line.contains("\"subSequenceNumber\":1,\"action\":\"record\"},{\"data\":\"eA==\""));
        assert!(line.ends_with("\"subSequenceNumber\":2,\"action\":\"record\"}],\"millisBehindLatest\":null}\n"));
    }

    #[test]
    fn an_empty_batch_and_an_unknown_arrival_are_written_too() {
        assert_eq!(
            text(process_records(batch(Vec::new(), Some(Duration::from_millis(1500))))),
            "{\"action\":\"processRecords\",\"records\":[],\"millisBehindLatest\":1500}\n"
        );
        let mut unknown = record("a", "x", 0);
        unknown.approximate_arrival = None;
        assert!(text(process_records(batch(vec![unknown], None))).contains("\"approximateArrivalTimestamp\":0,"));
    }

    #[test]
    fn pieces_make_one_line() {
        let data = "x".repeat(1000);
        let number_of = |n: usize| text(process_records(batch((0..n).map(|_| record("a", &data, 0)).collect(), None)));
        let (none, one) = (number_of(0), number_of(1));
        let each = one.len() - none.len();

        for n in [2, 41, 42, 43, 44, 1000] {
            let line = number_of(n);
            assert_eq!(line.len(), none.len() + n * (each + 1) - 1, "{n}");
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{n}");
        }
    }

    #[test]
    fn bare_actions_are_a_name() {
        assert_eq!(text(bare(Action::ShutdownRequested)), "{\"action\":\"shutdownRequested\"}\n");
        assert_eq!(text(bare(Action::ShardEnded)), "{\"action\":\"shardEnded\"}\n");
        assert_eq!(text(bare(Action::LeaseLost)), "{\"action\":\"leaseLost\"}\n");
    }

    #[test]
    fn an_acknowledgement_repeats_the_numbers_and_names_the_error() {
        let echo = |sequence_number: Option<&str>, sub_sequence_number| Echo {
            sequence_number: sequence_number.map(str::to_owned),
            sub_sequence_number,
        };
        assert_eq!(
            text(checkpoint(&echo(None, None), None)),
            "{\"action\":\"checkpoint\",\"sequenceNumber\":null,\"subSequenceNumber\":null,\"error\":null}\n"
        );
        assert_eq!(
            text(checkpoint(&echo(Some("4917048"), Some(0)), Some(Refusal::IllegalArgument))),
            "{\"action\":\"checkpoint\",\"sequenceNumber\":\"4917048\",\"subSequenceNumber\":0,\"error\":\"IllegalArgumentException\"}\n"
        );
        for (refusal, name) in [
            (Refusal::Shutdown, "ShutdownException"),
            (Refusal::InvalidState, "InvalidStateException"),
            (Refusal::Throttling, "ThrottlingException"),
            (Refusal::Dependency, "KinesisClientLibDependencyException"),
        ] {
            assert!(
                text(checkpoint(&echo(Some("4"), None), Some(refusal)))
                    .ends_with(&format!("\"subSequenceNumber\":null,\"error\":\"{name}\"}}\n"))
            );
        }
    }

    #[test]
    fn escapes_quotes_backslashes_and_control_characters_alone() {
        let mut line = Vec::new();
        put_text(&mut line, "a\"b\\c\td\u{1}e\u{1f}f/g\u{2028}h\u{1f600}i\u{8}\u{c}\r\n");

        assert_eq!(text(line), "\"a\\\"b\\\\c\\td\\u0001e\\u001Ff/g\u{2028}h\u{1f600}i\\b\\f\\r\\n\"");
    }

    proptest! {
        #[test]
        fn every_record_is_read_back_from_one_line(keys in proptest::collection::vec(".*", 0..4), data: Vec<u8>) {
            let records = keys.iter().map(|key| {
                let mut it = record(key, "", 0);
                it.data = data.clone().into();
                it
            });
            let line = text(process_records(batch(records.collect(), None)));

            let (last, rest) = line.split_at(line.len() - 1);
            prop_assert!(!last.contains('\n') && rest == "\n");
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            let read_keys: Vec<&str> = read["records"].as_array().unwrap().iter().map(|it| it["partitionKey"].as_str().unwrap()).collect();
            prop_assert_eq!(read_keys, keys);
            for it in read["records"].as_array().unwrap() {
                let encoded = it["data"].as_str().unwrap();
                prop_assert_eq!(base64_simd::STANDARD.decode_to_vec(encoded).unwrap(), data.clone());
            }
        }
    }
}
