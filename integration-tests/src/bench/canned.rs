//! An HTTP client of the AWS SDK that answers at once what Kinesis would, and stores nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_kinesis::config::{Credentials, Region, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use kpl::HashKey;

use super::thread_cpu_nanos;

/// A stream of as many shards, which divide the hash key space evenly.
#[derive(Debug, Clone)]
pub struct Canned {
    shards: u128,
    /// PutRecords is never answered.
    stalled: bool,
    counts: Arc<Counts>,
}

/// Counts of the requests so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// PutRecords requests.
    pub requests: AtomicU64,
    /// Their entries.
    pub entries: AtomicU64,
    /// Bytes of their bodies.
    pub bytes: AtomicU64,
    /// CPU time of the threads in which they were answered, in nanoseconds: the service's, not the client's.
    pub nanos: AtomicU64,
}

impl Canned {
    /// A stream of `shards` shards.
    pub fn new(shards: u128) -> Self {
        Self { shards, stalled: false, counts: Arc::default() }
    }

    /// From now on PutRecords is never answered.
    pub fn stalled(mut self) -> Self {
        self.stalled = true;
        self
    }

    /// For clients of the stream.
    pub fn config(&self) -> SdkConfig {
        answered_by(self.clone())
    }

    /// Counts of the requests so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// End of the shard.
    fn end(&self, shard: u128) -> u128 {
        if shard + 1 == self.shards { u128::MAX } else { (shard + 1) * self.width() - 1 }
    }

    fn width(&self) -> u128 {
        u128::MAX / self.shards + u128::from(self.shards.is_power_of_two() && self.shards > 1)
    }

    /// Number of the shard that a hash key belongs to.
    pub fn shard_of(&self, key: HashKey) -> usize {
        usize::try_from(if self.shards == 1 { 0 } else { (key.0 / self.width()).min(self.shards - 1) })
            .expect("there are not that many shards")
    }

    fn put_records(&self, body: &[u8]) -> String {
        const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";
        let mut answer = String::from(r#"{"FailedRecordCount":0,"Records":["#);
        let mut entries = 0;
        for key in hash_keys(body) {
            let shard = self.shard_of(key);
            let separator = if entries == 0 { "" } else { "," };
            answer.push_str(&format!(
                r#"{separator}{{"SequenceNumber":"{SEQUENCE_NUMBER}","ShardId":"shardId-{shard:012}"}}"#
            ));
            entries += 1;
        }
        answer.push_str("]}");
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.counts.entries.fetch_add(entries, Ordering::Relaxed);
        self.counts.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        answer
    }

    fn list_shards(&self) -> String {
        let shard = |number: u128| {
            let (start, end) = (number * self.width(), self.end(number));
            format!(
                r#"{{"ShardId":"shardId-{number:012}","HashKeyRange":{{"StartingHashKey":"{start}","EndingHashKey":"{end}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
            )
        };
        let shards: Vec<String> = (0..self.shards).map(shard).collect();
        format!(r#"{{"Shards":[{}]}}"#, shards.join(","))
    }
}

/// For clients whose calls are answered in the process.
pub fn answered_by(connector: impl HttpConnector + 'static) -> SdkConfig {
    let connector = SharedHttpConnector::new(connector);
    SdkConfig::builder()
        .behavior_version(aws_sdk_kinesis::config::BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys("canned", "canned", None)))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build()
}

/// Of the entries of a PutRecords request, in order: the explicit one, else that of the partition key.
fn hash_keys(body: &[u8]) -> impl Iterator<Item = HashKey> + '_ {
    // The SDK writes Data first, so the text between two of them is one entry, and base64 holds no quotes.
    memchr::memmem::find_iter(body, br#""Data":""#).map(|at| {
        let value = at + br#""Data":""#.len();
        let end = memchr::memchr(b'"', &body[value..]).map_or(body.len(), |length| value + length);
        let rest = &body[end..(end + 512).min(body.len())];
        let rest = &rest[..memchr::memchr(b'}', rest).unwrap_or(rest.len())];
        let explicit = text_of(rest, br#""ExplicitHashKey":""#).and_then(|digits| digits.parse().ok());
        let implied = || HashKey::of_partition_key(text_of(rest, br#""PartitionKey":""#).unwrap_or_default());
        explicit.unwrap_or_else(implied)
    })
}

/// The text behind `field` up to the next quote.
fn text_of<'a>(entry: &'a [u8], field: &[u8]) -> Option<&'a str> {
    let text = &entry[memchr::memmem::find(entry, field)? + field.len()..];
    std::str::from_utf8(&text[..memchr::memchr(b'"', text)?]).ok()
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let answer = match target.rsplit('.').next() {
            Some("PutRecords") if self.stalled => {
                return HttpConnectorFuture::new(async move {
                    let _held = request; // as a connection would
                    std::future::pending().await
                });
            }
            Some("PutRecords") => {
                let begun = thread_cpu_nanos();
                let answer = self.put_records(body);
                self.counts.nanos.fetch_add(thread_cpu_nanos() - begun, Ordering::Relaxed);
                answer
            }
            Some("ListShards") => self.list_shards(),
            _ => r#"{"StreamDescriptionSummary":{"StreamName":"s","StreamARN":"a","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":1.0,"EnhancedMonitoring":[],"OpenShardCount":1}}"#.to_owned(),
        };
        HttpConnectorFuture::new(async move {
            // A call over a network never completes at once.
            tokio::task::yield_now().await;
            let mut response = HttpResponse::new(200.try_into().expect("a status"), SdkBody::from(answer));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
            Ok(response)
        })
    }
}
