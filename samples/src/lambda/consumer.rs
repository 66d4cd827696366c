//! A function that processes the user records of Lambda's Kinesis events, aggregated and compressed ones too, and reports where a
//! batch failed.

mod batch;
mod event;
mod progress;
mod ranges;

use std::sync::Arc;

use aws_lambda_events::{kinesis::KinesisEvent, streams::KinesisEventResponse};
use kpl::compressed::FrameReader;
use tokio::time::timeout_at;

pub use self::{
    batch::{Batch, FunctionRecord, KinesisRecord, Progress, Unfinished},
    event::EventError,
    progress::{ProgressError, ProgressTable},
    ranges::{Listing, Ranges, RangesError},
};
use super::TimeLeft;

/// An error of the application's code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reason why nothing of an event was processed. Lambda delivers it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The event is not what Lambda sends.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The progress of earlier invocations cannot be read.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// The hash keys of the shard cannot be read.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// DynamoDB or Kinesis did not answer while there was time.
    #[error("progress and shards were not read before the end of the invocation")]
    NoTime,
}

/// End of an invocation's work.
enum End {
    /// All records are done.
    Done,
    /// The last record failed.
    Failed,
    /// No time was left for the last record.
    NotBegun,
}

/// Processes batches of one event source mapping. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Consumer {
    ranges: Arc<Ranges>,
    frames: FrameReader,
    progress: Option<ProgressTable>,
}

impl Consumer {
    /// Consumer that delivers every aggregate, wherever it was found, and keeps no progress.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out aggregates that do not wholly belong to their shard, as a KCL does. Default: [`Ranges::Unchecked`].
    #[must_use = "the consumer is returned with the ranges set"]
    pub fn with_ranges(self, ranges: Ranges) -> Self {
        Self { ranges: Arc::new(ranges), ..self }
    }

    /// Reader of compressed records: its dictionaries, and its limit.
    #[must_use = "the consumer is returned with the reader set"]
    pub fn with_frames(self, frames: FrameReader) -> Self {
        Self { frames, ..self }
    }

    /// Keeps the progress within a Kinesis record that failed. Default: none, and the user records before the failed one are
    /// processed again.
    #[must_use = "the consumer is returned with the table set"]
    pub fn with_progress(self, table: ProgressTable) -> Self {
        Self { progress: Some(table), ..self }
    }

    /// Processes the user records of an event one after the other, up to the first that fails or for which no time is left, and
    /// returns what Lambda delivers again: that record's Kinesis record and all after it. Needs `ReportBatchItemFailures`.
    ///
    /// # Errors
    /// If nothing was processed; the whole event is delivered again.
    ///
    /// # Cancellation
    /// Dropping the future leaves a record half processed, and its progress not noted.
    pub async fn process(
        &self,
        event: KinesisEvent,
        time: TimeLeft,
        process: impl AsyncFn(&FunctionRecord) -> Result<(), BoxError>,
    ) -> Result<KinesisEventResponse, ConsumerError> {
        let mut batch = timeout_at(time.end(), self.batch(event)).await.map_err(|_| ConsumerError::NoTime)??;
        let end = run(&mut batch, time, process).await;
        let outlived = batch.take_outlived();
        let unfinished = match end {
            End::Done => None,
            End::Failed => batch.failed(),
            End::NotBegun => batch.not_begun(),
        };
        if timeout_at(time.answer(), self.note(unfinished.as_ref(), &outlived)).await.is_err() {
            tracing::error!(
                "progress is not noted before the end of the invocation: user records may be processed again"
            );
        }
        let mut response = KinesisEventResponse::default();
        if let Some(unfinished) = unfinished {
            response.add_failure(unfinished.record.sequence_number.as_str());
        }
        Ok(response)
    }

    /// The batch of an event, with the progress of earlier invocations.
    async fn batch(&self, event: KinesisEvent) -> Result<Batch, ConsumerError> {
        let records = event::kinesis_records(event)?;
        let known = match &self.progress {
            Some(table) => table.load(&records).await?,
            None => Vec::new(),
        };
        let records = self.ranges.complete(records).await?;
        Ok(Batch::new(records, known, self.frames.clone()))
    }

    /// Notes the progress, and forgets that of completed records.
    async fn note(&self, unfinished: Option<&Unfinished>, outlived: &[KinesisRecord]) {
        if let Some(unfinished) = unfinished {
            self.keep(unfinished).await;
        }
        for record in outlived {
            self.forget(record).await;
        }
    }

    /// Deletes the progress of a completed record. A failure is one only for a replay of the stream.
    async fn forget(&self, record: &KinesisRecord) {
        let Some(table) = &self.progress else { return };
        if let Err(error) = table.delete(record).await {
            let sequence_number = record.sequence_number.as_str();
            tracing::error!(sequence_number, %error, "progress is not deleted: a replay will leave out user records");
        }
    }

    /// Notes the progress. A failure repeats the user records that are done, and is no reason to repeat the whole batch.
    async fn keep(&self, unfinished: &Unfinished) {
        let Some(table) = self.progress.as_ref().filter(|_| unfinished.progress != Progress::default()) else { return };
        if let Err(error) = table.store(unfinished).await {
            let sequence_number = unfinished.record.sequence_number.as_str();
            tracing::error!(sequence_number, %error, "progress is not kept: user records will be processed again");
        }
    }
}

/// Processes the records of a batch, up to the first that fails or for which no time is left.
async fn run(batch: &mut Batch, time: TimeLeft, process: impl AsyncFn(&FunctionRecord) -> Result<(), BoxError>) -> End {
    while let Some(record) = batch.next() {
        if time.is_over() {
            return End::NotBegun;
        }
        match timeout_at(time.end(), process(&record)).await {
            Ok(Ok(())) => batch.done(),
            Ok(Err(error)) => {
                tracing::warn!(%record, attempt = record.attempt, %error, "user record failed");
                return End::Failed;
            }
            Err(_) => {
                tracing::warn!(%record, attempt = record.attempt, "user record was cut off by the end of the invocation");
                return End::Failed;
            }
        }
    }
    End::Done
}
