//! For tests of record processors: no AWS, no worker, no waiting. With the feature `test-util`.

use std::{fmt, sync::Arc};

use aws_sdk_dynamodb::types::TransactWriteItem;
use bytes::Bytes;
use kpl::{
    ShardId, SharedText,
    metric::{Recording, Registry},
};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpointer::Checkpointer,
    keeper::{LeaseHandle, detached::Detached},
    logic::shard::Progress,
    metrics::shard::ShardRecorder,
    model::{Checkpoint, Lease, PendingCheckpoint, Record, RecordBatch, SinkKey, StreamId, WorkerId},
    processor::{RecordProcessor, ShardContext},
};

const STREAM: &str = "test-stream";
const SHARD: &str = "shardId-000000000000";
const WORKER: &str = "test-worker";

/// A shard that calls a processor as a worker does, when the test says so. Its checkpoints are real, but for the table.
///
/// ```
/// use kcl::{BoxError, Checkpoint, Checkpointer, RecordBatch, RecordProcessor, testing::TestShard};
///
/// #[derive(Default)]
/// struct Counter(usize);
///
/// impl RecordProcessor for Counter {
///     type Error = BoxError;
///
///     async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
///         self.0 += batch.records.len();
///         Ok(checkpointer.checkpoint().await?)
///     }
/// }
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), BoxError> {
///     let mut shard = TestShard::start(Counter::default()).await?;
///
///     shard.deliver([("AMZN", "buy"), ("AAPL", "sell")]).await?;
///     assert_eq!(shard.processor().0, 2);
///     assert_eq!(shard.unconfirmed(), 0);
///
///     shard.lose_lease();
///     assert!(shard.deliver([("AMZN", "buy")]).await.is_err(), "checkpoints fail now");
///     Ok(())
/// }
/// ```
pub struct TestShard<P> {
    processor: P,
    checkpointer: Checkpointer,
    lease: Detached,
    delivered: Vec<Record>,
}

impl<P> fmt::Debug for TestShard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestShard").field("checkpoint", &self.lease.lease().checkpoint).finish_non_exhaustive()
    }
}

