//! A lane: the records that wait for one shard.

use std::time::{Duration, Instant};

use super::{
    gate::Gate,
    stripes::{Stripe, Stripes},
};
use crate::{
    hash_key::HashKeyRange,
    id::ShardId,
    logic::{
        aggregator::Packing,
        kinesis_record::KinesisRecord,
        limiter::{Amount, Limiter},
        numbers::Series,
        pending::{Course, Detach, Pending},
    },
};

/// Maximum time that a lane waits for its limiter to allow more: with the default rate, for 30 records or 31 KiB.
const MAX_GATHERING: Duration = Duration::from_millis(20);

/// The records that wait for one shard.
pub(crate) struct Lane<T: Detach> {
    /// `None` while the shards are unknown or the stream ignores partition keys.
    pub(crate) shard_id: Option<ShardId>,
    pub(crate) range: HashKeyRange,
    /// `None` without shard.
    pub(crate) limiter: Option<Limiter>,
    /// Records wait for their deadline, even if flushed: the shards will be known soon.
    pub(crate) patient: bool,
    /// Tells apart lanes that have had the same range.
    pub(super) number: u64,
    pub(super) stripes: Stripes<T>,
    /// Of all stripes, for records of other lanes.
    pub(super) gate: Gate,
    pub(super) listed: bool,
}

/// The free stripes of a lane at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Free {
    pub(crate) stripes: usize,
    /// Their complete Kinesis records.
    pub(crate) complete: Amount,
    /// Time at which the first of those is due, and its size.
    pub(crate) next: Option<(Instant, usize)>,
    /// Lowest number of a record with which one begins.
    pub(crate) first_number: Option<u64>,
    /// Complete aggregates behind others of their stripe.
    pub(crate) later_aggregates: usize,
    /// Maximum number of complete aggregates of a stripe.
    pub(crate) most_aggregates: usize,
}

/// The stripe that a Kinesis record was sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) range: HashKeyRange,
    pub(super) lane: u64,
    pub(super) generation: u32,
    pub(super) stripe: u32,
}

/// Consequences of a new record.
pub(crate) struct Pushed {
    /// A Kinesis record is complete, and perhaps nothing of its stripe under way.
    pub(crate) may_go: bool,
    /// Latest time to complete the aggregate that it began.
    pub(crate) opened: Option<Instant>,
}

impl<T: Detach> Lane<T> {
    pub(super) fn new(
        shard_id: Option<ShardId>,
        range: HashKeyRange,
        packing: Packing,
        limiter: Option<Limiter>,
    ) -> Self {
        let (stripes, gate) = (Stripes::new(packing), Gate::default());
        Self { shard_id, range, limiter, patient: false, number: 0, stripes, gate, listed: false }
    }

    /// Gives the lane its number, before it has records.
    pub(super) fn set_number(&mut self, number: u64) {
        self.number = number;
        if let Some(first) = self.stripes.packing().series {
            self.stripes.set_series(Series::of_lane(first, number));
        }
    }

    /// The record that arrived first.
    pub(crate) fn first(&self) -> Option<&Course> {
        self.stripes.first()
    }

    /// The gate of all stripes: closed for records that were sent from other lanes.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Stripes of the generation that may send, under way or not.
    pub(crate) fn sending(&self) -> &[Stripe<T>] {
        self.stripes.sending()
    }

    /// Returns whether a generation of stripes waits for the one before.
    pub(crate) fn is_changing(&self) -> bool {
        self.stripes.is_changing()
    }

    /// Stripes that may send now, with their indices.
    pub(crate) fn free(&self, now: Instant) -> impl Iterator<Item = (usize, &Stripe<T>)> {
        let stripes = if self.gate.is_open(now) { self.sending() } else { &[] };
        stripes.iter().enumerate().filter(move |(_, stripe)| stripe.gate.is_open(now))
    }

