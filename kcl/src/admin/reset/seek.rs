//! SHELL: finds the checkpoint that stands for a time in a shard, as [`logic::seek`](crate::logic::read::seek) says.

use std::time::{Duration, SystemTime};

use kpl::{ShardId, compressed::FrameReader};
use tokio::time::sleep;

use crate::{
    error::KinesisError,
    kinesis::{Kinesis, Records, retried},
    logic::{
        backoff::Backoff,
        read::{
            deaggregate::user_records,
            seek::{Next, Seek},
        },
    },
    model::{Checkpoint, KinesisRecord, Position, StartAt},
};

/// Pause between reads of one shard: it serves 5 a second to all its readers.
const READ_PAUSE: Duration = Duration::from_millis(250);
/// Pauses between tries of a call, and how many follow the first.
const BACKOFF: Backoff = Backoff::of_millis(250, 8_000);
const RETRIES: u32 = 7;
/// Records read at once near the time.
const PAGE: i32 = 1_000;

/// The checkpoint behind the last record that arrived before `time`; TRIM_HORIZON if the shard retains none.
pub(super) async fn last_before(
    kinesis: &dyn Kinesis,
    shard_id: &ShardId,
    time: SystemTime,
    frames: &FrameReader,
) -> Result<Checkpoint, KinesisError> {
    let mut seek = Seek::before(time);
    loop {
        match seek.next() {
            Next::Nothing => return Ok(Checkpoint::TrimHorizon),
            Next::Look(at) => {
                let mut reader = Reader::open(kinesis, shard_id, at, 1).await?;
                let first = reader.next_page().await?.into_iter().next();
                seek.saw(at, first.and_then(|record| record.approximate_arrival));
            }
            Next::ReadFrom(from) => {
                let mut reader = Reader::open(kinesis, shard_id, from, PAGE).await?;
                let last = reader.last_before(time).await?;
                return Ok(last.map_or(Checkpoint::TrimHorizon, |last| Checkpoint::At(end_of(last, frames))));
            }
        }
    }
}

/// The position of the last user record in it.
fn end_of(record: KinesisRecord, frames: &FrameReader) -> Position {
    let sequence_number = record.sequence_number.clone();
    // Whatever is wrong with it, what matters is what a worker would deliver.
    let user_records = user_records(vec![record], None, frames, |_| {});
    let sub_sequence_number = user_records.last().map_or(0, |last| last.sub_sequence_number);
    Position { sequence_number, sub_sequence_number }
}

struct Reader<'a> {
    kinesis: &'a dyn Kinesis,
    iterator: Option<String>,
    limit: i32,
}

impl<'a> Reader<'a> {
    async fn open(
        kinesis: &'a dyn Kinesis,
        shard_id: &ShardId,
        at: SystemTime,
        limit: i32,
    ) -> Result<Reader<'a>, KinesisError> {
        let start = StartAt::Timestamp(at);
        let iterator = retried(BACKOFF, RETRIES, || kinesis.shard_iterator(shard_id, &start)).await?;
        Ok(Reader { kinesis, iterator: Some(iterator), limit })
    }

    /// Some records, or none if there are no more.
    async fn next_page(&mut self) -> Result<Vec<KinesisRecord>, KinesisError> {
        while let Some(iterator) = self.iterator.take() {
            let read = retried(BACKOFF, RETRIES, || self.kinesis.get_records(&iterator, self.limit)).await?;
            let Records { records, next_iterator, behind_latest, .. } = read;
            let at_tip = records.is_empty() && behind_latest.is_some_and(|behind| behind.is_zero());
            self.iterator = next_iterator.filter(|_| !at_tip);
            if !records.is_empty() {
                return Ok(records);
            }
            sleep(READ_PAUSE).await;
        }
        Ok(Vec::new())
    }

    async fn last_before(&mut self, time: SystemTime) -> Result<Option<KinesisRecord>, KinesisError> {
        let mut last = None;
        loop {
            let page = self.next_page().await?;
            if page.is_empty() {
                return Ok(last);
            }
            for record in page {
                if record.approximate_arrival.is_some_and(|arrival| arrival >= time) {
                    return Ok(last);
                }
                last = Some(record);
            }
        }
    }
}
