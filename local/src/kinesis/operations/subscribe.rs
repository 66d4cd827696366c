//! SubscribeToShard: the start of a subscription, and its next event at each step.

use std::time::Duration;

use super::position::{Position, TYPES};
use crate::kinesis::check::{self, Check};
use crate::kinesis::consumer::{SESSION, Status, Subscription};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::shard::ShardId;
use crate::kinesis::shard_meters::READ_BYTES;
use crate::kinesis::stream::Stream;
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Interval of empty events. Not documented; about this at the service.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Maximum number of records of an event. Not documented; this is the limit of GetRecords.
const MAX_RECORDS: usize = 10_000;

/// Maximum size of an event in bytes, unless one record is larger. Not documented: half a second of the rate.
const MAX_BYTES: usize = 1 << 20;

/// The next step of a subscription.
#[derive(Debug)]
pub(crate) enum Next {
    /// Tells this.
    Event(response::SubscribeToShardEvent),
    /// Waits until this time, or until something changes.
    Idle { until: Millis },
    /// Ends without an error.
    Ended,
}

impl Kinesis {
    pub(super) fn subscribe_to_shard(
        &mut self,
        request: request::SubscribeToShard<'_>,
        now: Millis,
    ) -> Result<Subscription, Error> {
        let position = check_request(&request)?;
        let arn = request.consumer_arn.as_deref().unwrap_or_default();
        let consumer_arn = check::consumer_arn(arn)?;
        let id = self.subscriptions;
        let is_limited = self.limits.are_enforced;
        let stream = self.stream(consumer_arn.stream, now)?;
        stream.require_data()?;
        let shard_id = request.shard_id.as_deref().unwrap_or_default();
        let missing = Error::unknown_shard(shard_id, &stream.name);
        let shard = ShardId::parse(shard_id).filter(|id| stream.shard(*id).is_some()).ok_or(missing)?;
        let consumer = stream.consumers.get_mut(consumer_arn.consumer);
        let consumer = consumer.filter(|found| found.arn(&stream.name) == arn);
        let consumer = consumer.ok_or_else(|| Error::no_consumer(arn))?;
        if is_limited {
            consumer.admit_subscription(shard, now)?;
        }
        let (stream, consumer) = (&*stream, &stream.consumers[consumer_arn.consumer]);
        let shard = stream.shard(shard).ok_or_else(|| Error::unknown_shard(shard_id, &stream.name))?;
        let from = position.find(stream, shard, now)?;
        consumer.require_free(&stream.name, shard.id, now)?;
        if request.dry_run == Some(true) {
            return Err(Error::dry_run());
        }
        let subscription = Subscription {
            id,
            stream: stream.name.clone(),
            incarnation: stream.incarnation,
            consumer: consumer.name.clone(),
            shard: shard.id,
            from,
            continuation: from,
            told_at: None,
            paced_until: now,
            ends_at: now.plus(SESSION),
            has_ended: false,
            changed: shard.changed.clone(),
        };
        // The one that it replaces is to notice at once.
        shard.changed.notify_waiters();
        self.subscriptions += 1;
        if let Some(consumer) = self.stream(&subscription.stream, now)?.consumers.get_mut(consumer_arn.consumer) {
            consumer.subscribe(subscription.shard, id, now);
        }
        Ok(subscription)
    }

    /// One step of a subscription. After an error or `Ended` there is no other.
    pub(crate) fn next_event(&mut self, subscription: &mut Subscription, now: Millis) -> Result<Next, Error> {
        if subscription.has_ended || now >= subscription.ends_at {
            return Ok(Next::Ended);
        }
        subscription.keep_up_with(now);
        let is_limited = self.limits.are_enforced;
        let stream = self.stream(&subscription.stream, now)?;
        stream.require_data()?;
        require_subscribed(stream, subscription)?;
        Ok(subscription.step(stream, is_limited, now))
    }
}

impl Subscription {
    /// A clock that was set back neither silences the subscription nor makes it last longer.
    fn keep_up_with(&mut self, now: Millis) {
        self.told_at = self.told_at.map(|told| told.min(now));
        self.ends_at = self.ends_at.min(now.plus(SESSION));
        self.paced_until = self.paced_until.min(now.plus(HEARTBEAT));
    }

