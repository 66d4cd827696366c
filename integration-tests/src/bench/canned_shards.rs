//! An HTTP client of the AWS SDK that gives, at once, what the shards of a full stream would.
//!
//! A shard gives as many pages as it was [granted](CannedShards::grant), in answers as small as they are asked for, then
//! nothing until it is granted more.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use kpl::{HashKey, HashKeyRange, UserRecord};
use tokio::sync::Notify;

use super::{
    canned::answered_by,
    canned_events,
    pages::{Content, Load, Page},
};

/// Of a consumer that the stream takes for its own.
pub const CONSUMER_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/StockTradeStream/consumer/bench:1";
/// Iterators of the service are about as long.
const ITERATOR_LENGTH: usize = 220;
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const MAX_LIMIT: u64 = 10_000;
/// Distance to the tip that a shard reports while it has more records.
const BEHIND_MILLIS: u32 = 3_600_000;

/// A stream whose shards divide the hash key space evenly, all full of the same load: records under partition keys of their own.
#[derive(Debug, Clone)]
pub struct CannedShards {
    shards: Arc<Vec<CannedShard>>,
}

/// One of its shards.
#[derive(Debug)]
pub struct CannedShard {
    range: HashKeyRange,
    /// Records that it returns.
    pub page: Arc<Page>,
    /// Kinesis records that it may give, and those that it gave.
    granted: AtomicU64,
    given: AtomicU64,
    /// Wakes a subscription that waits for more.
    pub(super) more: Notify,
}

impl CannedShard {
    fn new(range: HashKeyRange, page: Arc<Page>) -> Self {
        Self { range, page, granted: AtomicU64::new(0), given: AtomicU64::new(0), more: Notify::new() }
    }

    /// The next answer, of up to `limit` Kinesis records, with what `beside` says stands beside them, given how many were
    /// given up to its last and how far it is behind.
    pub(super) fn next(&self, limit: usize, beside: impl FnOnce(u64, u32) -> String) -> Option<Vec<u8>> {
        let given = self.given.load(Ordering::Relaxed);
        let left = self.granted.load(Ordering::Relaxed).checked_sub(given).filter(|left| *left > 0)?;
        let of_page = self.page.stored() as u64 - given % self.page.stored() as u64;
        let count = of_page.min(limit as u64).min(left);
        self.given.store(given + count, Ordering::Relaxed);
        let beside = beside(given + count, if left > count { BEHIND_MILLIS } else { 0 });
        Some(self.page.answer(given, count as usize, &beside))
    }

