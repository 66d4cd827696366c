//! Items of the lease table and their meaning. Pure; attribute names and types are those of Java KCL 3.x.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use kpl::{HashKeyRange, ShardId};

use crate::model::{
    Bulletin, CPU, Checkpoint, FAILED, Lease, LeaseKey, LockItem, Mark, Metric, PendingCheckpoint, Regime, StreamId,
    StreamIdentity, UsageRate, VERSION_3, WorkerId, WorkerItem,
};

pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) const LEASE_KEY: &str = "leaseKey";
pub(crate) const LEASE_OWNER: &str = "leaseOwner";
pub(crate) const LEASE_COUNTER: &str = "leaseCounter";
pub(crate) const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const CHECKPOINT_SUB: &str = "checkpointSubSequenceNumber";
pub(crate) const PENDING: &str = "pendingCheckpoint";
pub(crate) const PENDING_SUB: &str = "pendingCheckpointSubSequenceNumber";
pub(crate) const PENDING_STATE: &str = "pendingCheckpointState";
/// Not those of Java, which leaves alone what it does not know.
pub(crate) const LATEST_AS_OF: &str = "latestAsOfMillis";
pub(crate) const ADOPTED_BY: &str = "adoptedBy";
pub(crate) const RESET_EPOCH: &str = "resetEpoch";
pub(crate) const DELIVERED_NUMBERS: &str = "deliveredNumbers";
pub(crate) const CHECKPOINT_OWNER: &str = "checkpointOwner";
/// Not one of Java's either.
pub(crate) const OWNER_INSTANCE: &str = "ownerInstance";
pub(crate) const PARENTS: &str = "parentShardId";
pub(crate) const CHILDREN: &str = "childShardIds";
pub(crate) const STARTING_HASH_KEY: &str = "startingHashKey";
pub(crate) const ENDING_HASH_KEY: &str = "endingHashKey";
pub(crate) const THROUGHPUT: &str = "throughputKBps";
pub(crate) const ENTITY_TYPE: &str = "entityType";

const STREAM_NAME: &str = "streamName";
const SHARD_ID: &str = "shardId";

pub(crate) const LOCK_KEY: &str = "Leader";
pub(crate) const LOCK_OWNER: &str = "ownerName";
pub(crate) const LOCK_DURATION: &str = "leaseDuration";
pub(crate) const LOCK_VERSION: &str = "recordVersionNumber";
const LOCK_RELEASED: &str = "isReleased";
/// Ours, beside Java's attributes. Java's leaders put whole items, which have none of them.
const LOCK_MOVES: &str = "moves";
const LOCK_ALERT: &str = "alert";
const LOCK_WORKERS: &str = "workers";
const LOCK_RENEWALS: &str = "renewals";
const HEARTBEATS: &str = "heartbeats";
const TURNING_BACK: &str = "turningBack";
/// Java KCL's lock duration, for a lock item whose own cannot be read.
const DEFAULT_LOCK_DURATION: Duration = Duration::from_secs(120);

pub(crate) const MIGRATION_KEY: &str = "Migration3.0";
pub(crate) const CLIENT_VERSION: &str = "cv";
/// Ours, beside Java's attributes, which it leaves alone.
pub(crate) const STREAM_ARN: &str = "streamArn";
pub(crate) const STREAM_CREATED: &str = "streamCreatedSeconds";

/// Key of a worker's item in the metrics table of KCL 3.0 to 3.4.
pub(crate) const WORKER_ID: &str = "wid";
pub(crate) const WORKER_LAST_UPDATE: &str = "lut";
pub(crate) const WORKER_PROPERTIES: &str = "properties";
pub(crate) const WORKER_METRICS: &str = "sts";
pub(crate) const WORKER_LIMITS: &str = "opr";
/// Ours, and not one of the worker's own: reports leave it alone.
pub(crate) const WORKER_DRAINED: &str = "drained";
pub(crate) const WORKER_INSTANCE: &str = "instance";
const WORKER_STARTED: &str = "startedAtMillis";
const WORKER_LEAVING: &str = "leaving";
/// Usage of the lease table, a minute.
const WORKER_REQUESTS: &str = "requests";
const WORKER_READ_UNITS: &str = "readUnits";
const WORKER_WRITE_UNITS: &str = "writeUnits";
pub(crate) const WORKER_BEAT: &str = "beat";
pub(crate) const WORKER_MARK: &str = "mark";
pub(crate) const FENCED: &str = "fenced";
pub(crate) const LOOK: &str = "look";

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entity {
    Lease(Box<Lease>),
    Worker(WorkerItem),
    Lock(LockItem),
    /// None of them, including types of the future.
    Other,
    /// Claims to be a lease and cannot be read.
    Malformed(String),
}

