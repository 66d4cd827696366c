//! SHELL: reads one shard by GetRecords, from a position to its end or to where nothing more is wanted.
//!
//! Reads at the tip follow each other after [`IDLE`], others as fast as a shard allows: once a read was throttled, the next
//! ones wait for the time in which a shard returns as much as the one before. So a fleet that shares the shard keeps most of
//! its five reads a second. An answer is held until it is printed.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::{
    operation::get_records::{GetRecordsError, GetRecordsOutput},
    types::ChildShard,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use kpl::{HashKey, HashKeyRange, ShardId};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep, sleep_until},
};

use super::{
    answer_size::{self, AnswerSize},
    room::Room,
};
use crate::{
    aws::{Aws, refusal::is_throttle, stream_name::StreamName},
    failure::Failure,
    moment::Moment,
    reading::{
        position::Position,
        shards::{self, Shard},
    },
};

/// Pause between two reads at the tip. Source: KCL `idleTimeBetweenReadsInMillis`.
const IDLE: Duration = Duration::from_secs(1);
/// Pause between two reads of a shard that is behind: five reads a second.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const BUSY: Duration = Duration::from_millis(200);
/// Bytes up to which an answer at the tip is followed by one that is as small.
const SMALL_BYTES: usize = 64 * 1_024;
/// Pause after a throttled read.
const THROTTLED: Duration = Duration::from_millis(1_000);
/// Pause after the first of other failures of a read in a row; it doubles with each.
const FAILED: Duration = Duration::from_millis(600);
/// Number of such failures at which the reading ends.
const MAX_FAILURES: u32 = 4;

/// End of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// None: new records are waited for.
    Stopped,
    /// The tip at the time of reading.
    Tip,
    /// The first record that arrived at this time or later, or the tip after this time.
    Time(SystemTime),
}

impl Until {
    /// The end that a moment means. Now is the tip: the services' time is known to a second only.
    pub(crate) fn moment(moment: Moment, aws: &Aws) -> Self {
        match moment {
            Moment::Ago(Duration::ZERO) => Self::Tip,
            moment => Self::Time(moment.at(aws.clock.now())),
        }
    }
}

/// Something that a reader found.
#[derive(Debug)]
pub(crate) enum Found {
    Records {
        shard: ShardId,
        range: HashKeyRange,
        answer: GetRecordsOutput,
        room: Option<OwnedSemaphorePermit>,
    },
    /// The shard is closed and read to its end.
    Ended {
        shard: ShardId,
        children: Vec<Shard>,
    },
    /// Nothing more is wanted of the shard.
    Reached {
        shard: ShardId,
    },
    Failed(Failure),
}

/// Reader of one shard.
#[derive(Debug)]
pub(crate) struct ShardReader {
    pub(crate) aws: Aws,
    /// Client without retries of its own, since throttled reads set the pace.
    pub(crate) client: aws_sdk_kinesis::Client,
    pub(crate) stream: StreamName,
    pub(crate) shard: Shard,
    pub(crate) position: Position,
    pub(crate) until: Until,
    pub(crate) room: Room,
    /// A read was throttled: the shard's limit is enforced.
    pub(crate) is_limited: bool,
    /// Failures in a row other than throttled reads.
    pub(crate) failures: u32,
    pub(crate) found: mpsc::Sender<Found>,
}

impl ShardReader {
    /// Reads until the shard's end, `until`, an error, or until nobody listens.
    pub(crate) async fn run(mut self) {
        let last = match self.read().await {
            Ok(last) => last,
            Err(failure) => Found::Failed(failure),
        };
        let _ = self.found.send(last).await; // an error: the command has ended
    }

