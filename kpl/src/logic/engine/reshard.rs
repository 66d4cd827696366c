//! What the engine does when a shard is not what it was thought to be.
//!
//! An aggregate that was stored elsewhere than predicted is judged by the range of the shard that took it. Until that
//! range is known, the aggregate's lane waits, so that nothing overtakes it should it have to be sent again.

use std::time::Instant;

use super::{Action, Engine, Flight};
use crate::{
    Event,
    kinesis::{KinesisError, Shard, Stored, StreamSummary},
    logic::{
        aggregator::Packing,
        collector::Sent,
        lanes::LaneKind,
        pending::Detach,
        retrier::{Place, place, wrong_shard},
    },
};

/// A record whose aggregate was stored in a wrong shard this often goes alone: alone, no shard is wrong.
const WRONG_SHARDS_IN_COMPANY: u32 = 2;

/// An aggregate that was stored in a shard of which the range is not known.
#[derive(Debug)]
pub(super) struct Unjudged<T: Detach> {
    pub(super) sent: Sent<T>,
    pub(super) stored: Stored,
    started: Instant,
    /// Listings of shards that had been started when it was answered.
    listings: u64,
}

impl<T: Detach> Engine<T> {
    /// A Kinesis record was stored, wherever.
    pub(super) fn stored(&mut self, sent: Sent<T>, stored: Stored, flight: &Flight<T>) {
        if sent.predicted.as_ref().is_some_and(|predicted| *predicted != stored.shard_id) {
            self.listing.want_after(flight.listings);
        }
        match place(&sent, &stored, &self.map) {
            Place::Right => self.deliver(sent.record, stored),
            Place::Wrong => self.resend(sent, &stored, flight.started, false),
            Place::Unknown if self.listing.is_hopeless() => self.resend(sent, &stored, flight.started, true),
            Place::Unknown => {
                let listings = self.listing.started();
                self.listing.want_after(listings);
                self.lanes.set_busy(&sent.range);
                self.unjudged.push(Unjudged { sent, stored, started: flight.started, listings });
            }
        }
    }

    /// The shards were listed, or not; the stream was described, or not, or that was not asked.
    pub(super) fn shards_listed(
        &mut self,
        shards: Result<Vec<Shard>, KinesisError>,
        summary: Option<Result<StreamSummary, KinesisError>>,
    ) {
        let other_stream = summary.is_some_and(|summary| self.described(summary));
        let updated = shards.and_then(|shards| self.map.update(shards));
        let other_shards = updated.as_ref().is_ok_and(|changed| *changed);
        if (other_stream || other_shards) && !self.map.is_unknown() {
            let kind = match self.description.ignores_partition_keys() {
                true => LaneKind::Any,
                false => LaneKind::OfShard,
            };
            self.lanes.replace(self.map.shards(), self.packing(), kind, self.now);
            self.restore_busy();
        }
        match updated {
            Ok(changed) => {
                self.listing.has_succeeded(self.now);
                if changed {
                    self.notify(Event::ShardMapUpdated { open_shards: self.map.shards().len() });
                }
                self.judge();
            }
            Err(error) => {
                let retry_in = self.listing.has_failed(error.kind(), self.now, self.rng.f64());
                if self.listing.failures() == 1 {
                    let (code, message) = (error.code().clone(), error.message().clone());
                    self.notify(Event::ShardMapUnavailable { code, message, retry_in });
                }
                if let Some(lane) = self.lanes.unknown_lane() {
                    (lane.patient, lane.limiter) = (false, None);
                }
                self.judge();
            }
        }
    }

    /// Regroups the aggregates that fit no open shard any more, and returns the rest.
    pub(super) fn without_misfits(&mut self, sent: Vec<Sent<T>>) -> Vec<Sent<T>> {
        let (fitting, misfits): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| {
            !sent.record.is_aggregate() || self.map.is_unknown() || self.map.fits_one(sent.record.hash_keys().range())
        });
        misfits.into_iter().for_each(|sent| self.lanes.merge(sent.record.into_records()));
        fitting
    }

    /// Returns whether the stream is other than it was thought to be.
    fn described(&mut self, summary: Result<StreamSummary, KinesisError>) -> bool {
        let ignored = self.description.ignores_partition_keys();
        let changed = match summary {
            Ok(summary) => self.description.update(summary, self.now),
            Err(error) => {
                if self.description.has_failed(&error) {
                    let (code, message) = (error.code().clone(), error.message().clone());
                    self.notify(Event::StreamNotDescribed { code, message });
                }
                false
            }
        };
        if self.description.ignores_partition_keys() && !ignored {
            self.notify(Event::PartitionKeysIgnored { aggregation: self.config.aggregation });
        }
        self.actions.push_back(Action::LimitRecords { max_bytes: self.description.max_record_bytes(&self.config) });
        changed
    }

    fn packing(&self) -> Packing {
        Packing::of(&self.config, self.description.max_record_bytes(&self.config))
    }

    /// There is no such stream. Should there be one again, it may have other shards of the same names.
    pub(super) fn forget_stream(&mut self) {
        let listings = self.listing.started();
        self.listing.want_after(listings);
        self.description.forget();
        if !std::mem::take(&mut self.map).shards().is_empty() {
            self.lanes.forget(self.now);
            self.restore_busy();
        }
    }

    /// The lanes are others now, what is in flight is not.
    fn restore_busy(&mut self) {
        let flights = self.in_flight.values().flat_map(|flight| &flight.ranges);
        let unjudged = self.unjudged.iter().map(|unjudged| &unjudged.sent.range);
        flights.chain(unjudged).for_each(|range| self.lanes.set_busy(range));
    }

    /// Judges what was stored in shards that were not known.
    fn judge(&mut self) {
        for unjudged in std::mem::take(&mut self.unjudged) {
            let Unjudged { sent, stored, started, listings } = unjudged;
            let range = sent.range;
            match place(&sent, &stored, &self.map) {
                Place::Right => self.deliver(sent.record, stored),
                Place::Wrong => self.resend(sent, &stored, started, false),
                // The shard is closed already: its records may belong to several others by now.
                Place::Unknown if self.listing.failures() == 0 && self.listing.is_after(listings) => {
                    self.resend(sent, &stored, started, false);
                }
                Place::Unknown if self.listing.is_hopeless() => self.resend(sent, &stored, started, true),
                Place::Unknown => {
                    self.listing.want_after(listings);
                    self.unjudged.push(Unjudged { sent, stored, started, listings });
                    continue;
                }
            }
            self.lanes.set_free(&range);
        }
    }

    /// Sends the records of an aggregate again that was stored in a shard not known to own them all; `alone` for each
    /// as a Kinesis record of its own.
    fn resend(&mut self, mut sent: Sent<T>, stored: &Stored, started: Instant, alone: bool) {
        sent.record.attempt_failed(&wrong_shard(stored), started, self.now);
        let mut records = sent.record.into_records();
        if let Some(predicted) = sent.predicted {
            let (actual, user_records) = (stored.shard_id.clone(), records.len());
            self.notify(Event::WrongShard { predicted, actual, user_records });
        }
        for record in &mut records {
            if record.course.count_wrong_shard() >= WRONG_SHARDS_IN_COMPANY || alone {
                record.course.set_alone();
            }
        }
        self.lanes.merge(records);
    }
}
