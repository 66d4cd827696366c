//! Random aggregated records for comparison with other implementations of the format: `.ci/peers aggregation`.
//!
//! A case is a line: the aggregated record in hexadecimal digits, a tab, and its user records separated by commas, each
//! partition key (hexadecimal), explicit hash key (decimal, or nothing) and data (hexadecimal) separated by colons. Some of
//! the records written have a trace context or a number in their tags, of which the case says nothing: no reader returns it.
//!
//! `write COUNT SEED` prints cases. `check` reads cases that others wrote, and wants the same bytes and the same records.
//!
//! `compress COUNT SEED` prints compressed records of all codecs: a frame, a tab, its content or `damaged`, a tab, and the
//! dictionary that it needs, or nothing; all in hexadecimal digits.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, Write as _},
    num::NonZero,
};

use bytes::Bytes;
use kpl::{
    HashKey, RecordNumber, TraceContext, UserRecord,
    aggregated::{Aggregate, Deaggregator},
    compressed::{Compression, Dictionary, FrameReader, FrameWriter},
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", count, seed] => write(count.parse()?, seed.parse()?),
        ["check"] => check(),
        ["compress", count, seed] => compress(count.parse()?, seed.parse()?),
        _ => Err("usage: aggregation_cases write COUNT SEED | check | compress COUNT SEED".into()),
    }
}

fn write(count: usize, seed: u64) -> Result<(), Failure> {
    let (mut rng, mut out) = (fastrand::Rng::with_seed(seed), io::BufWriter::new(io::stdout().lock()));
    for _ in 0..count {
        let records = random_records(&mut rng);
        let written = if rng.bool() { encoded(&records) } else { numbered(&records, &mut rng) };
        writeln!(out, "{}\t{}", to_hex(&written), shown(&records))?;
    }
    Ok(out.flush()?)
}

fn check() -> Result<(), Failure> {
    let mut cases = 0;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (aggregate, records) = line.split_once('\t').ok_or("no tab")?;
        let data = Bytes::from(from_hex(aggregate)?);
        let decoded = Deaggregator::new().deaggregate_strictly("outer", &data)?.records;
        let records_there = decoded.into_iter().map(|record| {
            let plain = UserRecord::new(&*record.partition_key, record.data);
            record.explicit_hash_key.into_iter().fold(plain, UserRecord::with_explicit_hash_key)
        });
        let records_there: Vec<_> = records_there.collect();
        cases += 1;
        if shown(&records_there) != records {
            return Err(format!("case {cases}: {} is decoded, {records} was encoded", shown(&records_there)).into());
        }
        if encoded(&records_there) != data {
            return Err(format!("case {cases}: encoded to other bytes than {aggregate}").into());
        }
    }
    println!("{cases} cases agree");
    if cases == 0 { Err("no cases".into()) } else { Ok(()) }
}

fn compress(count: usize, seed: u64) -> Result<(), Failure> {
    let (mut rng, mut out) = (fastrand::Rng::with_seed(seed), io::BufWriter::new(io::stdout().lock()));
    let trade = |rng: &mut fastrand::Rng| format!("{{\"ticker\":\"AMZN\",\"price\":{},\"side\":\"buy\"}}", rng.u16(..));
    let samples: Vec<String> = (0..1000).map(|_| trade(&mut rng)).collect();
    let dictionary = Dictionary::train(&samples.iter().map(String::as_bytes).collect::<Vec<_>>(), 4096)?;
    let writers = [
        (Compression::Gzip, None),
        (Compression::Lz4, None),
        (Compression::Zstd(rng.i32(-7..=19)), None),
        (Compression::Zstd(3), Some(dictionary)),
    ];
    let writers = writers.map(|(compression, dictionary)| FrameWriter::new(compression, dictionary));
    for number in 0..count {
        let writer = &writers[number % writers.len()];
        let (records, trades) = (random_records(&mut rng), rng.usize(2..50));
        let content = match rng.bool() {
            true => encoded(&[records.clone(), records].concat()),
            false => (0..trades).map(|_| trade(&mut rng)).collect::<String>().into(),
        };
        let Some(frame) = writer.frame(&content) else { continue };
        let known = writer.dictionary().map(|dictionary| to_hex(dictionary.bytes())).unwrap_or_default();
        writeln!(out, "{}\t{}\t{known}", to_hex(&frame), to_hex(&content))?;
        let mut damaged = frame.to_vec();
        let at = rng.usize(4..damaged.len());
        damaged[at] ^= rng.u8(1..);
        if FrameReader::new().open(&damaged.clone().into()).is_none_or(|opened| opened.is_ok()) {
            return Err(format!("case {number}: damage at {at} is not noticed").into());
        }
        writeln!(out, "{}\tdamaged\t{known}", to_hex(&damaged))?;
    }
    Ok(out.flush()?)
}

