//! A function that puts records and leaves nothing in the background: the process is frozen between its invocations, and may never be
//! thawed.
//!
//! (A) Before it answers, every record is stored or has failed.
//! (B) If the time is not enough, the rest is abandoned: a later invocation does not store what this one reported as failed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_types::SdkConfig;
use kpl::{ConfigError, Delivery, Producer, PutError, RecordError, UserRecord};
use tokio::time::timeout_at;

use super::TimeLeft;
use crate::put_records::{Outcome, Outcomes, PutRecords, RequestError};

/// Reason why nothing was put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The name of the stream.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Puts the records of invocations, one invocation at a time.
#[derive(Debug)]
pub struct Recorder {
    aws: SdkConfig,
    stream: String,
    /// The producer of earlier invocations, with its connections and its list of the shards. Locked to take or put it.
    warm: Mutex<Option<Producer>>,
}

impl Recorder {
    /// Recorder of a stream, a name or ARN.
    pub fn new(aws: SdkConfig, stream: impl Into<String>) -> Self {
        Self { aws, stream: stream.into(), warm: Mutex::default() }
    }

    /// Puts the records of a request, and waits for their outcomes while there is time.
    ///
    /// # Errors
    /// If a record would not be accepted. Nothing was put.
    ///
    /// # Cancellation
    /// Dropping the future leaves records in the background.
    pub async fn put(&self, request: PutRecords, time: TimeLeft) -> Result<Outcomes, RecorderError> {
        let producer = match self.warm().take() {
            Some(producer) => producer,
            None => Producer::builder(&self.aws, &self.stream).build()?,
        };
        let records = request.user_records(&producer);
        match records {
            Ok(records) => {
                let (outcomes, producer) = put_all(producer, records, time).await;
                *self.warm() = producer;
                Ok(outcomes)
            }
            Err(error) => {
                *self.warm() = Some(producer);
                Err(error.into())
            }
        }
    }

    fn warm(&self) -> std::sync::MutexGuard<'_, Option<Producer>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the producer, too, unless it was shut down for want of time: the next invocation makes another one then.
async fn put_all(producer: Producer, records: Vec<UserRecord>, time: TimeLeft) -> (Outcomes, Option<Producer>) {
    let count = records.len();
    let mut accepted: Vec<Result<Delivery, PutError>> = Vec::with_capacity(count);
    let all = async {
        for record in records {
            accepted.push(producer.put(record).await);
        }
        producer.flush().await;
    };
    let in_time = timeout_at(time.end(), all).await.is_ok();
    if !in_time {
        // Requests under way are given up, too: nothing of this invocation runs in the next. Its error counts the records,
        // whose outcomes are looked at below.
        drop(producer.shutdown_within(Duration::ZERO).await);
    }
    let mut outcomes = Vec::with_capacity(count);
    for put in accepted {
        outcomes.push(Outcome::from(async { Ok::<_, RecordError>(put?.await?) }.await));
    }
    outcomes.resize_with(count, || Outcome::failed("NotPut", "no time was left to put the record"));
    (outcomes.into_iter().collect(), in_time.then_some(producer))
}