impl<P: RecordProcessor> TestShard<P> {
    /// Initializes the processor on a shard that nobody has processed yet.
    ///
    /// # Errors
    /// Those of `initialize`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(processor: P) -> Result<Self, P::Error> {
        Self::resume(processor, Checkpoint::TrimHorizon, None).await
    }

    /// Initializes the processor on a shard that was processed up to `checkpoint`, perhaps with a pending checkpoint.
    ///
    /// # Errors
    /// Those of `initialize`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn resume(
        mut processor: P,
        checkpoint: Checkpoint,
        pending: Option<PendingCheckpoint>,
    ) -> Result<Self, P::Error> {
        let lease = Lease {
            owner: Some(WorkerId::from(WORKER)),
            pending: pending.clone(),
            counter: 1,
            ..Lease::unowned(ShardId::from(SHARD), checkpoint.clone())
        };
        let shard = ShardContext {
            stream_id: StreamId::from(STREAM),
            shard_id: lease.shard_id.clone(),
            worker_id: WorkerId::from(WORKER),
            checkpoint: checkpoint.clone(),
            pending,
            fencing_token: lease.counter,
            epoch: lease.epoch,
            sink_key: SinkKey {
                application: "test-application".to_owned(),
                stream_id: StreamId::from(STREAM),
                stream_created_seconds: 0,
                shard_id: lease.shard_id.clone(),
            },
        };
        let metrics = Arc::new(ShardRecorder::new(&Registry::new(Recording::default()), &lease));
        let (handle, lease) = LeaseHandle::detached(lease);
        processor.initialize(&shard).await?;
        let (stop, progress) = (CancellationToken::new(), Progress::starting_at(checkpoint));
        let checkpointer = Checkpointer::new(handle, stop, shard.fencing_token, progress, metrics);
        Ok(Self { processor, checkpointer, lease, delivered: Vec::new() })
    }

    /// Gives the processor a batch of records with these partition keys and data, after all before. An empty batch is not
    /// delivered, as a worker does not deliver it.
    ///
    /// # Errors
    /// Those of `process_records`. A worker drops the processor now and goes on with another from the
    /// [`checkpoint`](Self::checkpoint), as [`resume`](Self::resume) does. Checkpoints fail from now on.
    pub async fn deliver<K, D>(&mut self, records: impl IntoIterator<Item = (K, D)>) -> Result<(), P::Error>
    where
        K: Into<SharedText>,
        D: Into<Bytes>,
    {
        let mut number = self.last_number();
        let batch = records.into_iter().map(|(key, data)| {
            number = successor(&number);
            Record::new(key, data, number.parse().expect("a number has only digits"))
        });
        let records: Vec<Record> = batch.collect();
        let Some(last) = records.last() else { return Ok(()) };
        self.checkpointer.with_progress(|progress| progress.deliver(last.position()));
        self.delivered.extend(records.iter().cloned());
        let batch = RecordBatch { records, behind_latest: Some(std::time::Duration::ZERO) };
        let processed = self.processor.process_records(batch, &self.checkpointer).await;
        if processed.is_err() {
            self.checkpointer.retire();
        }
        processed
    }

    /// Lets another worker have the lease: checkpoints fail from now on. The processor does not know yet.
    pub fn lose_lease(&mut self) {
        self.lease.lose();
    }

    /// Loses the lease and calls `lease_lost`. Returns the processor for inspection.
    pub async fn end_with_lost_lease(mut self) -> P {
        self.lose_lease();
        self.processor.lease_lost().await;
        self.processor
    }

    /// Ends as a worker's stop and a handoff do. Returns the processor for inspection, and the last checkpoint.
    ///
    /// # Errors
    /// Those of `shutdown_requested`.
    pub async fn end_with_shutdown(mut self) -> Result<(P, Checkpoint), P::Error> {
        self.processor.shutdown_requested(&self.checkpointer).await?;
        let checkpoint = self.checkpoint();
        Ok((self.processor, checkpoint))
    }

    /// Ends as a closed shard does that is processed. Returns the processor for inspection.
    ///
    /// # Errors
    /// Those of `shard_ended`.
    pub async fn end(mut self) -> Result<P, P::Error> {
        self.try_end().await?;
        Ok(self.processor)
    }

    /// Calls `shard_ended`. A worker calls it again after an error.
    ///
    /// # Errors
    /// Those of `shard_ended`.
    pub async fn try_end(&mut self) -> Result<(), P::Error> {
        self.processor.shard_ended().await?;
        self.lease.end();
        Ok(())
    }

    /// The checkpoint as the lease table would have it.
    pub fn checkpoint(&self) -> Checkpoint {
        self.lease.lease().checkpoint
    }

    /// The pending checkpoint as the lease table would have it.
    pub fn pending(&self) -> Option<PendingCheckpoint> {
        self.lease.lease().pending
    }

    /// Items that were written together with checkpoints, in order.
    pub fn items(&self) -> Vec<TransactWriteItem> {
        self.lease.items()
    }

    /// Number of delivered records that the checkpoint does not cover and that would be delivered again.
    pub fn unconfirmed(&self) -> usize {
        let checkpoint = self.checkpoint();
        self.delivered.iter().filter(|record| Checkpoint::At(record.position()) > checkpoint).count()
    }

    /// All records delivered so far, to be used with a checkpointer, say.
    pub fn delivered(&self) -> &[Record] {
        &self.delivered
    }

    /// Checkpointer that the processor is given.
    pub fn checkpointer(&self) -> &Checkpointer {
        &self.checkpointer
    }

    /// The processor.
    pub fn processor(&self) -> &P {
        &self.processor
    }

    /// The processor.
    pub fn processor_mut(&mut self) -> &mut P {
        &mut self.processor
    }

    fn last_number(&self) -> String {
        let position = match (self.delivered.last(), self.checkpoint()) {
            (Some(record), _) => record.position(),
            (None, Checkpoint::At(position)) => position,
            _ => return "0".to_owned(),
        };
        position.sequence_number.as_str().to_owned()
    }
}