/// True if a worker with this id would collide with another kind of item.
pub(crate) fn is_reserved_key(key: &str) -> bool {
    let of_stream = StreamId::from(key).account().is_some() || key.contains(":shardId-");
    [LOCK_KEY, MIGRATION_KEY, migration::MIGRATION].contains(&key) || key.starts_with("shardId-") || of_stream
}

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(crate) fn string_set(shards: &[ShardId]) -> AttributeValue {
    AttributeValue::Ss(shards.iter().map(ToString::to_string).collect())
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn bytes(item: &Item, name: &str) -> Option<Bytes> {
    let found = item.get(name)?.as_b().ok()?;
    Some(Bytes::copy_from_slice(found.as_ref()))
}

fn shard_ids(item: &Item, name: &str) -> Vec<ShardId> {
    let set = item.get(name).and_then(|value| value.as_ss().ok());
    set.into_iter().flatten().map(|id| ShardId::from(id.as_str())).collect()
}

/// Sorts out an item by its `entityType`; an item without one is a lease.
pub(crate) fn classify(item: &Item) -> Entity {
    match text(item, ENTITY_TYPE) {
        None | Some("LEASE") => match read_lease(item) {
            Some(lease) => Entity::Lease(Box::new(lease)),
            None => Entity::Malformed(text(item, LEASE_KEY).unwrap_or("(no key)").to_owned()),
        },
        Some("WORKER_METRIC_STATS") => read_worker(item).map_or(Entity::Other, Entity::Worker),
        Some(_) if text(item, LEASE_KEY) == Some(LOCK_KEY) => read_lock(item).map_or(Entity::Other, Entity::Lock),
        Some(_) => Entity::Other,
    }
}

pub(crate) fn read_lease(item: &Item) -> Option<Lease> {
    if !matches!(text(item, ENTITY_TYPE), None | Some("LEASE")) {
        return None;
    }
    let key = text(item, LEASE_KEY)?;
    let stream = text(item, STREAM_NAME).map(StreamId::from);
    let shard_id = match &stream {
        Some(_) => text(item, SHARD_ID)?,
        None => key,
    };
    let checkpoint = Checkpoint::from_wire(text(item, CHECKPOINT)?, number(item, CHECKPOINT_SUB).unwrap_or(0)).ok()?;
    Some(Lease {
        key: LeaseKey::from(key),
        stream,
        shard_id: ShardId::from(shard_id),
        owner: text(item, LEASE_OWNER).map(WorkerId::from),
        checkpoint_owner: text(item, CHECKPOINT_OWNER).map(WorkerId::from),
        instance: text(item, OWNER_INSTANCE).map(Into::into),
        counter: number(item, LEASE_COUNTER)?,
        owner_switches: number(item, OWNER_SWITCHES)?,
        checkpoint,
        pending: read_pending(item),
        numbers: bytes(item, DELIVERED_NUMBERS),
        epoch: number(item, RESET_EPOCH).unwrap_or(0),
        latest_as_of_millis: number(item, LATEST_AS_OF),
        parents: shard_ids(item, PARENTS),
        children: shard_ids(item, CHILDREN),
        hash_key_range: read_range(item),
        throughput_kbps: number(item, THROUGHPUT),
    })
}

/// One that cannot be read counts as none: processing starts from the checkpoint anyway.
fn read_pending(item: &Item) -> Option<PendingCheckpoint> {
    let sub_sequence_number = number(item, PENDING_SUB).unwrap_or(0);
    let checkpoint = Checkpoint::from_wire(text(item, PENDING)?, sub_sequence_number).ok()?;
    Some(PendingCheckpoint { checkpoint, state: bytes(item, PENDING_STATE) })
}

fn read_range(item: &Item) -> Option<HashKeyRange> {
    let start = text(item, STARTING_HASH_KEY)?.parse().ok()?;
    let end = text(item, ENDING_HASH_KEY)?.parse().ok()?;
    (start < end).then_some(HashKeyRange { start, end })
}

pub(crate) fn new_lease_item(lease: &Lease) -> Item {
    let mut item = Item::from([
        (LEASE_KEY.to_owned(), s(lease.key.as_str())),
        (LEASE_COUNTER.to_owned(), n(lease.counter)),
        (OWNER_SWITCHES.to_owned(), n(lease.owner_switches)),
        (CHECKPOINT.to_owned(), s(lease.checkpoint.as_wire())),
        (CHECKPOINT_SUB.to_owned(), n(lease.checkpoint.sub_sequence_number())),
        (ENTITY_TYPE.to_owned(), s("LEASE")),
    ]);
    let optional = [
        lease.stream.as_ref().map(|stream| (STREAM_NAME, s(stream.as_str()))),
        lease.stream.as_ref().map(|_| (SHARD_ID, s(lease.shard_id.as_str()))),
        lease.owner.as_ref().map(|owner| (LEASE_OWNER, s(owner.as_str()))),
        (!lease.parents.is_empty()).then(|| (PARENTS, string_set(&lease.parents))),
        (!lease.children.is_empty()).then(|| (CHILDREN, string_set(&lease.children))),
        (lease.epoch > 0).then(|| (RESET_EPOCH, n(lease.epoch))),
        lease.hash_key_range.map(|range| (STARTING_HASH_KEY, s(range.start.to_string()))),
        lease.hash_key_range.map(|range| (ENDING_HASH_KEY, s(range.end.to_string()))),
    ];
    item.extend(optional.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)));
    item
}

