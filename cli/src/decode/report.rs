//! Facts about a Kinesis record's data. Pure.

use bytes::Bytes;
use kpl::{
    HashKeyRange,
    aggregated::{AggregatedRecord, DIGEST_LEN, Enveloped, MAGIC, MalformedRecord, ParsedAggregate},
    compressed::{Frame, FrameReader},
};
use md5::{Digest as _, Md5};
use serde::Serialize;

use crate::{reading::shards::Shard, record_line::RecordLine, text};

/// Facts about a record's data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The frame that the rest was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    compressed: Option<Compressed>,
    bytes: usize,
    kind: Kind,
    /// Why they are no aggregate, or what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    partition_keys: Vec<String>,
    explicit_hash_keys: Vec<String>,
    records: Vec<UserRecordFacts>,
    /// Treatment by a KCL on each shard; on one that owns all hash keys if no stream is named.
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Compressed {
    codec: &'static str,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    dictionary: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Plain,
    Aggregate,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserRecordFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    hash_key: Option<String>,
    #[serde(flatten)]
    record: RecordLine,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_id: Option<String>,
    delivered: usize,
    dropped: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Report {
    pub(super) fn new(data: &Bytes, shards: &[Shard], frames: &FrameReader) -> Self {
        match frames.open(data) {
            None => Self::of_content(data, shards),
            Some(Err(error)) => Self { reason: Some(format!("not opened: {error}")), ..Self::of_plain(data) },
            Some(Ok(content)) => Self { compressed: Compressed::of(data), ..Self::of_content(&content, shards) },
        }
    }

    fn of_content(data: &Bytes, shards: &[Shard]) -> Self {
        let enveloped = Enveloped::of(data);
        match enveloped.as_ref().and_then(Enveloped::parse) {
            Some(aggregate) => Self::of_aggregate(data, &aggregate, shards),
            None => Self::of_plain(data),
        }
    }

    fn of_plain(data: &Bytes) -> Self {
        let record = UserRecordFacts { hash_key: None, record: RecordLine::default().with_data(data) };
        Self {
            compressed: None,
            bytes: data.len(),
            kind: Kind::Plain,
            reason: Some(why_plain(data)),
            digest: None,
            partition_keys: Vec::new(),
            explicit_hash_keys: Vec::new(),
            records: vec![record],
            verdicts: vec![Verdict { shard_id: None, delivered: 1, dropped: 0, reason: None }],
        }
    }

    fn of_aggregate(data: &Bytes, aggregate: &ParsedAggregate<'_>, shards: &[Shard]) -> Self {
        let hash_key = |key: &Result<_, _>| match key {
            Ok(key) => format!("{key}"),
            Err(reason) => format!("{reason}"),
        };
        let records: Vec<_> = aggregate.records().collect();
        let malformed = records.iter().filter(|record| record.is_err()).count();
        let everywhere = [(None, HashKeyRange::FULL)];
        let places = shards.iter().map(|shard| (Some(shard.id.to_string()), shard.range));
        let places = places.chain(everywhere.into_iter().filter(|_| shards.is_empty()));
        Self {
            compressed: None,
            bytes: data.len(),
            kind: Kind::Aggregate,
            reason: (malformed > 0).then(|| format!("{malformed} user records point outside of its tables")),
            digest: Some(hex(&data[data.len() - DIGEST_LEN..])),
            partition_keys: aggregate.partition_keys().iter().map(ToString::to_string).collect(),
            explicit_hash_keys: aggregate.explicit_hash_keys().iter().map(hash_key).collect(),
            verdicts: places.map(|(id, range)| verdict(aggregate, &records, id, &range)).collect(),
            records: records.into_iter().zip(0..).map(|(record, place)| facts(record, place)).collect(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut lines: Vec<String> = self.compressed.iter().map(Compressed::text).collect();
        lines.push(match self.kind {
            Kind::Plain => format!("plain record, {} bytes", self.bytes),
            Kind::Aggregate => {
                let records = text::counted(self.records.len() as u64, "user record");
                format!("aggregate, {} bytes, {records}", self.bytes)
            }
        });
        lines.extend(self.reason.clone());
        lines.extend(self.digest.as_ref().map(|digest| format!("digest {digest}, as it should be")));
        let table = |name: &str, keys: &[String]| {
            let keys =
                keys.iter().enumerate().map(|(place, key)| format!("  {place} {}", text::printable(key.as_bytes())));
            std::iter::once(format!("{name}:")).chain(keys).collect::<Vec<_>>()
        };
        if self.kind == Kind::Aggregate {
            lines.extend(table("partition keys", &self.partition_keys));
            if !self.explicit_hash_keys.is_empty() {
                lines.extend(table("explicit hash keys", &self.explicit_hash_keys));
            }
            lines.push("user records:".to_owned());
        }
        lines.extend(self.records.iter().map(UserRecordFacts::text));
        lines.extend(self.verdicts.iter().map(Verdict::text));
        lines.join("\n") + "\n"
    }
}

impl Compressed {
    fn of(data: &Bytes) -> Option<Self> {
        let frame = Frame::of(data)?.ok()?;
        Some(Self { codec: frame.codec(), bytes: data.len(), dictionary: frame.dictionary_id() })
    }

    fn text(&self) -> String {
        let dictionary = self.dictionary.map(|id| format!(" with dictionary {id}")).unwrap_or_default();
        format!("compressed record, {} bytes of {}{dictionary}, opaque to other libraries", self.bytes, self.codec)
    }
}

/// The reason why a consumer takes the data as they are.
fn why_plain(data: &[u8]) -> String {
    let Some(rest) = data.strip_prefix(&MAGIC) else {
        return "no aggregate: it does not begin with F3 89 9A C2".to_owned();
    };
    if rest.len() <= DIGEST_LEN {
        return "no aggregate: it ends before its digest".to_owned();
    }
    let (body, digest) = rest.split_at(rest.len() - DIGEST_LEN);
    let expected = Md5::digest(body);
    if expected[..] == *digest {
        return "no aggregate: its digest is right, and its body is no AggregatedRecord".to_owned();
    }
    format!("no aggregate: its digest is {}, and that of its body {}", hex(digest), hex(&expected))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn facts(record: Result<AggregatedRecord, MalformedRecord>, place: u64) -> UserRecordFacts {
    let line = RecordLine { sub_sequence_number: Some(place), ..RecordLine::default() };
    match record {
        Ok(record) => UserRecordFacts {
            hash_key: Some(record.hash_key().to_string()),
            record: RecordLine {
                partition_key: Some(record.partition_key.to_string()),
                explicit_hash_key: record.explicit_hash_key.map(|key| key.to_string()),
                ..line
            }
            .with_data(&record.data),
        },
        Err(malformed) => UserRecordFacts {
            hash_key: None,
            record: RecordLine { error: Some(malformed.reason.to_string()), ..line }.with_data(&malformed.data),
        },
    }
}

fn verdict(
    aggregate: &ParsedAggregate<'_>,
    records: &[Result<AggregatedRecord, MalformedRecord>],
    shard_id: Option<String>,
    range: &HashKeyRange,
) -> Verdict {
    let all = records.len();
    if aggregate.belongs_in(range) {
        // A KCL of Java delivers the user records before the first whose keys it cannot read.
        let sound = records.iter().position(Result::is_err).unwrap_or(all);
        let reason = (sound < all)
            .then(|| format!("user record {sound} is malformed: Java drops it and what follows, kcl delivers all"));
        return Verdict { shard_id, delivered: sound, dropped: all - sound, reason };
    }
    let is_foreign = |record: &&AggregatedRecord| !record.belongs_in(range);
    let foreign = records.iter().flatten().filter(is_foreign).collect::<Vec<_>>();
    let reason = match foreign.first() {
        Some(first) => {
            let key = text::printable(first.partition_key.as_bytes());
            format!(
                "{} of {all} belong to other shards, the first with key {key} and hash key {}",
                foreign.len(),
                first.hash_key()
            )
        }
        None => "an explicit hash key belongs to no shard".to_owned(),
    };
    Verdict { shard_id, delivered: 0, dropped: all, reason: Some(reason) }
}

impl UserRecordFacts {
    fn text(&self) -> String {
        let place =
            self.record.sub_sequence_number.map(|place| format!("  {place} ")).unwrap_or_else(|| "  ".to_owned());
        let key = self.record.partition_key.as_ref().map(|key| format!("{} ", text::printable(key.as_bytes())));
        let hash_key = self.record.explicit_hash_key.as_ref().map(|key| format!("@{key} "));
        let error = self.record.error.as_ref().map(|error| format!("({error}) "));
        let data = self.record.text.as_ref().map(|data| text::printable(data.as_bytes()));
        let data = data.or_else(|| self.record.data.as_ref().map(|data| format!("base64 {data}")));
        place + &[key, hash_key, error, data].into_iter().flatten().collect::<String>()
    }
}

impl Verdict {
    fn text(&self) -> String {
        let place = self.shard_id.clone().unwrap_or_else(|| "a shard that owns all hash keys".to_owned());
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("on {place} a KCL delivers {} and drops {}{reason}", self.delivered, self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use kpl::{
        HashKey, UserRecord,
        aggregated::Aggregate,
        compressed::{Compression, FrameWriter},
    };

    use super::*;

    /// `alpha` is in the lower half of the hash keys, `beta` in the upper one.
    fn alpha_and_beta() -> Bytes {
        let mut aggregate = Aggregate::new();
        aggregate.push(UserRecord::new("alpha", "hello"));
        aggregate.push(UserRecord::new("beta", "world").with_explicit_hash_key(HashKey(u128::MAX)));
        aggregate.encode()
    }

    #[test]
    fn names_tables_records_and_the_shards_that_drop_them() {
        let half = HashKeyRange { start: HashKey::MIN, end: HashKey(u128::MAX / 2) };
        let shard = Shard { id: "shardId-000000000000".into(), range: half, parents: Vec::new() };

        let text = Report::new(&alpha_and_beta(), &[shard], &FrameReader::new()).text();

        for expected in [
            "2 user records\n",
            "partition keys:\n  0 alpha\n  1 beta\n",
            "explicit hash keys:\n  0 340282366920938463463374607431768211455\n",
            "  0 alpha hello\n  1 beta @340282366920938463463374607431768211455 world\n",
            "on shardId-000000000000 a KCL delivers 0 and drops 2: 1 of 2 belong to other shards, the first with key beta",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(
            Report::new(&alpha_and_beta(), &[], &FrameReader::new())
                .text()
                .ends_with("hash keys a KCL delivers 2 and drops 0\n")
        );
    }

    #[test]
    fn looks_into_compressed_records() {
        let content = (0..20).fold(Aggregate::new(), |mut aggregate, _| {
            aggregate.push(UserRecord::new("alpha", "hello"));
            aggregate
        });
        let frame = FrameWriter::new(Compression::Zstd(1), None).frame(&content.encode()).unwrap();

        let opened = Report::new(&frame, &[], &FrameReader::new()).text();
        let head = format!("compressed record, {} bytes of zstd, opaque to other libraries\naggregate, ", frame.len());
        assert!(opened.starts_with(&head) && opened.contains("  19 alpha hello\n"), "{opened}");
        let unopened = Report::new(&frame.slice(..frame.len() - 1), &[], &FrameReader::new()).text();
        assert!(unopened.contains("\nnot opened: frame of "), "{unopened}");
    }

    #[test]
    fn says_why_data_are_no_aggregate() {
        let mut damaged = alpha_and_beta().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let body_of_junk = [&MAGIC[..], b"junk", &Md5::digest(b"junk")].concat();

        for (data, reason) in [
            (b"text".to_vec(), "does not begin with"),
            (MAGIC.to_vec(), "ends before its digest"),
            (damaged, "its digest is "),
            (body_of_junk, "its digest is right, and its body"),
        ] {
            let text = Report::new(&data.into(), &[], &FrameReader::new()).text();
            assert!(text.contains(reason) && text.contains("delivers 1 and drops 0"), "{text}");
        }
    }

    #[test]
    fn a_malformed_record_ends_what_java_delivers() {
        let body = b"\x0a\x05alpha\x1a\x06\x08\x00\x1a\x02ok\x1a\x07\x08\x05\x1a\x03bad";
        let data: Bytes = [&MAGIC[..], body, &Md5::digest(body)].concat().into();

        let text = Report::new(&data, &[], &FrameReader::new()).text();

        assert!(text.contains("  1 (partition key index 5 is outside of a table of 1) bad\n"), "{text}");
        assert!(text.contains("delivers 1 and drops 1: user record 1 is malformed"), "{text}");
    }
}
