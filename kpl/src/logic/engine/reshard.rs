//! Shards that differ from the prediction.
//!
//! An aggregate stored in another shard than predicted is judged by the range of that shard. Until the range is known, the
//! aggregate's lane waits, so that nothing overtakes it if it is sent again.

use std::time::Instant;

use super::{Action, Engine, Flight};
use crate::{
    delivered::Stored,
    event::Event,
    kinesis::{KinesisError, KinesisErrorKind, Shard, StreamSummary},
    logic::{
        aggregator::Packing,
        collector::Sent,
        lanes::LaneKind,
        pending::Detach,
        retrier::{Place, is_judged, place, wrong_shard},
    },
};

/// Number of wrong shards after which a record is sent alone and plain: no shard is wrong then.
const WRONG_SHARDS_IN_COMPANY: u32 = 2;

/// An aggregate stored in a shard whose range is not known, or not certain.
pub(super) struct Unjudged<T: Detach> {
    pub(super) sent: Sent<T>,
    pub(super) stored: Stored,
    started: Instant,
    /// The shard map was trusted at its start.
    trusted: bool,
    /// Started listings at its answer, or at its start if the map was not trusted.
    listings: u64,
}

impl<T: Detach> Engine<T> {
    pub(super) fn stored(&mut self, sent: Sent<T>, stored: Stored, flight: &Flight<T>) {
        let now = self.now;
        self.retrier.stored();
        self.obstacle = None;
        self.lanes.recover(&sent.origin, now);
        if sent.predicted.as_ref().is_some_and(|predicted| *predicted != stored.shard_id) {
            self.listing.want_after(flight.listings);
        }
        let Flight { started, untrusted, .. } = *flight;
        let trusted = untrusted.is_none();
        if trusted {
            self.map.confirm(started);
        }
        let certain = !is_judged(&sent) || untrusted.is_none_or(|seen| self.listing.succeeded > seen);
        match place(&sent, &stored, &self.map, trusted) {
            Place::Right if certain => self.deliver(sent.record, stored),
            Place::Wrong if certain => self.resend(sent, &stored, started, false),
            _ if self.listing.hopeless => self.resend(sent, &stored, started, true),
            _ => {
                let listings = untrusted.unwrap_or(self.listing.started);
                self.listing.want_after(listings);
                self.lanes.set_busy(&sent.origin);
                self.unjudged.push(Unjudged { sent, stored, started, trusted, listings });
            }
        }
    }

    /// Handles a listing, and a description if one was requested.
    pub(super) fn shards_listed(
        &mut self,
        shards: Result<Vec<Shard>, KinesisError>,
        summary: Option<Result<StreamSummary, KinesisError>>,
    ) {
        let other_stream = summary.is_some_and(|summary| self.described(summary));
        let trusted = self.map.is_trusted(self.now);
        let updated = shards.and_then(|shards| self.map.update(shards));
        let other_shards = updated.as_ref().is_ok_and(|changed| *changed);
        if (other_stream || other_shards) && !self.map.shards.is_empty() {
            let kind = if self.description.summary.ignores_partition_keys { LaneKind::Any } else { LaneKind::OfShard };
            let packing = Packing::of(&self.config, self.description.max_record_bytes(&self.config));
            let packing = Packing { series: self.series, ..packing };
            self.lanes.replace(&self.map.shards, packing, kind, self.now);
            self.restore_busy();
        }
        match updated {
            Ok(changed) => {
                self.listing.has_succeeded(self.now);
                self.map.confirm(self.now);
                if changed {
                    let open_shards = self.map.shards.len();
                    self.emit(|stream| Event::ShardMapUpdated { stream, open_shards });
                }
            }
            Err(error) => {
                let retry_in = self.listing.has_failed(error.kind(), self.now, self.rng.f64());
                if self.listing.failures == 1 {
                    let (code, message) = error.words();
                    self.emit(|stream| Event::ShardMapUnavailable { stream, code, message, retry_in });
                }
                // Nobody can say any more what the shards are.
                if error.kind() == KinesisErrorKind::Permanent && !trusted {
                    self.forget_shards();
                }
                if let Some(lane) = self.lanes.end_patience() {
                    lane.limiter = None;
                }
            }
        }
        self.judge();
    }