pub(crate) fn read_worker(item: &Item) -> Option<WorkerItem> {
    let properties = item.get(WORKER_PROPERTIES).and_then(|value| value.as_m().ok());
    Some(WorkerItem {
        id: WorkerId::from(text(item, LEASE_KEY).or_else(|| text(item, WORKER_ID))?),
        last_update_seconds: number(item, WORKER_LAST_UPDATE)?,
        instance: properties.and_then(|map| text(map, WORKER_INSTANCE)).map(str::to_owned),
        started_at_millis: properties
            .and_then(|map| text(map, WORKER_STARTED))
            .and_then(|millis| millis.parse().ok())
            .unwrap_or(0),
        leaving: properties.is_some_and(|map| map.contains_key(WORKER_LEAVING)),
        drained: item.contains_key(WORKER_DRAINED),
        beat: properties.and_then(|map| text(map, WORKER_BEAT)).and_then(|beat| beat.parse().ok()),
        mark: properties.and_then(|map| text(map, WORKER_MARK)).and_then(read_mark),
        metrics: read_metrics(item),
        usage: properties.and_then(read_usage),
    })
}

fn read_usage(properties: &Item) -> Option<UsageRate> {
    let rate = |name: &str| text(properties, name)?.parse().ok().filter(|rate: &f64| rate.is_finite());
    Some(UsageRate::new(rate(WORKER_REQUESTS)?, rate(WORKER_READ_UNITS)?, rate(WORKER_WRITE_UNITS)?))
}

fn read_mark(mark: &str) -> Option<Mark> {
    match mark {
        FENCED => Some(Mark::Fenced),
        LOOK => Some(Mark::Look),
        _ => None,
    }
}

/// Metrics that have both values and a limit.
fn read_metrics(item: &Item) -> BTreeMap<String, Metric> {
    let map = |name: &str| item.get(name).and_then(|value| value.as_m().ok());
    let numbers = |list: &AttributeValue| -> Option<Vec<f64>> {
        list.as_l().ok()?.iter().map(|number| number.as_n().ok()?.parse().ok()).collect()
    };
    let (Some(recent), Some(limits)) = (map(WORKER_METRICS), map(WORKER_LIMITS)) else { return BTreeMap::new() };
    let metric = |(name, values): (&String, &AttributeValue)| {
        let limit = *numbers(limits.get(name)?)?.first()?;
        Some((name.clone(), Metric { recent: numbers(values)?, limit }))
    };
    recent.iter().filter_map(metric).collect()
}

/// Attributes `sts` and `opr` of a worker's item: values and limits of metrics. Java's leaders give no lease to a
/// worker whose last value is a failed sample, so a leaving worker writes that.
pub(crate) fn worker_metrics(worker: &WorkerItem) -> (AttributeValue, AttributeValue) {
    let list = |numbers: &[f64]| AttributeValue::L(numbers.iter().map(n).collect());
    let failing = BTreeMap::from([(CPU.to_owned(), Metric { recent: vec![FAILED], limit: 100.0 })]);
    let metrics = if worker.leaving { &failing } else { &worker.metrics };
    let recent = metrics.iter().map(|(name, metric)| (name.clone(), list(&metric.recent)));
    let limits = metrics.iter().map(|(name, metric)| (name.clone(), list(&[metric.limit])));
    (AttributeValue::M(recent.collect()), AttributeValue::M(limits.collect()))
}