fn random_records(rng: &mut fastrand::Rng) -> Vec<UserRecord> {
    // Few keys, so that tables have fewer entries than there are records; every now and then, indexes of two bytes.
    let count = if rng.u8(..) == 0 { rng.usize(130..300) } else { rng.usize(2..20) };
    let (numbers, small) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
    let keys: Vec<String> = (0..rng.usize(1..=count)).map(|_| random_key(rng, numbers)).collect();
    let hash_keys: Vec<HashKey> = (0..rng.usize(1..=count)).map(|_| random_hash_key(rng, small)).collect();
    let (some, all, traced) = (rng.bool(), rng.bool(), rng.bool());
    let record = |rng: &mut fastrand::Rng| {
        let max_bytes = if rng.u8(..) < 4 { 20_000 } else { 200 };
        let data: Vec<u8> = (0..rng.usize(0..max_bytes)).map(|_| rng.u8(..)).collect();
        let record = UserRecord::new(keys[rng.usize(..keys.len())].as_str(), data);
        let record = match some && (all || rng.bool()) {
            true => record.with_explicit_hash_key(hash_keys[rng.usize(..hash_keys.len())]),
            false => record,
        };
        match traced && rng.bool() {
            true => record.with_trace_context(random_context(rng)),
            false => record,
        }
    };
    (0..count).map(|_| record(rng)).collect()
}

fn random_key(rng: &mut fastrand::Rng, numbers: bool) -> String {
    match rng.u8(..3) {
        0 if numbers => rng.u32(..).to_string(),
        0 | 1 => (0..rng.usize(1..20)).map(|_| rng.alphabetic()).collect(),
        _ => (0..rng.usize(1..=256)).map(|_| rng.char('\u{20}'..'\u{1f6ff}')).collect(),
    }
}

fn random_hash_key(rng: &mut fastrand::Rng, small: bool) -> HashKey {
    match rng.u8(..4) {
        0 if small => HashKey(rng.u128(..10)),
        1 => HashKey(u128::MAX - rng.u128(..10)),
        _ => HashKey(rng.u128(..)),
    }
}

fn random_context(rng: &mut fastrand::Rng) -> TraceContext {
    let (trace_id, parent_id, flags) = (rng.u128(1..), rng.u64(1..), rng.u8(..4));
    let parent = TraceContext::parse(&format!("00-{trace_id:032x}-{parent_id:016x}-0{flags}")).expect("a traceparent");
    let tracestate = format!("vendor={}", "s".repeat(rng.usize(1..300)));
    if rng.bool() { parent.with_tracestate(&tracestate).expect("a tracestate") } else { parent }
}

fn encoded(records: &[UserRecord]) -> Bytes {
    let mut aggregate = Aggregate::new();
    records.iter().for_each(|record| aggregate.push(record));
    aggregate.encode()
}

/// The same with numbers, in runs.
fn numbered(records: &[UserRecord], rng: &mut fastrand::Rng) -> Bytes {
    let (mut aggregate, mut next) = (Aggregate::new(), rng.u64(..1 << 40));
    let series = NonZero::new(rng.u64(1..)).expect("not zero");
    for record in records {
        next += if rng.u8(..8) == 0 { rng.u64(1..100) } else { 1 };
        aggregate.push_numbered(record, RecordNumber::new(series, next));
    }
    aggregate.encode()
}

fn shown(records: &[UserRecord]) -> String {
    let one = |record: &UserRecord| {
        let hash_key = record.explicit_hash_key().map(|key| key.to_string()).unwrap_or_default();
        format!("{}:{hash_key}:{}", to_hex(record.partition_key().as_bytes()), to_hex(record.data()))
    };
    records.iter().map(one).collect::<Vec<_>>().join(",")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes everything
        text
    })
}

fn from_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let pair = |at: usize| Ok(u8::from_str_radix(text.get(at..at + 2).ok_or("an odd number of digits")?, 16)?);
    (0..text.len()).step_by(2).map(pair).collect()
}
