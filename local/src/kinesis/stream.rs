//! One stream: its status, its shards, and the map from hash keys to open shards.
//!
//! (A) The open shards partition the hash key space from the moment the stream is ACTIVE.
//! (B) Shard ids and eras grow in the order of creation, so a child's sequence numbers are above its parents'.
//! (C) A change that takes time happens at its end: until then, records go to the old shards.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::consumer::Consumer;
use super::error::Error;
use super::hash_key::{HashKey, HashKeyRange};
use super::limits::Retained;
use super::reshard::Reshard;
use super::response;
use super::sequence::Eras;
use super::shard::{Opening, Shard, ShardId};
use super::tags::Tags;
use crate::timestamp::Millis;
use crate::{ACCOUNT_ID, REGION};

/// Hours that a new stream keeps records. docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html
const DEFAULT_RETENTION_HOURS: u32 = 24;

/// Record limit of a new stream. docs.aws.amazon.com/streams/latest/dev/large-records.html
const DEFAULT_MAX_RECORD_KIB: u32 = 1024;

/// Capacity mode of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Provisioned,
    OnDemand,
}

/// All shard-level metrics. docs.aws.amazon.com/kinesis/latest/APIReference/API_EnableEnhancedMonitoring.html
pub(super) const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
];

/// The rule by which a record is assigned to a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Distribution {
    UserPartitionKey,
    /// The open shards in turn; this one is next.
    Auto {
        next: usize,
    },
}

/// The status of the stream, and its end.
#[derive(Debug)]
pub(super) enum State {
    Creating { until: Millis, shards: u32 },
    Active,
    Updating { until: Millis, change: Option<Reshard> },
    Deleting { until: Millis },
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) name: String,
    /// Tells apart streams that had the same name one after the other.
    pub(super) incarnation: u64,
    pub(super) created_at: Millis,
    pub(super) mode: Mode,
    pub(super) retention_hours: u32,
    pub(super) max_record_kib: u32,
    pub(super) tags: Tags,
    pub(super) policy: Option<String>,
    /// The key that records are encrypted with, if they are.
    pub(super) key_id: Option<String>,
    pub(super) distribution: Distribution,
    /// Shard-level metrics that are on.
    pub(super) metrics: Vec<&'static str>,
    /// Times of UpdateShardCount in the last 24 hours.
    pub(super) scalings: VecDeque<Millis>,
    /// Times at which the capacity mode was switched in the last 24 hours.
    pub(super) mode_switches: VecDeque<Millis>,
    pub(super) state: State,
    pub(super) consumers: BTreeMap<String, Consumer>,
    shards: BTreeMap<ShardId, Shard>,
    /// Open shards by the start of their range, ascending.
    open: Vec<(HashKey, ShardId)>,
    /// Closed shards in the order of closing, until retention forgets them.
    closed: VecDeque<(Millis, ShardId)>,
    next_shard: u32,
    eras: Eras,
    retained: Retained,
}

/// Properties of a new stream.
#[derive(Debug)]
pub(super) struct Creation {
    pub(super) name: String,
    pub(super) incarnation: u64,
    pub(super) mode: Mode,
    pub(super) shards: u32,
    pub(super) tags: Tags,
    pub(super) distribution: Distribution,
    pub(super) eras: Eras,
    pub(super) retained: Retained,
}

impl Stream {
    /// A stream that becomes ACTIVE at `until`.
    pub(super) fn create(creation: Creation, now: Millis, until: Millis) -> Self {
        let Creation { name, incarnation, mode, shards, tags, distribution, eras, retained } = creation;
        Self {
            name,
            incarnation,
            created_at: now,
            mode,
            retention_hours: DEFAULT_RETENTION_HOURS,
            max_record_kib: DEFAULT_MAX_RECORD_KIB,
            state: State::Creating { until, shards },
            tags,
            policy: None,
            key_id: None,
            distribution,
            metrics: Vec::new(),
            scalings: VecDeque::new(),
            mode_switches: VecDeque::new(),
            consumers: BTreeMap::new(),
            shards: BTreeMap::new(),
            open: Vec::new(),
            closed: VecDeque::new(),
            next_shard: 0,
            eras,
            retained,
        }
    }

    /// Brings the stream up to `now`: finishes what was under way, forgets what is past retention.
    /// Returns whether the stream still exists.
    pub(super) fn advance(&mut self, now: Millis) -> bool {
        match self.state {
            State::Creating { until, shards } if until <= now => {
                self.state = State::Active;
                for range in HashKeyRange::uniform(shards) {
                    self.open_shard(range, Vec::new(), self.created_at);
                }
            }
            State::Updating { until, change } if until <= now => {
                self.state = State::Active;
                if let Some(change) = change {
                    self.apply(change, until);
                }
            }
            State::Deleting { until } if until <= now => return false,
            _ => {}
        }
        self.consumers.retain(|_, consumer| consumer.advance(now));
        let horizon = self.horizon(now);
        while let Some((_, id)) = self.closed.pop_front_if(|(at, _)| *at < horizon) {
            self.shards.remove(&id);
            self.consumers.values_mut().for_each(|consumer| consumer.forget(id));
        }
        true
    }

    /// End of the pending change, if there is one.
    pub(super) fn next_change(&self) -> Option<Millis> {
        match self.state {
            State::Creating { until, .. } | State::Updating { until, .. } | State::Deleting { until } => Some(until),
            State::Active => None,
        }
    }

