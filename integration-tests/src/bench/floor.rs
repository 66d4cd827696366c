//! Work that a producer cannot avoid, by hand: hash the key, encode the record, hash the body, send it. It shares no code
//! with `kpl`, or it would move when that does.

use aws_sdk_kinesis::{Client, config::retry::RetryConfig, primitives::Blob, types::PutRecordsRequestEntry};
use aws_types::SdkConfig;
use kpl::HashKey;
use md5::{Digest as _, Md5};

use super::canned::Canned;

/// As the KPL and `kpl` limit an aggregate.
const AGGREGATE_BYTES: usize = 51_200;
/// Bytes of a request, as `kpl` limits them.
const REQUEST_BYTES: usize = 5 << 20;
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// One aggregate that is being filled.
#[derive(Default)]
struct Open {
    keys: Vec<u8>,
    records: Vec<u8>,
    count: u32,
    first: Option<HashKey>,
}

/// Fills aggregates, and sends them when there are enough, one request after the other.
#[expect(missing_debug_implementations, reason = "of no use")]
pub struct Floor {
    client: Client,
    canned: Canned,
    open: Vec<Open>,
    entries: Vec<PutRecordsRequestEntry>,
    max_entries: usize,
    bytes: usize,
}

impl Floor {
    /// Entries of a request, at the most.
    pub const MAX_ENTRIES: usize = 500;

    /// For the stream of as many shards, evenly divided.
    pub fn new(config: &SdkConfig, shards: usize) -> Self {
        let canned = Canned::new(shards as u128);
        let config = aws_sdk_kinesis::config::Builder::from(config).retry_config(RetryConfig::disabled());
        let open = (0..shards).map(|_| Open::default()).collect();
        let client = Client::from_conf(config.build());
        Self { client, canned, open, entries: Vec::new(), max_entries: Self::MAX_ENTRIES, bytes: 0 }
    }

    /// Sends so many aggregates at a time, at the most.
    pub fn entries_of_a_request(mut self, most: usize) -> Self {
        self.max_entries = most.clamp(1, Self::MAX_ENTRIES);
        self
    }

    /// Takes a record.
    pub async fn put(&mut self, key: &str, data: &[u8]) {
        let hash_key = HashKey::of_partition_key(key);
        let shard = self.canned.shard_of(hash_key);
        let open = &self.open[shard];
        if !open.records.is_empty()
            && open.keys.len() + open.records.len() + key.len() + data.len() + 32 > AGGREGATE_BYTES
        {
            self.close(shard).await;
        }
        let open = &mut self.open[shard];
        open.first.get_or_insert(hash_key);
        field(&mut open.keys, 0x0A, key.as_bytes());
        let index = open.count;
        open.records.push(0x1A);
        let length = 1 + varint_length(index.into()) + 1 + varint_length(data.len() as u64) + data.len();
        varint(&mut open.records, length as u64);
        open.records.push(0x08);
        varint(&mut open.records, index.into());
        field(&mut open.records, 0x1A, data);
        open.count += 1;
    }

    async fn close(&mut self, shard: usize) {
        let Open { keys, records, first, .. } = std::mem::take(&mut self.open[shard]);
        let mut body = Vec::with_capacity(MAGIC.len() + keys.len() + records.len() + 16);
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&keys);
        body.extend_from_slice(&records);
        let digest = Md5::digest(&body[MAGIC.len()..]);
        body.extend_from_slice(&digest);
        if self.entries.len() >= self.max_entries || self.bytes + body.len() > REQUEST_BYTES {
            self.send().await;
        }
        self.bytes += body.len();
        let hash_key = first.unwrap_or(HashKey::MIN);
        let entry = PutRecordsRequestEntry::builder()
            .partition_key("a")
            .explicit_hash_key(hash_key.to_string())
            .data(Blob::new(body))
            .build()
            .expect("key and data are set");
        self.entries.push(entry);
    }

    async fn send(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let sent = entries.len();
        let call = self.client.put_records().stream_name("StockTradeStream").set_records(Some(entries));
        let answer = call.send().await.expect("the canned Kinesis answers");
        assert_eq!((answer.failed_record_count(), answer.records().len()), (Some(0), sent));
        self.bytes = 0;
    }

    /// Sends what is left.
    pub async fn flush(&mut self) {
        for shard in 0..self.open.len() {
            if self.open[shard].count > 0 {
                self.close(shard).await;
            }
        }
        if !self.entries.is_empty() {
            self.send().await;
        }
    }
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
