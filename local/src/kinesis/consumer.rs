//! The registered consumers of a stream, and their subscriptions to shards.
//!
//! (A) A consumer has at most one subscription to a shard; a younger one replaces the elder.
//! (B) A subscription that was replaced, or whose consumer or stream is gone, finds out at its next step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::error::Error;
use super::sequence::SequenceNumber;
use super::shard::ShardId;
use super::stream::arn;
use super::tags::Tags;
use crate::ACCOUNT_ID;
use crate::meter::Meter;
use crate::timestamp::Millis;

/// Lifetime of a subscription. docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
pub(super) const SESSION: Duration = Duration::from_secs(300);

/// Time during which a subscription cannot be replaced. Same source.
const TAKEOVER: Duration = Duration::from_secs(5);

/// SubscribeToShard calls of a consumer for a shard in a second. Same source.
const CALLS: u64 = 1;

/// The status of a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    Creating { until: Millis },
    Active,
    Deleting { until: Millis },
}

/// A registered consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) created_at: Millis,
    pub(super) status: Status,
    pub(super) tags: Tags,
    pub(super) policy: Option<String>,
    subscribed: BTreeMap<ShardId, Subscribed>,
    calls: BTreeMap<ShardId, Meter>,
}

#[derive(Clone, Copy, Debug)]
struct Subscribed {
    id: u64,
    since: Millis,
}

impl Consumer {
    pub(super) fn register(name: &str, tags: Tags, now: Millis, until: Millis) -> Self {
        let status = Status::Creating { until };
        Self {
            name: name.to_owned(),
            created_at: now,
            status,
            tags,
            policy: None,
            subscribed: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Brings the consumer up to `now`. Returns whether it still exists.
    pub(super) fn advance(&mut self, now: Millis) -> bool {
        match self.status {
            Status::Creating { until } if until <= now => self.status = Status::Active,
            Status::Deleting { until } if until <= now => return false,
            _ => {}
        }
        true
    }

    pub(super) fn status_text(&self) -> &'static str {
        match self.status {
            Status::Creating { .. } => "CREATING",
            Status::Active => "ACTIVE",
            Status::Deleting { .. } => "DELETING",
        }
    }

    pub(super) fn arn(&self, stream: &str) -> String {
        format!("{}/consumer/{}:{}", arn(stream), self.name, self.created_at.0 / 1000)
    }

    /// Passes when the consumer may subscribe to the shard: it is ACTIVE, and did not subscribe a moment ago.
    pub(super) fn require_free(&self, stream: &str, shard: ShardId, now: Millis) -> Result<(), Error> {
        if self.status != Status::Active {
            return Err(Error::resource_in_use(format!(
                "Consumer {} under stream {stream} under account {ACCOUNT_ID} not ACTIVE, instead in state {}",
                self.name,
                self.status_text()
            )));
        }
        match self.subscribed.get(&shard) {
            // After a clock that was set back, one is not protected for longer.
            Some(subscribed) if subscribed.since <= now && now.since(subscribed.since) < TAKEOVER => {
                Err(Error::resource_in_use(format!("Another active subscription exists for this consumer: {}", {
                    self.arn(stream)
                })))
            }
            _ => Ok(()),
        }
    }

    /// Uses a call of SubscribeToShard, successful or not, if one is left.
    pub(super) fn admit_subscription(&mut self, shard: ShardId, now: Millis) -> Result<(), Error> {
        if self.calls.entry(shard).or_default().admit(1, CALLS, now) {
            return Ok(());
        }
        Err(Error::limit_exceeded(format!("Rate exceeded for consumer {} and shard {shard}.", self.name)))
    }

    pub(super) fn subscribe(&mut self, shard: ShardId, id: u64, now: Millis) {
        self.subscribed.insert(shard, Subscribed { id, since: now });
    }

    /// Retention forgot the shard.
    pub(super) fn forget(&mut self, shard: ShardId) {
        self.subscribed.remove(&shard);
        self.calls.remove(&shard);
    }

    /// True if the subscription is still the current one.
    pub(super) fn is_subscribed(&self, shard: ShardId, id: u64) -> bool {
        self.subscribed.get(&shard).is_some_and(|subscribed| subscribed.id == id)
    }
}

/// A subscription as its reader holds it: its position and its last events.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(super) id: u64,
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) consumer: String,
    pub(super) shard: ShardId,
    /// The lowest sequence number that is still to be read.
    pub(super) from: SequenceNumber,
    /// The last position read, or the start of reading.
    pub(super) continuation: SequenceNumber,
    pub(super) told_at: Option<Millis>,
    /// Earliest time of the next records, when limits are enforced.
    pub(super) paced_until: Millis,
    pub(super) ends_at: Millis,
    pub(super) has_ended: bool,
    pub(super) changed: Arc<Notify>,
}

impl Subscription {
    /// Notified of everything that may be the subscription's next event.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}