    fn get_records(&self, iterator: &str, limit: usize) -> Vec<u8> {
        let beside = |behind| format!(r#""NextShardIterator":"{iterator}","MillisBehindLatest":{behind}"#);
        self.next(limit, |_, behind| beside(behind))
            .unwrap_or_else(|| format!(r#"{{"Records":[],{}}}"#, beside(0)).into_bytes())
    }
}

/// Of as many shards, in order.
fn ranges(shards: u128) -> Vec<HashKeyRange> {
    let width = u128::MAX / shards;
    let end = |number: u128| if number + 1 == shards { u128::MAX } else { (number + 1) * width - 1 };
    let range = |number| HashKeyRange { start: HashKey(number * width), end: HashKey(end(number)) };
    (0..shards).map(range).collect()
}

impl CannedShards {
    /// A stream of `shards` shards.
    pub fn new(shards: usize, load: Load) -> Self {
        let ranges = ranges(shards as u128);
        let mut keys = vec![Vec::new(); shards];
        let mut full = 0;
        for key in (0_u64..).map(|n| format!("key-{n}")) {
            let hash_key = HashKey::of_partition_key(&key);
            let shard = ranges.partition_point(|range| range.end < hash_key);
            if keys[shard].len() == load.page_records() {
                continue;
            }
            keys[shard].push(key);
            full += usize::from(keys[shard].len() == load.page_records());
            if full == shards {
                break;
            }
        }
        let pages = keys.into_iter().map(|keys| Arc::new(Page::of(load, keys)));
        let shards = ranges.into_iter().zip(pages).map(|(range, page)| CannedShard::new(range, page));
        Self { shards: Arc::new(shards.collect()) }
    }

    /// A stream of `shards` shards, each with those of the records that belong to it.
    pub fn of(shards: usize, content: Content<'_>) -> Self {
        let shard = |range: HashKeyRange| {
            let is_own = |record: &&UserRecord| range.contains(HashKey::of_partition_key(record.partition_key()));
            let records: Vec<&UserRecord> = content.records.iter().filter(is_own).collect();
            CannedShard::new(range, Arc::new(Page::of_records(&records, content.writer)))
        };
        Self { shards: Arc::new(ranges(shards as u128).into_iter().map(shard).collect()) }
    }

    /// A stream of `shards` shards that return the same page, one copy of it: plain records belong everywhere.
    pub fn alike(shards: usize, load: Load) -> Self {
        let keys = (0..load.page_records()).map(|n| format!("key-{n}")).collect();
        let page = Arc::new(Page::of(load, keys));
        let shards = ranges(shards as u128).into_iter().map(|range| CannedShard::new(range, Arc::clone(&page)));
        Self { shards: Arc::new(shards.collect()) }
    }

    /// Another stream with the same records, of which nothing is given yet.
    pub fn again(&self) -> Self {
        let shard = |shard: &CannedShard| CannedShard::new(shard.range, Arc::clone(&shard.page));
        Self { shards: Arc::new(self.shards.iter().map(shard).collect()) }
    }

    /// For clients of the stream.
    pub fn config(&self) -> SdkConfig {
        answered_by(self.clone())
    }

    /// Lets each shard give as many more pages. Returns how many user records these hold.
    pub fn grant(&self, pages: u64) -> u64 {
        for shard in self.shards.iter() {
            shard.granted.fetch_add(pages * shard.page.stored() as u64, Ordering::Relaxed);
            shard.more.notify_one();
        }
        self.shards.iter().map(|shard| shard.page.user_records as u64 * pages).sum()
    }

    /// Its shards.
    pub fn shards(&self) -> &[CannedShard] {
        &self.shards
    }

    /// The hash key range of a shard.
    pub fn range(&self, shard: usize) -> HashKeyRange {
        self.shards[shard].range
    }

    /// As the service would name it.
    pub fn shard_id(shard: usize) -> String {
        format!("shardId-{shard:012}")
    }

    /// An iterator of a shard.
    pub fn iterator(shard: usize) -> String {
        format!("{shard:0>ITERATOR_LENGTH$}")
    }

    fn list_shards(&self) -> String {
        let listed = |(number, shard): (usize, &CannedShard)| {
            let (id, HashKeyRange { start, end }) = (Self::shard_id(number), shard.range);
            format!(
                r#"{{"ShardId":"{id}","HashKeyRange":{{"StartingHashKey":"{start}","EndingHashKey":"{end}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
            )
        };
        let shards: Vec<String> = self.shards.iter().enumerate().map(listed).collect();
        format!(r#"{{"Shards":[{}]}}"#, shards.join(","))
    }

    fn answer(&self, target: &str, body: &[u8]) -> SdkBody {
        let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let number_of = |id: &str| id.trim_start_matches("shardId-").parse::<usize>().unwrap_or_default();
        match target {
            "GetRecords" => {
                let iterator = text("ShardIterator");
                // A page is one answer for who asks for as much as there is.
                let limit = asked["Limit"].as_u64().filter(|limit| *limit < MAX_LIMIT);
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                SdkBody::from(self.shards[number_of(iterator)].get_records(iterator, limit))
            }
            "GetShardIterator" => {
                let iterator = Self::iterator(number_of(text("ShardId")));
                SdkBody::from(format!(r#"{{"ShardIterator":"{iterator}"}}"#))
            }
            "SubscribeToShard" => canned_events::body(Arc::clone(&self.shards), number_of(text("ShardId"))),
            "ListShards" => SdkBody::from(self.list_shards()),
            _ => SdkBody::from(
                r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1.0,"EnhancedMonitoring":[],"OpenShardCount":1}}"#,
            ),
        }
    }
}

impl HttpConnector for CannedShards {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let shards = self.clone();
        HttpConnectorFuture::new(async move {
            // A call over a network never completes at once.
            tokio::task::yield_now().await;
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let target = target.rsplit('.').next().unwrap_or_default();
            let body = shards.answer(target, request.body().bytes().unwrap_or_default());
            let mut response = HttpResponse::new(200.try_into().expect("a status"), body);
            let content_type = if target == "SubscribeToShard" {
                "application/vnd.amazon.eventstream"
            } else {
                "application/x-amz-json-1.1"
            };
            response.headers_mut().insert("content-type", content_type);
            Ok(response)
        })
    }
}
