//! Work that a consumer cannot avoid, by hand: read the shard, check the digest, take the protobuf apart, check that the
//! keys belong to the shard, look at the data. It shares no code with `kpl` or `kcl`, or it would move when they do.

use std::hint::black_box;

use aws_sdk_kinesis::{
    Client,
    config::retry::RetryConfig,
    operation::subscribe_to_shard::SubscribeToShardOutput,
    types::{Record, ShardIteratorType, StartingPosition, SubscribeToShardEventStream},
};
use kpl::HashKeyRange;
use md5::{Digest as _, Md5};

use super::canned_shards::{CONSUMER_ARN, CannedShards};

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
const DIGEST: usize = 16;

/// Processes a user record as an application does here: looks at each byte.
pub fn touch(data: &[u8]) -> u64 {
    data.iter().map(|byte| u64::from(*byte)).sum()
}

/// Reads the shards of a stream one after the other.
#[expect(missing_debug_implementations, reason = "of no use")]
pub struct ReadFloor {
    client: Client,
    canned: CannedShards,
    subscriptions: Vec<SubscribeToShardOutput>,
}

impl ReadFloor {
    /// For that stream.
    pub fn new(canned: &CannedShards) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(&canned.config()).retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(config.build()), canned: canned.clone(), subscriptions: Vec::new() }
    }

    /// Reads as many pages of each shard, by GetRecords. Returns the number of user records.
    pub async fn poll(&self, pages: u64) -> u64 {
        let mut records = 0;
        let shards = self.canned.shards().len();
        let mut iterators: Vec<String> = (0..shards).map(CannedShards::iterator).collect();
        for _ in 0..pages {
            for (shard, iterator) in iterators.iter_mut().enumerate() {
                let call = self.client.get_records().shard_iterator(std::mem::take(iterator)).limit(10_000);
                let answer = call.send().await.expect("the canned shards answer");
                *iterator = answer.next_shard_iterator.expect("the shard is open");
                records += process(&answer.records, self.canned.range(shard));
            }
        }
        records
    }

    /// Reads as many pages of each shard, by subscriptions. Returns the number of user records.
    pub async fn subscribed(&mut self, pages: u64) -> u64 {
        for shard in self.subscriptions.len()..self.canned.shards().len() {
            let start = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build();
            let call =
                self.client.subscribe_to_shard().consumer_arn(CONSUMER_ARN).shard_id(CannedShards::shard_id(shard));
            let call = call.starting_position(start.expect("it has a type"));
            self.subscriptions.push(call.send().await.expect("the canned shards answer"));
        }
        let mut records = 0;
        for (shard, subscription) in self.subscriptions.iter_mut().enumerate() {
            let mut left = pages;
            while left > 0 {
                let told = subscription.event_stream.recv().await.expect("the stream is well-formed");
                let Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) = told else { continue };
                // Without records it is a sign of life.
                left -= u64::from(!event.records.is_empty());
                records += process(&event.records, self.canned.range(shard));
            }
        }
        records
    }
}

/// Returns the number of user records.
fn process(records: &[Record], range: HashKeyRange) -> u64 {
    let range = (range.start.0, range.end.0);
    let (mut count, mut sum) = (0, 0_u64);
    let (mut keys, mut inner) = (Vec::new(), Vec::new());
    for record in records {
        let data = record.data.as_ref();
        if !take_apart(data, &mut keys, &mut inner) {
            sum = sum.wrapping_add(touch(data));
            count += 1;
            continue;
        }
        if !keys.iter().all(|key| belongs(key, range)) {
            continue;
        }
        for (key, data) in &inner {
            assert!(*key < keys.len(), "the aggregate is well-formed");
            sum = sum.wrapping_add(touch(data));
        }
        count += inner.len() as u64;
    }
    black_box(sum);
    count
}

fn belongs(key: &[u8], (start, end): (u128, u128)) -> bool {
    let hash = u128::from_be_bytes(Md5::digest(key).into());
    start <= hash && hash <= end
}

/// The keys of an aggregate, and of each record the key's index and the data. False if it is none.
fn take_apart<'a>(data: &'a [u8], keys: &mut Vec<&'a [u8]>, records: &mut Vec<(usize, &'a [u8])>) -> bool {
    keys.clear();
    records.clear();
    let Some(rest) = data.strip_prefix(&MAGIC).filter(|rest| rest.len() > DIGEST) else { return false };
    let (mut body, digest) = rest.split_at(rest.len() - DIGEST);
    if Md5::digest(body).as_slice() != digest {
        return false;
    }
    while let Some((tag, rest)) = body.split_first() {
        body = rest;
        let field = bytes(&mut body);
        match tag {
            0x0A => keys.push(field),
            0x1A => records.push(record(field)),
            _ => {}
        }
    }
    true
}

fn record(mut fields: &[u8]) -> (usize, &[u8]) {
    let (mut key, mut data): (usize, &[u8]) = (0, &[]);
    while let Some((tag, rest)) = fields.split_first() {
        fields = rest;
        match tag {
            0x08 => key = varint(&mut fields),
            0x1A => data = bytes(&mut fields),
            _ => panic!("no such field was written"),
        }
    }
    (key, data)
}

fn bytes<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let length = varint(from);
    let (taken, rest) = from.split_at(length);
    *from = rest;
    taken
}

fn varint(from: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = from.split_first().expect("the aggregate is well-formed");
        *from = rest;
        value |= usize::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    value
}
