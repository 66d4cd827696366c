//! The loop that an application without a producer writes: it sends each record as an entry of PutRecords, as many as fit.

use aws_sdk_kinesis::{Client, config::retry::RetryConfig, primitives::Blob, types::PutRecordsRequestEntry};
use aws_types::SdkConfig;

/// Maximum entries of a request, of the service.
const MAX_ENTRIES: usize = 500;
/// Bytes of a request, as `kpl` limits them.
const REQUEST_BYTES: usize = 5 << 20;

/// Collects entries and sends them, one request after the other.
#[expect(missing_debug_implementations, reason = "of no use")]
pub struct ByHand {
    client: Client,
    entries: Vec<PutRecordsRequestEntry>,
    bytes: usize,
}

impl ByHand {
    /// Sends through a client of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(config).retry_config(RetryConfig::disabled());
        Self { client: Client::from_conf(config.build()), entries: Vec::new(), bytes: 0 }
    }

    /// Takes a record.
    pub async fn put(&mut self, key: &str, data: &[u8]) {
        let bytes = key.len() + data.len();
        if self.entries.len() == MAX_ENTRIES || self.bytes + bytes > REQUEST_BYTES {
            self.flush().await;
        }
        self.bytes += bytes;
        let entry = PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.to_vec())).build();
        self.entries.push(entry.expect("key and data are set"));
    }

    /// Sends what is left.
    pub async fn flush(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let sent = entries.len();
        self.bytes = 0;
        if sent > 0 {
            let call = self.client.put_records().stream_name("StockTradeStream").set_records(Some(entries));
            let answer = call.send().await.expect("Kinesis answers");
            assert_eq!((answer.failed_record_count(), answer.records().len()), (Some(0), sent));
        }
    }
}