    /// Regroups the aggregates that no open shard owns, and returns the rest.
    pub(super) fn without_misfits(&mut self, sent: Vec<Sent<T>>) -> Vec<Sent<T>> {
        let (fitting, misfits): (Vec<_>, Vec<_>) = sent.into_iter().partition(|sent| {
            !sent.record.is_aggregate()
                || self.map.shards.is_empty()
                || self.map.fits_one(sent.record.hash_keys().range)
        });
        misfits.into_iter().for_each(|sent| self.lanes.merge(sent.record.into_records()));
        fitting
    }

    /// Returns whether the stream has changed.
    fn described(&mut self, summary: Result<StreamSummary, KinesisError>) -> bool {
        let (ignored, luck) = (self.description.summary.ignores_partition_keys, self.rng.f64());
        let changed = match summary {
            Ok(summary) => self.description.update(summary, self.now, luck),
            Err(error) => {
                if self.description.has_failed(&error, self.now, luck) {
                    let (code, message) = error.words();
                    self.emit(|stream| Event::StreamNotDescribed { stream, code, message });
                }
                false
            }
        };
        if self.description.summary.ignores_partition_keys && !ignored {
            let aggregation = self.config.aggregation;
            self.emit(|stream| Event::PartitionKeysIgnored { stream, aggregation });
        }
        // Else a record may be as large as any stream takes, and Kinesis has the last word.
        if self.description.is_settled() {
            self.actions.push_back(Action::LimitRecords { max_bytes: self.description.max_record_bytes(&self.config) });
        }
        changed
    }

    /// The stream is missing. A new one may have other shards of the same ids.
    pub(super) fn forget_stream(&mut self) {
        let listings = self.listing.started;
        self.listing.want_after(listings);
        self.description.forget();
        self.forget_shards();
    }

    fn forget_shards(&mut self) {
        if !std::mem::take(&mut self.map).shards.is_empty() {
            self.lanes.forget(self.now);
            self.restore_busy();
        }
    }

    fn restore_busy(&mut self) {
        let flights = self.in_flight.values().flat_map(|flight| &flight.origins);
        let unjudged = self.unjudged.iter().map(|unjudged| &unjudged.sent.origin);
        flights.chain(unjudged).for_each(|origin| self.lanes.set_busy(origin));
    }

    fn judge(&mut self) {
        for unjudged in std::mem::take(&mut self.unjudged) {
            let Unjudged { sent, stored, started, trusted, listings } = unjudged;
            let origin = sent.origin;
            let listed = self.listing.failures == 0 && self.listing.started > listings;
            match place(&sent, &stored, &self.map, trusted) {
                Place::Right if trusted || listed => self.deliver(sent.record, stored),
                Place::Wrong if trusted || listed => self.resend(sent, &stored, started, false),
                // The shard is closed already: its records may belong to several others by now.
                Place::Unknown if listed => self.resend(sent, &stored, started, false),
                _ if self.listing.hopeless => self.resend(sent, &stored, started, true),
                _ => {
                    self.listing.want_after(listings);
                    self.unjudged.push(Unjudged { sent, stored, started, trusted, listings });
                    continue;
                }
            }
            self.lanes.set_free(&origin);
        }
    }

    /// Sends the records of an aggregate again; `alone`: each as a Kinesis record of its own.
    fn resend(&mut self, mut sent: Sent<T>, stored: &Stored, started: Instant, alone: bool) {
        sent.record.attempt_failed(&wrong_shard(stored), started, self.now);
        // An open shard that takes what it does not own: the stream may place records by itself by now.
        let first = sent.record.hash_keys().first;
        if self.map.ranges.get(&stored.shard_id).is_some_and(|range| !range.contains(first)) {
            self.description.doubt(self.now);
        }
        let mut records = sent.record.into_records();
        if let Some(predicted) = sent.predicted {
            let (actual, user_records) = (stored.shard_id.clone(), records.len());
            self.emit(|stream| Event::WrongShard { stream, predicted, actual, user_records });
        }
        for record in &mut records {
            if record.course.count_wrong_shard() >= WRONG_SHARDS_IN_COMPANY || alone {
                record.course.set_plain();
            }
        }
        self.lanes.merge(records);
    }
}
