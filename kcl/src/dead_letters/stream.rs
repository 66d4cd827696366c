//! SHELL: dead letters in another stream.

use std::sync::Arc;

use aws_sdk_kinesis::{Client, primitives::Blob};
use aws_types::SdkConfig;

use crate::{error::BoxError, settings::error_policy::FailedRecords};

/// Record limit of a stream that was not given a larger one, partition key included.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Another stream for dead letters, a [`DeadLetter`](crate::DeadLetter) in each Kinesis record, under the partition key of the
/// record that was given up. A letter above the stream's limit is put without its data. Needs `kinesis:PutRecord`.
///
/// ```
/// use kcl::{DeadLetterStream, ErrorPolicy};
///
/// # fn example(aws: &aws_types::SdkConfig) -> ErrorPolicy {
/// let letters = DeadLetterStream::new(aws, "orders-dead-letters");
/// ErrorPolicy::dead_letter_after(3, move |failed| letters.keep(failed)).isolate()
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetterStream {
    client: Client,
    stream: Arc<str>,
    max_record_bytes: usize,
}

impl DeadLetterStream {
    /// A stream by its name or ARN. Not the stream of the application itself: its letters would come back.
    pub fn new(aws: &SdkConfig, stream: impl Into<Arc<str>>) -> Self {
        Self { client: Client::new(aws), stream: stream.into(), max_record_bytes: MAX_RECORD_BYTES }
    }

    /// Sets the stream's limit of a record, partition key included. Default 1 MiB, a stream's `MaxRecordSizeInKiB` unless it
    /// was raised, at most to 10 MiB.
    #[must_use = "the stream is returned with its limit set"]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Puts the records one by one, with the client's retries; returns once they are stored.
    ///
    /// # Errors
    /// A letter cannot be stored. The records are tried again, and those before may then be in the stream twice.
    ///
    /// # Cancellation
    /// Some of the letters may be stored.
    pub fn keep(&self, failed: FailedRecords) -> impl Future<Output = Result<(), BoxError>> + Send + use<> {
        let letters = self.clone();
        async move {
            for letter in failed.letters() {
                let json =
                    letter.to_json_within(letters.max_record_bytes.saturating_sub(letter.partition_key.len()))?;
                letters.put(letter.partition_key, json).await?;
            }
            Ok(())
        }
    }

    async fn put(&self, partition_key: String, json: String) -> Result<(), BoxError> {
        let put = self.client.put_record().partition_key(partition_key).data(Blob::new(json));
        let put = if self.stream.starts_with("arn:") {
            put.stream_arn(&*self.stream)
        } else {
            put.stream_name(&*self.stream)
        };
        put.send().await?;
        Ok(())
    }
}
