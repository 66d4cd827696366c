//! Kinesis Data Streams: the streams of one account in one region, and the operations on them.
//!
//! Pure: no task, no clock, no SDK, no waiting. Every call is one step of a state machine that gets `now` as an argument; what
//! takes time at the service (creating, resharding, deleting) is caught up with when a later call comes.
//!
//! `operations.rs` dispatches by name and holds the operations; `stream.rs`, `shard.rs`, `reshard.rs` the state;
//! `request.rs` and `response.rs` the wire. `consumer.rs` the consumers with enhanced
//! fan-out, whose events `next_event` returns one by one. `limits.rs` and
//! `shard_meters.rs` decide about limits.

mod check;
mod consumer;
mod error;
mod hash_key;
mod iterator;
mod limits;
mod operations;
mod request;
mod reshard;
mod response;
mod sequence;
mod shard;
mod shard_meters;
mod stream;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::consumer::Subscription;
pub(crate) use self::error::Error;
pub(crate) use self::limits::Limits;
use self::limits::{CallMeters, MAX_CREATING_STREAMS, Retained};
pub(crate) use self::operations::{Call, Next, OPERATIONS, Reply, Step};
use self::sequence::Eras;
pub(crate) use self::stream::arn;
use self::stream::{State, Stream};
use crate::ACCOUNT_ID;
use crate::timestamp::Millis;

/// Configured delays of the service. Default: all zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) creating: Duration,
    pub(crate) updating: Duration,
    pub(crate) deleting: Duration,
    pub(crate) registering: Duration,
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct Kinesis {
    delays: Delays,
    limits: Limits,
    calls: CallMeters,
    retained: Retained,
    streams: BTreeMap<String, Stream>,
    incarnations: u64,
    eras: Eras,
    subscriptions: u64,
}

impl Kinesis {
    pub(crate) fn new(delays: Delays, limits: Limits) -> Self {
        Self { delays, limits, ..Self::default() }
    }

    fn open_shards(&self) -> usize {
        self.streams.values().map(Stream::shard_count).sum()
    }

    /// Passes if the account may have `more` open shards.
    fn require_shards(&self, more: usize) -> Result<(), Error> {
        let limit = self.limits.account_shards;
        if self.open_shards().saturating_add(more) <= limit {
            return Ok(());
        }
        Err(Error::too_many_shards(limit, more))
    }

    /// Passes when the limits allow another stream to be CREATING.
    fn require_few_creating(&mut self, now: Millis) -> Result<(), Error> {
        if !self.limits.are_enforced {
            return Ok(());
        }
        self.settle(now);
        let creating = self.streams.values().filter(|stream| matches!(stream.state, State::Creating { .. })).count();
        if creating < MAX_CREATING_STREAMS {
            return Ok(());
        }
        Err(Error::limit_exceeded(format!(
            "Account {ACCOUNT_ID} has reached the limit of {MAX_CREATING_STREAMS} streams in state CREATING."
        )))
    }

    /// Passes when the limits allow another call of the operation.
    fn admit(&mut self, operation: &str, now: Millis) -> Result<(), Error> {
        if self.limits.are_enforced { self.calls.admit(operation, now) } else { Ok(()) }
    }

    /// True if the limit of kept records is reached, after those past retention were dropped.
    fn is_full(&mut self, now: Millis) -> bool {
        if self.retained.bytes() < self.limits.retained_bytes {
            return false;
        }
        self.settle(now);
        self.streams.values_mut().for_each(|stream| stream.trim(now));
        self.retained.bytes() >= self.limits.retained_bytes
    }

    /// The stream, brought up to `now`.
    fn stream(&mut self, name: &str, now: Millis) -> Result<&mut Stream, Error> {
        self.advance(name, now);
        self.streams.get_mut(name).ok_or_else(|| Error::no_stream(name, ACCOUNT_ID))
    }

    /// Brings all streams up to `now`.
    pub(crate) fn settle(&mut self, now: Millis) {
        self.streams.retain(|_, stream| stream.advance(now));
    }

    fn advance(&mut self, name: &str, now: Millis) {
        if let Some(stream) = self.streams.get_mut(name)
            && !stream.advance(now)
        {
            self.streams.remove(name);
        }
    }
}