    async fn read(&mut self) -> Result<Found, Failure> {
        let shard = self.shard.id.clone();
        let mut iterator = self.iterator().await?;
        let (mut at_tip, mut last_bytes) = (false, 0);
        let (mut size, mut first) = match self.room.largest().await {
            Ok(largest) => (AnswerSize::first(largest), None),
            Err(first) => (AnswerSize::default(), Some(first)),
        };
        loop {
            let is_small = at_tip && last_bytes <= SMALL_BYTES;
            let room = self.room.take(if is_small { last_bytes } else { size.bytes() }).await;
            let begun = Instant::now();
            let read = self.client.get_records().shard_iterator(&iterator).limit(size.limit());
            let mut answer = match read.send().await {
                Ok(answer) => answer,
                Err(error) => {
                    drop(room);
                    iterator = self.after(error, iterator, last_bytes).await?;
                    continue;
                }
            };
            self.failures = 0;
            if let Some(last) = answer.records.last() {
                self.position = Position::After(super::sequence_number(&last.sequence_number)?);
            }
            let sizes = || answer.records.iter().map(|record| record.data.as_ref().len());
            (last_bytes, size) = (sizes().sum(), size.after(sizes()));
            if let Some(mut first) = first.take() {
                *first = Some(sizes().max().unwrap_or(0));
            }
            at_tip = answer.millis_behind_latest == Some(0);
            let is_reached = self.cut(&mut answer);
            let (next, children) = (answer.next_shard_iterator.take(), answer.child_shards.take());
            if !answer.records.is_empty() {
                let found = Found::Records { shard: shard.clone(), range: self.shard.range, answer, room };
                if self.found.send(found).await.is_err() {
                    return Ok(Found::Reached { shard });
                }
            }
            match next {
                _ if is_reached => return Ok(Found::Reached { shard }),
                None => {
                    return Ok(Found::Ended {
                        shard,
                        children: children.unwrap_or_default().iter().filter_map(child).collect(),
                    });
                }
                Some(_) if at_tip && self.is_over() => return Ok(Found::Reached { shard }),
                Some(next) => iterator = next,
            }
            sleep_until(begun + self.pause(at_tip, last_bytes)).await;
        }
    }

    /// Leaves out what arrived too late; returns whether there was any.
    fn cut(&self, answer: &mut GetRecordsOutput) -> bool {
        let Until::Time(to) = self.until else { return false };
        let late =
            |time: &aws_sdk_kinesis::primitives::DateTime| SystemTime::try_from(*time).is_ok_and(|time| time >= to);
        let first = answer.records.iter().position(|it| it.approximate_arrival_timestamp.as_ref().is_some_and(late));
        answer.records.truncate(first.unwrap_or(usize::MAX));
        first.is_some()
    }

    /// Returns whether nothing more is wanted of a shard that is read up to its tip.
    fn is_over(&self) -> bool {
        match self.until {
            Until::Stopped => false,
            Until::Tip => true,
            Until::Time(to) => self.aws.clock.now() > to,
        }
    }

    /// Time from the begin of a read, which returned `bytes`, to that of the next one.
    fn pause(&self, at_tip: bool, bytes: usize) -> Duration {
        match (at_tip, self.is_limited) {
            (true, _) => IDLE,
            (false, false) => BUSY,
            (false, true) => answer_size::time_of(bytes).max(BUSY),
        }
    }

    async fn iterator(&self) -> Result<String, Failure> {
        shards::iterator(&self.aws, &self.stream, &self.shard.id, &self.position).await
    }

    /// The iterator after an error that may pass; the last read returned `bytes`.
    async fn after(
        &mut self,
        error: SdkError<GetRecordsError>,
        iterator: String,
        bytes: usize,
    ) -> Result<String, Failure> {
        let refusal = error.as_service_error();
        if refusal.is_some_and(GetRecordsError::is_expired_iterator_exception) {
            return self.iterator().await;
        }
        if refusal.and_then(|it| it.code()).is_some_and(is_throttle) {
            self.is_limited = true;
            sleep(answer_size::time_of(bytes).max(THROTTLED.mul_f64(0.5 + fastrand::f64()))).await;
            return Ok(iterator);
        }
        let may_pass = match error.raw_response() {
            Some(response) => response.status().is_server_error(),
            None => !matches!(error, SdkError::ConstructionFailure(_)),
        };
        self.failures += 1;
        if may_pass && self.failures < MAX_FAILURES {
            sleep(FAILED * 2_u32.pow(self.failures - 1)).await;
            return Ok(iterator);
        }
        let target = format!("{} of stream {}", self.shard.id, self.stream);
        Err(self.aws.explain("kinesis:GetRecords", &target, error))
    }
}

fn child(child: &ChildShard) -> Option<Shard> {
    let range = child.hash_key_range.as_ref()?;
    let key = |text: &str| text.parse::<HashKey>().ok();
    let range = HashKeyRange { start: key(&range.starting_hash_key)?, end: key(&range.ending_hash_key)? };
    let parents = child.parent_shards.iter().map(|id| ShardId::from(id.as_str())).collect();
    Some(Shard { id: child.shard_id.as_str().into(), range, parents })
}
