//! Expiry of records at the end of their time to live.

use std::time::{Duration, Instant};

use super::{Engine, reshard::Unjudged};
use crate::{
    error::{Attempt, DeliveryErrorKind},
    event::Event,
    kinesis::{KinesisError, KinesisErrorKind},
    logic::{
        collector::Sent,
        compress::packed,
        pending::{Detach, Pending},
    },
};

/// Minimum delay that counts as a standstill.
const STANDSTILL: Duration = Duration::from_secs(1);

impl<T: Detach> Engine<T> {
    /// Notes that due work was not done: the process was frozen, or its threads blocked.
    pub(super) fn note_standstill(&mut self) {
        let late = self.wake.map_or(Duration::ZERO, |wake| self.now.saturating_duration_since(wake));
        if late >= STANDSTILL {
            let message = format!("nothing ran for {late:?}");
            self.meet(&KinesisError::new(KinesisErrorKind::Transient, "Standstill", message));
        }
    }

    /// Makes `error` the cause of records that are not sent, until something is stored.
    pub(super) fn meet(&mut self, error: &KinesisError) {
        let (code, message) = error.words();
        self.obstacle = Some(Attempt { delay: Duration::ZERO, duration: Duration::ZERO, code, message });
    }

    /// Latest arrival of expired records.
    fn expired_by(&self) -> Option<Instant> {
        self.config.record_ttl.and_then(|ttl| self.now.checked_sub(ttl))
    }

    pub(super) fn expire(&mut self) {
        let Some(limit) = self.expired_by() else { return };
        let expired = self.lanes.take_arrived_by(limit, self.now);
        self.fail_expired(expired);
        let is_late = |unjudged: &mut Unjudged<T>| unjudged.sent.record.first().arrived <= limit;
        for Unjudged { sent, stored, .. } in self.unjudged.extract_if(.., is_late).collect::<Vec<_>>() {
            self.lanes.set_free(&sent.origin);
            let kind = DeliveryErrorKind::WrongShard { shard_id: stored.shard_id };
            self.fail(sent.record.into_records(), &kind);
        }
    }

    pub(super) fn without_expired(&mut self, sent: Vec<Sent<T>>) -> Vec<Sent<T>> {
        let Some(limit) = self.expired_by() else { return sent };
        let mut in_time = Vec::with_capacity(sent.len());
        for Sent { record, origin, predicted } in sent {
            if record.first().arrived > limit {
                in_time.push(Sent { record, origin, predicted });
                continue;
            }
            let key = record.key();
            let (expired, rest): (Vec<_>, Vec<_>) =
                record.into_records().into_iter().partition(|record| record.course.arrived <= limit);
            self.fail_expired(expired);
            let rest = packed(rest, key, self.lanes.packing().compressing.as_ref()).into_iter();
            in_time.extend(rest.map(|record| Sent { record, origin, predicted: predicted.clone() }));
        }
        in_time
    }

    fn fail_expired(&mut self, records: Vec<Pending<T>>) {
        if !records.is_empty() {
            let user_records = records.len();
            self.emit(|stream| Event::RecordsExpired { stream, user_records });
            self.fail(records, &DeliveryErrorKind::Expired);
        }
    }
}