/// The attribute `properties` of a worker's item: which run of the program holds this worker id.
pub(crate) fn worker_properties(worker: &WorkerItem) -> AttributeValue {
    let mut properties = Item::from([(WORKER_STARTED.to_owned(), s(worker.started_at_millis.to_string()))]);
    if let Some(instance) = &worker.instance {
        properties.insert(WORKER_INSTANCE.to_owned(), s(instance.as_str()));
    }
    if let Some(usage) = worker.usage {
        let rates = [
            (WORKER_REQUESTS, usage.requests),
            (WORKER_READ_UNITS, usage.read_units),
            (WORKER_WRITE_UNITS, usage.write_units),
        ];
        properties.extend(rates.map(|(name, rate)| (name.to_owned(), s(((rate * 10.0).round() / 10.0).to_string()))));
    }
    if worker.leaving {
        properties.insert(WORKER_LEAVING.to_owned(), s("true"));
    }
    if let Some(beat) = worker.beat {
        properties.insert(WORKER_BEAT.to_owned(), s(beat.to_string()));
    }
    AttributeValue::M(properties)
}

/// The item's key in the lease table.
pub(crate) fn lease_key(item: &Item) -> Option<&str> {
    text(item, LEASE_KEY)
}

/// The worker that is taking the lease over from KCL 1.x or 2.x.
pub(crate) fn adopted_by(item: &Item) -> Option<WorkerId> {
    text(item, ADOPTED_BY).map(WorkerId::from)
}

/// Reads the leader's lock; None if the item lacks an owner or a version.
pub(crate) fn read_lock(item: &Item) -> Option<LockItem> {
    Some(LockItem {
        owner: WorkerId::from(text(item, LOCK_OWNER)?),
        version: text(item, LOCK_VERSION)?.to_owned(),
        duration: text(item, LOCK_DURATION)
            .and_then(|millis| millis.parse().ok())
            .map_or(DEFAULT_LOCK_DURATION, Duration::from_millis),
        released: item.contains_key(LOCK_RELEASED),
        bulletin: number(item, LOCK_MOVES).map(|moves| Bulletin {
            moves,
            alert: item.contains_key(LOCK_ALERT),
            workers: number(item, LOCK_WORKERS).unwrap_or_default(),
        }),
        regime: match text(item, LOCK_RENEWALS) {
            Some(HEARTBEATS) => Regime::Heartbeats,
            Some(TURNING_BACK) => Regime::TurningBack,
            _ => Regime::EachLease,
        },
    })
}

/// The lock's item but for its key; the duration is a decimal string.
pub(crate) fn lock_item(lock: &LockItem) -> Item {
    let mut item = Item::from([
        (LOCK_OWNER.to_owned(), s(lock.owner.as_str())),
        (LOCK_VERSION.to_owned(), s(lock.version.as_str())),
        (LOCK_DURATION.to_owned(), s(lock.duration.as_millis().to_string())),
        (ENTITY_TYPE.to_owned(), s("LEADER")),
    ]);
    if let Some(bulletin) = lock.bulletin {
        item.insert(LOCK_MOVES.to_owned(), n(bulletin.moves));
        item.insert(LOCK_WORKERS.to_owned(), n(bulletin.workers));
        if bulletin.alert {
            item.insert(LOCK_ALERT.to_owned(), s("1"));
        }
    }
    let renewals = match lock.regime {
        Regime::EachLease => None,
        Regime::Heartbeats => Some(HEARTBEATS),
        Regime::TurningBack => Some(TURNING_BACK),
    };
    item.extend(renewals.map(|renewals| (LOCK_RENEWALS.to_owned(), s(renewals))));
    item
}

/// The item, but for its key, that declares an application to be of KCL 3.x, as Java writes it for a new application.
pub(crate) fn v3_item(me: &WorkerId, now_millis: u64) -> Item {
    let state = |version: &str| {
        Item::from([
            (CLIENT_VERSION.to_owned(), s(version)),
            ("mb".to_owned(), s(me.as_str())),
            ("mts".to_owned(), n(now_millis)),
        ])
    };
    let mut item = state(VERSION_3);
    item.insert(ENTITY_TYPE.to_owned(), s("CLIENT_VERSION_MIGRATION"));
    item.insert("h".to_owned(), AttributeValue::L(vec![AttributeValue::M(state("CLIENT_VERSION_INIT"))]));
    item
}

/// The stream that a `Migration3.0` item notes.
pub(crate) fn read_stream(item: &Item) -> Option<StreamIdentity> {
    let arn = text(item, STREAM_ARN)?.to_owned();
    Some(StreamIdentity { arn, created_seconds: number(item, STREAM_CREATED)? })
}

/// The state that a `Migration3.0` item is in.
pub(crate) fn client_version(item: &Item) -> Option<&str> {
    text(item, CLIENT_VERSION)
}

pub(crate) mod migration;
#[cfg(test)]
mod tests;
