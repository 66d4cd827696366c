//! The event source mapping of a shard, with `ReportBatchItemFailures` and `BisectBatchOnFunctionError`: reads the shard, invokes the
//! function with batches, and delivers again from the record that it reports.

use std::{collections::VecDeque, time::Duration};

use anyhow::Context as _;
use aws_sdk_kinesis::{
    Client,
    types::{Record, ShardIteratorType},
};
use serde_json::{Value, json};

use super::{FunctionError, RuntimeApi};

/// The event of these records.
pub fn event_of(stream_arn: &str, shard_id: &str, records: &[Record]) -> Value {
    let record = |record: &Record| {
        // Of milliseconds, as Lambda has them: a sum of seconds and a fraction may have more digits.
        let arrival = record.approximate_arrival_timestamp().and_then(|time| time.to_millis().ok()).unwrap_or(0);
        json!({
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": format!("{shard_id}:{}", record.sequence_number()),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/local",
            "awsRegion": "us-east-1",
            "eventSourceARN": stream_arn,
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key(),
                "sequenceNumber": record.sequence_number(),
                "data": base64_simd::STANDARD.encode_to_string(record.data().as_ref()),
                "approximateArrivalTimestamp": arrival as f64 / 1000.0,
            },
        })
    };
    json!({ "Records": records.iter().map(record).collect::<Vec<_>>() })
}

/// The mapping of one shard to a function.
#[derive(Debug)]
pub struct EventSource {
    stream_arn: String,
    shard_id: String,
    /// Records that were read and not processed.
    left: VecDeque<Record>,
}

impl EventSource {
    /// Reads a shard from its oldest record to its tip.
    ///
    /// # Errors
    /// As the calls to Kinesis.
    pub async fn read(kinesis: &Client, stream_arn: &str, shard_id: &str) -> anyhow::Result<Self> {
        let iterator = kinesis.get_shard_iterator().stream_arn(stream_arn).shard_id(shard_id);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
        let (mut iterator, mut left) = (iterator.shard_iterator, VecDeque::new());
        while let Some(at) = iterator.take() {
            let page = kinesis.get_records().stream_arn(stream_arn).shard_iterator(at).send().await?;
            let is_tip = page.records.is_empty() && page.millis_behind_latest == Some(0);
            left.extend(page.records);
            iterator = page.next_shard_iterator.filter(|_| !is_tip);
        }
        Ok(Self { stream_arn: stream_arn.to_owned(), shard_id: shard_id.to_owned(), left })
    }

    /// Number of Kinesis records that are not processed.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// Invokes the function until all is processed, with at most `batch_size` Kinesis records at a time and this time for each
    /// invocation. Returns the number of invocations.
    ///
    /// # Errors
    /// If `max_invocations` were not enough, or the function answers something else than batch item failures of its batch.
    pub async fn drive(
        &mut self,
        function: &RuntimeApi,
        batch_size: usize,
        granted: Duration,
        max_invocations: usize,
    ) -> anyhow::Result<usize> {
        let mut size = batch_size;
        for invocations in 0..max_invocations {
            let batch: Vec<Record> = self.left.iter().take(size).cloned().collect();
            if batch.is_empty() {
                return Ok(invocations);
            }
            let done = match function.invoke(event_of(&self.stream_arn, &self.shard_id, &batch), granted).await {
                Ok(answer) => done_of(&batch, &answer)?,
                Err(FunctionError::Ended) => anyhow::bail!(FunctionError::Ended),
                Err(error) => {
                    tracing::info!(%error, records = batch.len(), "batch is halved");
                    size = batch.len().div_ceil(2);
                    continue;
                }
            };
            self.left.drain(..done);
            size = batch_size;
        }
        anyhow::ensure!(self.left.is_empty(), "{} records are left after {max_invocations} invocations", self.left());
        Ok(max_invocations)
    }
}

/// Number of the batch's first records that are done.
fn done_of(batch: &[Record], answer: &Value) -> anyhow::Result<usize> {
    let failures = answer.get("batchItemFailures").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let place = |failure: &Value| {
        let number = failure.get("itemIdentifier").and_then(Value::as_str).context("a failure without a name")?;
        batch
            .iter()
            .position(|record| record.sequence_number() == number)
            .with_context(|| format!("no record {number}"))
    };
    let places = failures.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(places.into_iter().min().unwrap_or(batch.len()))
}