    /// Looks at the free stripes, once for all that is asked about them.
    pub(crate) fn look(&self, now: Instant) -> Free {
        let mut free = Free::default();
        for (_, Stripe { waiting, .. }) in self.free(now) {
            free.stripes += 1;
            free.complete.records += waiting.ready.len();
            free.complete.bytes += waiting.ready.bytes;
            free.later_aggregates += waiting.ready.aggregates.saturating_sub(1);
            free.most_aggregates = free.most_aggregates.max(waiting.ready.aggregates);
            let (Some(front), Some(due)) = (waiting.front(), waiting.front_due()) else { continue };
            let number = front.first().number;
            free.first_number = Some(free.first_number.map_or(number, |first| first.min(number)));
            if free.next.is_none_or(|(first, _)| due < first) {
                free.next = Some((due, front.size_bytes()));
            }
        }
        free
    }

    /// Time from which the limiter allows a Kinesis record of `bytes`.
    pub(crate) fn allowed_at(&self, bytes: usize, now: Instant) -> Instant {
        self.limiter.as_ref().map_or(now, |limiter| limiter.available_at(bytes, now))
    }

    /// Time until which the limiter holds what waits. It lets some gather, as each alone would justify no request: as much as one
    /// takes of a lane, its `share`, or is allowed in a short time.
    pub(crate) fn limited_until(&self, free: &Free, share: Amount, now: Instant) -> Option<Instant> {
        let (_, bytes) = free.next?;
        let least = Amount { records: 1, bytes };
        let Amount { records, bytes } = free.complete;
        let wanted = Amount { records: records.min(share.records), bytes: bytes.min(share.bytes) };
        let patience = MAX_GATHERING.min(self.stripes.packing().buffered);
        let at = self.limiter.as_ref()?.gathered_at(least, wanted, patience, now);
        (at > now).then_some(at)
    }

    /// Completes aggregates of free stripes that have waited long enough, or begin with a lower number.
    pub(crate) fn complete_due(&mut self, now: Instant, urgent_before: u64) {
        self.settle();
        if self.gate.is_open(now) {
            self.stripes.complete_due(now, urgent_before);
        }
    }

    /// Takes the first complete Kinesis record of a free stripe.
    pub(crate) fn pop(&mut self, stripe: usize) -> Option<(KinesisRecord<T>, Origin)> {
        let generation = self.stripes.sending_number();
        let origin = Origin { range: self.range, lane: self.number, generation, stripe: stripe as u32 };
        let waiting = &mut self.stripes.sending_mut().get_mut(stripe)?.waiting;
        Some((waiting.pop()?, origin))
    }

    pub(super) fn settle(&mut self) {
        if let Some(hold) = self.stripes.settle() {
            self.gate.inherit(&hold);
        }
    }

    #[inline]
    pub(super) fn push(&mut self, record: Pending<T>, may_widen: bool) -> (bool, Pushed) {
        self.settle();
        let now = record.course.arrived;
        let widens = may_widen && self.stripes.should_widen(&record, self.limiter.as_ref()) && self.gate.is_open(now);
        if widens {
            self.stripes.widen(now);
        }
        let is_busy = self.gate.is_busy();
        let (stripe, may_send) = self.stripes.push(record);
        let is_complete = stripe.waiting.front().is_some();
        // What any stripe had open is complete then.
        let may_go = widens || is_complete && may_send && !is_busy && !stripe.gate.is_busy();
        (is_complete || widens, Pushed { may_go, opened: stripe.waiting.just_opened() })
    }

    /// The gate of what was sent from `origin`: that of the stripe, or of all stripes if it was another lane's.
    pub(super) fn gate_of(&mut self, origin: &Origin) -> &mut Gate {
        match self.stripes.of(origin).filter(|_| self.number == origin.lane) {
            Some(stripe) => &mut stripe.gate,
            None => &mut self.gate,
        }
    }

    pub(super) fn recover(&mut self, origin: &Origin, now: Instant) {
        self.gate.recover();
        self.gate_of(origin).recover();
        if let Some(limiter) = &mut self.limiter {
            limiter.stored(now);
        }
    }
}