/// The number after this one, in decimal: sequence numbers of Kinesis have 56 digits.
fn successor(number: &str) -> String {
    let stays = number.trim_end_matches('9');
    let zeros = "0".repeat(number.len() - stays.len());
    match stays.char_indices().next_back() {
        Some((at, digit)) => format!("{}{}{zeros}", &stays[..at], digit.to_digit(10).map_or(0, |digit| digit + 1)),
        None => format!("1{zeros}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BoxError, CheckpointError};

    /// Prepares each batch, commits if `commit` is set.
    #[derive(Default)]
    struct Prepares {
        commit: bool,
        ended: bool,
    }

    impl RecordProcessor for Prepares {
        type Error = BoxError;

        async fn process_records(&mut self, _: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
            let prepared = checkpointer.prepare(Some("state".into())).await?;
            if self.commit {
                prepared.commit().await?;
            }
            Ok(())
        }

        async fn shard_ended(&mut self) -> Result<(), BoxError> {
            self.ended = true;
            Ok(())
        }

        async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), BoxError> {
            Ok(checkpointer.checkpoint().await?)
        }
    }

    fn at(number: u128) -> Checkpoint {
        Checkpoint::from_wire(&number.to_string(), 0).unwrap()
    }

    #[tokio::test]
    async fn prepared_checkpoints_stand_until_they_are_committed() {
        let mut shard = TestShard::start(Prepares::default()).await.unwrap();
        shard.deliver([("a", "1"), ("b", "2")]).await.unwrap();
        let pending = shard.pending().expect("prepared");
        assert_eq!((pending.checkpoint, pending.state), (at(2), Some("state".into())));
        assert_eq!((shard.checkpoint(), shard.unconfirmed()), (Checkpoint::TrimHorizon, 2));

        shard.processor_mut().commit = true;
        shard.deliver([("a", "3")]).await.unwrap();

        assert_eq!((shard.checkpoint(), shard.pending(), shard.unconfirmed()), (at(3), None, 0));
        assert!(shard.end().await.unwrap().ended);
    }

    #[tokio::test]
    async fn several_prepared_checkpoints_succeed_in_order_and_not_backwards() {
        let mut shard = TestShard::start(Prepares::default()).await.unwrap();
        shard.deliver([("a", "1"), ("a", "2"), ("a", "3")]).await.unwrap();
        let records = shard.delivered().to_vec();
        let checkpointer = shard.checkpointer().clone();
        let first = checkpointer.prepare_at(&records[0], None).await.unwrap();
        let second = checkpointer.prepare_at(&records[1], None).await.unwrap();

        second.commit().await.unwrap();

        assert!(matches!(first.commit().await, Err(CheckpointError::OutOfRange { .. })));
        second.commit().await.unwrap();
        assert_eq!(shard.checkpoint(), at(2));
        let beyond = Record::new("a", "", "4".parse().unwrap());
        assert!(matches!(checkpointer.prepare_at(&beyond, None).await, Err(CheckpointError::OutOfRange { .. })));
    }

    #[tokio::test]
    async fn resumes_a_shard_after_its_checkpoint_and_lets_a_stopped_one_checkpoint() {
        let mut shard = TestShard::resume(Prepares::default(), at(41), None).await.unwrap();
        shard.deliver([("a", "1")]).await.unwrap();

        assert_eq!(shard.end_with_shutdown().await.unwrap().1, at(42));
    }

    #[test]
    fn counts_in_decimal() {
        for (number, next) in [("0", "1"), ("8", "9"), ("9", "10"), ("1299", "1300"), ("999", "1000")] {
            assert_eq!(successor(number), next);
        }
    }

    #[tokio::test]
    async fn resumes_at_a_sequence_number_as_kinesis_gives_it() {
        let number = "49590338271490256608559692538361571095921575989136588898";
        let checkpoint = Checkpoint::from_wire(number, 0).unwrap();

        let mut shard = TestShard::resume(Prepares::default(), checkpoint, None).await.unwrap();
        shard.deliver([("a", "1")]).await.unwrap();

        assert_eq!(shard.delivered()[0].sequence_number.as_str(), &number.replace("898", "899"));
        assert_eq!(shard.unconfirmed(), 1);
    }

    /// Fails at a batch of two records, and once at the shard's end.
    #[derive(Default)]
    struct Fails {
        ended: bool,
    }

    impl RecordProcessor for Fails {
        type Error = BoxError;

        async fn process_records(&mut self, batch: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> {
            if batch.records.len() == 2 { Err("on purpose".into()) } else { Ok(()) }
        }

        async fn shard_ended(&mut self) -> Result<(), BoxError> {
            if std::mem::replace(&mut self.ended, true) { Ok(()) } else { Err("on purpose".into()) }
        }
    }

    #[tokio::test]
    async fn keeps_the_later_of_two_checkpoints_made_at_once() {
        let mut shard = TestShard::start(Fails::default()).await.unwrap();
        shard.deliver([("a", "1"), ("a", "2"), ("a", "3")]).await.unwrap();
        let (records, checkpointer) = (shard.delivered().to_vec(), shard.checkpointer().clone());

        let both = (checkpointer.checkpoint_at(&records[2]), checkpointer.checkpoint_at(&records[0]));
        let (later, earlier) = tokio::join!(both.0, both.1);

        assert!(later.is_ok() && earlier.is_ok());
        assert_eq!(shard.checkpoint(), at(3));
    }

    #[tokio::test]
    async fn lets_the_processor_try_again_to_end() {
        let mut shard = TestShard::start(Fails::default()).await.unwrap();

        assert!(shard.try_end().await.is_err());
        assert_eq!(shard.checkpoint(), Checkpoint::TrimHorizon);
        assert!(shard.try_end().await.is_ok());
        assert_eq!(shard.checkpoint(), Checkpoint::ShardEnd);
    }

    #[tokio::test]
    async fn stores_nothing_after_a_failure() {
        let mut shard = TestShard::start(Fails::default()).await.unwrap();
        shard.deliver([("a", "1"), ("a", "2")]).await.unwrap_err();

        let refused = shard.checkpointer().checkpoint().await;

        assert!(matches!(refused, Err(CheckpointError::ProcessorFailed)), "{refused:?}");
        assert_eq!(shard.checkpoint(), Checkpoint::TrimHorizon);
    }

    #[tokio::test]
    async fn stores_nothing_without_the_lease() {
        let mut shard = TestShard::start(Prepares::default()).await.unwrap();
        shard.lose_lease();

        let error = shard.deliver([("a", "1")]).await.unwrap_err();

        assert!(error.is::<CheckpointError>(), "{error}");
        shard.end_with_lost_lease().await;
    }
}
