//! SHELL: puts what a worker reads into the other stream, and checkpoints what is stored.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use kcl::{BoxError, Checkpointer, Record, RecordBatch, RecordProcessor, ShardContext};
use kpl::{
    Delivered, DeliveryErrorKind, Producer, RecordError, ShardId, UserRecord,
    compressed::{FrameError, FrameReader},
};
use tokio::sync::mpsc;

use super::{
    passage::{self, Passage},
    ranges::Ranges,
};
use crate::{aws::refusal::is_lasting, failure::Failure};

/// Bytes that are put before more compressed records are taken apart.
const GATHERED_BYTES: usize = 8 * 1024 * 1024;

/// A reason for which no retry can help.
#[derive(Debug)]
pub(super) enum Lasting {
    /// Code and message of a refusal by the stream that is put to.
    Refused(String, String),
    /// A compressed record of that shard cannot be opened and must be taken apart.
    Closed(ShardId, FrameError),
    Failed(Failure),
}

/// The other stream was resharded just now: what is in the compressed record belongs to several shards. It is copied again.
#[derive(Debug, thiserror::Error)]
#[error("a compressed record was stored in {0}, which does not own all that may be in it")]
struct Misplaced(ShardId);

/// Copies records of one shard.
#[derive(Clone)]
pub(super) struct Copier {
    pub(super) producer: Producer,
    /// Puts compressed records as they are.
    pub(super) frame_producer: Producer,
    pub(super) from: Ranges,
    pub(super) to: Ranges,
    pub(super) frames: FrameReader,
    /// Compressed records are taken apart in any case.
    pub(super) no_frames: bool,
    pub(super) copied: Arc<Copied>,
    pub(super) lasting: mpsc::Sender<Lasting>,
    pub(super) shard: Option<ShardId>,
}

/// Numbers of records that are stored.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) records: AtomicU64,
    pub(super) frames: AtomicU64,
}

impl RecordProcessor for Copier {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        self.shard = Some(shard.shard_id.clone());
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        for record in batch.records {
            let passages = match passage::is_frame(&record) {
                true => self.frame(&record).await?,
                false => vec![passage::user_record(record)],
            };
            bytes += passages.iter().map(|passage| passage.record().size_bytes()).sum::<usize>();
            gathered.extend(passages);
            if bytes > GATHERED_BYTES {
                self.put(&std::mem::take(&mut gathered)).await?;
                bytes = 0;
            }
        }
        self.put(&gathered).await?;
        Ok(checkpointer.checkpoint().await?)
    }
}

impl Copier {
    async fn frame(&self, record: &Record) -> Result<Vec<Passage>, BoxError> {
        let Some(shard) = &self.shard else { return Err("the shard is not known".into()) };
        let from = self.range(&self.from, shard).await?;
        let to = (!self.no_frames).then(|| self.to.open());
        passage::of_frame(record, from, to.as_deref(), &self.frames).map_err(|error| {
            self.give_up(Lasting::Closed(shard.clone(), error.clone()));
            error.into()
        })
    }

    /// Puts records in their order: those of one form at a time, since two producers know nothing of each other.
    async fn put(&self, passages: &[Passage]) -> Result<(), BoxError> {
        for run in passages.chunk_by(Passage::is_alike) {
            let is_frame = run.first().is_some_and(Passage::is_frame);
            let (producer, stored) = match is_frame {
                true => (&self.frame_producer, &self.copied.frames),
                false => (&self.producer, &self.copied.records),
            };
            let records: Vec<UserRecord> = run.iter().map(|passage| passage.record().clone()).collect();
            let outcomes = Box::pin(producer.put_all(records)).await;
            stored.fetch_add(outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64, Relaxed);
            for (passage, outcome) in run.iter().zip(outcomes) {
                let delivered = outcome.inspect_err(|error| self.refused(error))?;
                self.check(passage, &delivered).await?;
            }
        }
        Ok(())
    }

    /// Checks that a compressed record is where all that may be in it belongs.
    async fn check(&self, passage: &Passage, delivered: &Delivered) -> Result<(), BoxError> {
        let Passage::Frame(_, keys) = passage else { return Ok(()) };
        let range = self.range(&self.to, delivered.shard_id()).await?;
        if !passage::covers(&range, *keys) {
            return Err(Misplaced(delivered.shard_id().clone()).into());
        }
        Ok(())
    }

    async fn range(&self, ranges: &Ranges, shard: &ShardId) -> Result<kpl::HashKeyRange, BoxError> {
        match ranges.of(shard).await {
            Ok(Some(range)) => Ok(range),
            Ok(None) => Err(format!("{shard} is not listed").into()),
            Err(failure) => {
                self.give_up(Lasting::Failed(failure.clone()));
                Err(failure.into())
            }
        }
    }

    fn refused(&self, error: &RecordError) {
        if let RecordError::Failed(failed) = error
            && let DeliveryErrorKind::Rejected { code, message, .. } = failed.kind()
            && is_lasting(code)
        {
            self.give_up(Lasting::Refused(code.to_string(), message.to_string()));
        }
    }

    fn give_up(&self, lasting: Lasting) {
        let _ = self.lasting.try_send(lasting); // one is enough
    }
}