    /// The open shards, those included that it will have when it is created.
    pub(super) fn shard_count(&self) -> usize {
        match self.state {
            State::Creating { shards, .. } => shards as usize,
            _ => self.open.len(),
        }
    }

    /// Tells everyone who is subscribed to any shard to look again.
    pub(super) fn wake_subscribers(&self) {
        for shard in self.shards.values() {
            shard.changed.notify_waiters();
        }
    }

    /// Time before which records are dropped.
    pub(super) fn horizon(&self, now: Millis) -> Millis {
        now.minus(Duration::from_secs(u64::from(self.retention_hours) * 3600)).max(self.created_at)
    }

    pub(super) fn status(&self) -> &'static str {
        match self.state {
            State::Creating { .. } => "CREATING",
            State::Active => "ACTIVE",
            State::Updating { .. } => "UPDATING",
            State::Deleting { .. } => "DELETING",
        }
    }

    pub(super) fn arn(&self) -> String {
        arn(&self.name)
    }

    /// Passes when records can be written and read.
    pub(super) fn require_data(&self) -> Result<(), Error> {
        match self.state {
            State::Active | State::Updating { .. } => Ok(()),
            State::Creating { .. } | State::Deleting { .. } => Err(Error::no_stream(&self.name, ACCOUNT_ID)),
        }
    }

    /// Passes when the stream can be changed.
    pub(super) fn require_active(&self) -> Result<(), Error> {
        if matches!(self.state, State::Active) {
            return Ok(());
        }
        Err(Error::resource_in_use(format!(
            "Stream {} under account {ACCOUNT_ID} not ACTIVE, instead in state {}",
            self.name,
            self.status()
        )))
    }

    /// Passes when the stream was created about then. StreamCreationTimestamp distinguishes streams of one name; clients
    /// may have rounded it to seconds.
    pub(super) fn require_created_at(&self, created_at: Option<Millis>) -> Result<(), Error> {
        let second = Duration::from_secs(1);
        match created_at {
            Some(time) if time.since(self.created_at) >= second || self.created_at.since(time) >= second => {
                Err(Error::no_stream(&self.name, ACCOUNT_ID))
            }
            _ => Ok(()),
        }
    }

    /// NONE or KMS.
    pub(super) fn encryption_type(&self) -> &'static str {
        if self.key_id.is_some() { "KMS" } else { "NONE" }
    }

    /// The shards that are not forgotten, by id: all of them, or those after one.
    pub(super) fn shards_after(&self, id: Option<ShardId>) -> impl Iterator<Item = &Shard> {
        let start = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.shards.range((start, Bound::Unbounded)).map(|(_, shard)| shard)
    }

    pub(super) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(&id)
    }

    /// A shard without the records that are past retention.
    pub(super) fn trimmed_shard(&mut self, id: ShardId, now: Millis) -> Option<&mut Shard> {
        let horizon = self.horizon(now);
        let shard = self.shards.get_mut(&id)?;
        shard.trim(horizon);
        Some(shard)
    }

    /// Forgets all records that are past retention.
    pub(super) fn trim(&mut self, now: Millis) {
        let horizon = self.horizon(now);
        self.shards.values_mut().for_each(|shard| shard.trim(horizon));
    }

    /// Open shards in the order of their hash keys.
    pub(super) fn open_shards(&self) -> &[(HashKey, ShardId)] {
        &self.open
    }

    /// The open shard that takes a record of this hash key, trimmed.
    pub(super) fn shard_for(&mut self, key: HashKey, now: Millis) -> &mut Shard {
        let horizon = self.horizon(now);
        let at = match &mut self.distribution {
            Distribution::UserPartitionKey => self.open.partition_point(|(start, _)| *start <= key) - 1,
            Distribution::Auto { next } => {
                *next = (*next + 1) % self.open.len();
                *next
            }
        };
        let id = self.open[at].1;
        let shard = self.shards.get_mut(&id).expect("every open shard is stored");
        shard.trim(horizon);
        shard
    }

    pub(super) fn open_shard(&mut self, range: HashKeyRange, parents: Vec<ShardId>, now: Millis) -> ShardId {
        let id = ShardId(self.next_shard);
        self.next_shard += 1;
        let opening = Opening { id, range, parents, retained: self.retained.clone() };
        self.shards.insert(id, Shard::open(opening, self.eras.next(now), now));
        let at = self.open.partition_point(|(start, _)| *start < range.start);
        self.open.insert(at, (range.start, id));
        id
    }

    /// Ends open shards in favour of one shard for each of the ranges, which together are as large.
    pub(super) fn replace(&mut self, parents: &[ShardId], ranges: &[HashKeyRange], now: Millis) -> Vec<ShardId> {
        self.open.retain(|(_, id)| !parents.contains(id));
        let children: Vec<_> = ranges.iter().map(|range| self.open_shard(*range, parents.to_vec(), now)).collect();
        for id in parents {
            self.shards.get_mut(id).expect("every open shard is stored").close(&children, now);
            self.closed.push_back((now, *id));
        }
        children
    }

    pub(super) fn summary(&self) -> response::StreamSummary {
        response::StreamSummary {
            stream_name: self.name.clone(),
            stream_arn: self.arn(),
            stream_status: self.status(),
            stream_mode_details: response::StreamModeDetails {
                stream_mode: match self.mode {
                    Mode::Provisioned => "PROVISIONED",
                    Mode::OnDemand => "ON_DEMAND",
                },
            },
            stream_creation_timestamp: self.created_at,
        }
    }
}

/// The ARN of the stream with this name.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT_ID}:stream/{name}")
}
