//! A consumer and producer in the shape of an AWS Lambda function: reads batches of records, aggregated or not, and puts
//! the large trades into another stream.
//!
//! With the crate `lambda_runtime`, `main` makes one [`Handler`] and passes every event to [`Handler::handle`]. The event
//! source mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.

use bytes::Bytes;
use kpl::{Producer, UserRecord, aggregated::Deaggregator};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::trade::Trade;

/// The event that AWS Lambda passes for a batch of Kinesis records, without the fields that are not used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KinesisEvent {
    /// Records of one shard, in order.
    pub records: Vec<EventRecord>,
}

/// A record of the event.
#[derive(Debug, Deserialize)]
pub struct EventRecord {
    /// The Kinesis record.
    pub kinesis: KinesisRecord,
}

/// A Kinesis record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KinesisRecord {
    /// `a` if the record is an aggregate of the KPL.
    pub partition_key: String,
    /// Its sequence number.
    pub sequence_number: String,
    /// Its data, in base64.
    pub data: String,
}

/// The answer to AWS Lambda, which delivers the records again from the first failure on.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The first failure, if any.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A Kinesis record that was not processed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// The function's handler. Make one per instance: the producer's connections and shard map live as long.
#[derive(Debug, Clone)]
pub struct Handler {
    producer: Producer,
    /// Minimum value of a large trade, in dollars.
    large: f64,
}

impl Handler {
    /// Puts trades of at least `large` dollars into the stream of `producer`.
    pub fn new(producer: Producer, large: f64) -> Self {
        Self { producer, large }
    }

    /// Handles one invocation. When it returns, everything is stored or reported: between invocations the instance is
    /// frozen, and nothing would be sent.
    pub async fn handle(&self, event: KinesisEvent) -> BatchResponse {
        let (mut sources, mut records) = (Vec::new(), Vec::new());
        for EventRecord { kinesis } in &event.records {
            for record in self.large_trades(kinesis) {
                sources.push(&kinesis.sequence_number);
                records.push(record);
            }
        }
        // Records of one shard come in order, and outcomes in the order of the records: the first failure is where to go on.
        let outcomes = self.producer.put_all(records).await;
        let failed = outcomes.into_iter().zip(sources).find_map(|(outcome, source)| Some((outcome.err()?, source)));
        let failure = failed.map(|(error, source)| {
            warn!(sequence_number = %source, %error, "trade not forwarded");
            BatchItemFailure { item_identifier: source.clone() }
        });
        BatchResponse { batch_item_failures: failure.into_iter().collect() }
    }

    fn large_trades(&self, kinesis: &KinesisRecord) -> Vec<UserRecord> {
        let Ok(data) = base64_simd::STANDARD.decode_to_vec(&kinesis.data) else {
            warn!(sequence_number = %kinesis.sequence_number, "data are not base64");
            return Vec::new();
        };
        let user_records = Deaggregator::new().deaggregate(&kinesis.partition_key, &Bytes::from(data)).records;
        let mut large = Vec::new();
        for record in user_records {
            match Trade::from_json(&record.data) {
                Ok(trade) if trade.price * trade.quantity as f64 >= self.large => {
                    large.push(UserRecord::new(&*record.partition_key, record.data));
                }
                Ok(_) => {}
                Err(error) => warn!(sequence_number = %kinesis.sequence_number, %error, "not a trade"),
            }
        }
        large
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::Client;
    use kinesis_local::LocalAws;
    use kpl::aggregated::Aggregate;

    use super::*;
    use crate::trade::TradeType;

    fn trade(id: i64, price: f64) -> UserRecord {
        let ticker_symbol = "AMZN".to_owned();
        let trade = Trade { ticker_symbol, trade_type: TradeType::Buy, price, quantity: 10, id };
        UserRecord::new("AMZN", trade.to_json())
    }

    fn event_record(sequence_number: u64, partition_key: &str, data: &[u8]) -> EventRecord {
        let data = base64_simd::STANDARD.encode_to_string(data);
        let (partition_key, sequence_number) = (partition_key.to_owned(), sequence_number.to_string());
        EventRecord { kinesis: KinesisRecord { partition_key, sequence_number, data } }
    }

    /// An aggregate of a small, a large and a small trade, a plain large one, and one that is no trade.
    fn event() -> KinesisEvent {
        let mut aggregate = Aggregate::new();
        [trade(1, 1.0), trade(2, 500.0), trade(3, 2.0)].into_iter().for_each(|trade| aggregate.push(trade));
        let records = vec![
            event_record(100, "a", &aggregate.encode()),
            event_record(101, "AMZN", trade(4, 700.0).data()),
            event_record(102, "x", b"no trade"),
        ];
        KinesisEvent { records }
    }

    async fn handler(local: &LocalAws) -> Handler {
        let aws = local.sdk_config();
        let created = Client::new(&aws).create_stream().stream_name("LargeTrades").shard_count(1).send().await;
        created.expect("stream is new");
        Handler::new(Producer::builder(&aws, "LargeTrades").build().expect("valid settings"), 1000.0)
    }

    #[tokio::test(start_paused = true)]
    async fn large_trades_are_forwarded_at_the_end_of_the_invocation() {
        let local = LocalAws::start().await;
        let handler = handler(&local).await;

        assert_eq!(handler.handle(event()).await, BatchResponse::default());

        let kinesis = Client::new(&local.sdk_config());
        let iterator = kinesis.get_shard_iterator().stream_name("LargeTrades").shard_id("shardId-000000000000");
        let iterator =
            iterator.shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon).send().await;
        let iterator = iterator.expect("a shard").shard_iterator;
        let found = kinesis.get_records().set_shard_iterator(iterator).send().await.expect("records");
        let taken_apart = found.records().iter().flat_map(|record| {
            let data = Bytes::copy_from_slice(record.data().as_ref());
            Deaggregator::new().deaggregate(record.partition_key().unwrap_or_default(), &data).records
        });
        let ids: Vec<_> = taken_apart.map(|record| Trade::from_json(&record.data).expect("a trade").id).collect();
        assert_eq!(ids, [2, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_batch_is_delivered_again_from_the_first_failure_on() {
        let local = LocalAws::start().await;
        let handler = handler(&local).await;
        local.deny("kinesis:PutRecords");

        let response = handler.handle(event()).await;

        let text = serde_json::to_string(&response).expect("serializable");
        assert_eq!(text, r#"{"batchItemFailures":[{"itemIdentifier":"100"}]}"#);
    }

    #[test]
    fn events_are_read_as_aws_lambda_sends_them() {
        let event = r#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"495","data":
            "SGVsbG8=","approximateArrivalTimestamp":1545084650.987},"eventSource":"aws:kinesis","eventVersion":"1.0"}]}"#;

        let event: KinesisEvent = serde_json::from_str(event).expect("readable");

        assert_eq!(event.records[0].kinesis.sequence_number, "495");
    }
}