    fn step(&mut self, stream: &mut Stream, is_limited: bool, now: Millis) -> Next {
        let next_change = stream.next_change();
        let Some(shard) = stream.trimmed_shard(self.shard, now) else {
            return Next::Ended;
        };
        let batch = shard.read(self.from, MAX_RECORDS, MAX_BYTES);
        let last = batch.last().map(|record| record.sequence_number);
        let ends = batch.reaches_tip() && !shard.is_open();
        let has_news = (last.is_some() || ends) && now >= self.paced_until;
        let heartbeat = self.told_at.map_or(now, |told| told.plus(HEARTBEAT));
        if !has_news && now < heartbeat {
            let paced = (last.is_some() || ends).then_some(self.paced_until);
            let soonest = [Some(heartbeat), Some(self.ends_at), next_change, paced].into_iter().flatten().min();
            return Next::Idle { until: soonest.unwrap_or(heartbeat) };
        }
        self.told_at = Some(now);
        let unread = last.filter(|_| !has_news || !batch.reaches_tip());
        let behind = unread.map(|last| now.since(last.arrival()).as_millis());
        let behind = behind.and_then(|millis| u64::try_from(millis).ok()).unwrap_or_default();
        if !has_news {
            return Next::Event(self.event(Vec::new(), behind, None));
        }
        self.has_ended = ends;
        if is_limited {
            // In whole milliseconds and rounded up, so that the rate is never exceeded.
            let millis = (batch.size_bytes() as u64 * 1000).div_ceil(READ_BYTES);
            self.paced_until = now.plus(Duration::from_millis(millis));
        }
        let records = batch.to_vec();
        let children = ends.then(|| shard.children.clone());
        if let Some(last) = last {
            self.continuation = last;
            self.from = SequenceNumber::successor(last);
        }
        let children = children.map(|ids| ids.iter().filter_map(|id| stream.shard(*id)).map(Into::into).collect());
        Next::Event(self.event(records, behind, children))
    }

    fn event(
        &self,
        records: Vec<crate::kinesis::shard::Record>,
        millis_behind_latest: u64,
        child_shards: Option<Vec<response::ChildShard>>,
    ) -> response::SubscribeToShardEvent {
        let continuation_sequence_number = child_shards.is_none().then_some(self.continuation);
        response::SubscribeToShardEvent { records, continuation_sequence_number, millis_behind_latest, child_shards }
    }
}

fn check_request<'r>(request: &'r request::SubscribeToShard<'_>) -> Result<Position<'r>, Error> {
    let mut check = Check::default();
    check.required(&request.consumer_arn, "consumerARN");
    check.required(&request.shard_id, "shardId");
    check.required(&request.starting_position, "startingPosition");
    let Some(position) = &request.starting_position else {
        check.finish()?;
        return Err(Error::invalid_argument("StartingPosition must be provided."));
    };
    check.required(&position.position_type, "startingPosition.type");
    check.one_of(position.position_type.as_deref(), "startingPosition.type", &TYPES);
    check.sequence_number(position.sequence_number.as_ref(), "startingPosition.sequenceNumber");
    check.finish()?;
    Ok(Position {
        operation: "SubscribeToShard",
        kind: position.position_type.as_deref().unwrap_or_default(),
        number: position.sequence_number.as_deref(),
        time: position.timestamp,
    })
}

/// Passes as long as the stream and the consumer are the same and no younger subscription took over.
fn require_subscribed(stream: &Stream, subscription: &Subscription) -> Result<(), Error> {
    if stream.incarnation != subscription.incarnation {
        return Err(Error::no_stream(&stream.name, crate::ACCOUNT_ID));
    }
    let missing = || Error::no_consumer(format!("{} under stream {}", subscription.consumer, stream.name));
    let consumer = stream.consumers.get(&subscription.consumer).ok_or_else(missing)?;
    if matches!(consumer.status, Status::Deleting { .. }) {
        return Err(missing());
    }
    if stream.shard(subscription.shard).is_none() {
        // Retention forgot it while it was being read.
        return Err(Error::no_shard(subscription.shard, &stream.name));
    }
    if !consumer.is_subscribed(subscription.shard, subscription.id) {
        return Err(Error::resource_in_use(format!(
            "Another subscription of consumer {} to shard {} took over.",
            subscription.consumer, subscription.shard
        )));
    }
    Ok(())
}
