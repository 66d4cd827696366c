//! Answers to requests.

use super::{
    Engine, Flight,
    split::{is_single, peel, split},
};
use crate::{
    config::RecordOrder,
    error::DeliveryErrorKind,
    event::Event,
    hash_key::HashKeyRange,
    kinesis::{EntryResult, KinesisError, KinesisErrorKind},
    logic::{BatchId, collector::Sent, pending::Detach, retrier::pause},
};

impl<T: Detach> Engine<T> {
    pub(super) fn responded(&mut self, id: BatchId, result: Result<Vec<EntryResult>, KinesisError>) {
        let Some(mut flight) = self.in_flight.remove(&id) else { return };
        let sent = std::mem::take(&mut flight.sent);
        let missing = result.as_ref().is_err_and(|error| error.code().starts_with("ResourceNotFound"));
        match result {
            Ok(answers) if answers.len() == sent.len() => self.entries_answered(sent, answers, &mut flight),
            Ok(answers) => {
                let kind = DeliveryErrorKind::CountMismatch { sent: sent.len(), answered: answers.len() };
                sent.into_iter().for_each(|sent| self.fail(sent.record.into_records(), &kind));
            }
            Err(error) => {
                let ((code, message), kinesis_records) = (error.words(), sent.len());
                self.emit(|stream| Event::CallFailed { stream, kinesis_records, code, message });
                match error.kind() {
                    KinesisErrorKind::Invalid => self.refused(sent, &mut flight, &error),
                    _ => self.call_failed(sent, &mut flight, &error),
                }
            }
        }
        self.land(flight);
        if missing {
            self.forget_stream();
        }
    }

    /// Sends the next part of a split request, or ends it.
    fn land(&mut self, mut flight: Flight<T>) {
        while let Some(part) = flight.later.pop() {
            let in_time = self.without_expired(part);
            flight.sent = self.without_misfits(in_time);
            if !flight.sent.is_empty() {
                return self.send(flight);
            }
        }
        self.flow.bytes -= flight.bytes;
        flight.ranges.iter().for_each(|range| self.lanes.set_free(range));
    }

    fn entries_answered(&mut self, sent: Vec<Sent<T>>, answers: Vec<EntryResult>, flight: &mut Flight<T>) {
        let is_fault =
            |answer: &EntryResult| matches!(answer, Err(error) if error.kind() == KinesisErrorKind::Transient);
        let down = flight.ranges.len() > 1 && answers.iter().all(is_fault);
        let bytes = if flight.apart { 0 } else { flight.bytes };
        if !down && self.flow.answered(bytes, flight.started, self.now) {
            self.listing.retry_now();
        }
        let mut failed: Vec<(HashKeyRange, KinesisErrorKind)> = Vec::new();
        for (sent, answer) in sent.into_iter().zip(answers) {
            match answer {
                Ok(stored) => self.stored(sent, stored, flight),
                Err(error) => {
                    let ((code, message), shard_id) = (error.words(), sent.predicted.clone());
                    let user_records = sent.record.courses().len();
                    self.emit(|stream| Event::EntryFailed { stream, shard_id, user_records, code, message });
                    if !failed.contains(&(sent.range, error.kind())) {
                        failed.push((sent.range, error.kind()));
                    }
                    self.attempt_failed(sent, &error, flight);
                }
            }
        }
        if !failed.is_empty() && self.config.record_order != RecordOrder::BestEffort {
            self.put_back_later(flight);
        }
        if down {
            return self.pause_all(flight);
        }
        // The same for all, so that they are sent together again.
        let luck = self.rng.f64();
        for (range, kind) in failed {
            self.hold(&range, kind, luck);
        }
    }

    /// Puts the other parts back, behind what is sent again.
    fn put_back_later(&mut self, flight: &mut Flight<T>) {
        for part in flight.later.drain(..) {
            part.into_iter().for_each(|sent| self.lanes.put_back(sent.record, &sent.range));
        }
    }

    /// Splits a refused request, unless all are refused.
    fn refused(&mut self, mut sent: Vec<Sent<T>>, flight: &mut Flight<T>, error: &KinesisError) {
        if is_single(&sent) {
            self.retrier.refused_alone(error, sent[0].record.size_bytes());
        }
        if self.retrier.refuses_all(error) {
            let later: Vec<Sent<T>> = flight.later.drain(..).rev().flatten().collect();
            if let Some(kind) = self.given_up(error) {
                later.into_iter().for_each(|sent| self.fail(sent.record.into_records(), &kind));
            }
        } else if !is_single(&sent) {
            sent.iter_mut().for_each(|sent| sent.record.attempt_failed(error, flight.started, self.now));
            let halve = flight.apart && self.retrier.refused.is_none();
            let parts = if halve { split(sent, &self.config) } else { peel(sent) };
            flight.apart = true;
            return flight.later.extend(parts.into_iter().rev());
        }
        sent.into_iter().for_each(|sent| self.attempt_failed(sent, error, flight));
    }

    fn call_failed(&mut self, sent: Vec<Sent<T>>, flight: &mut Flight<T>, error: &KinesisError) {
        if self.given_up(error).is_none() {
            self.put_back_later(flight);
            self.pause_all(flight);
            self.meet(error);
        }
        if error.kind() == KinesisErrorKind::Throttled {
            let luck = self.rng.f64();
            flight.ranges.iter().for_each(|range| self.hold(range, error.kind(), luck));
        }
        sent.into_iter().for_each(|sent| self.attempt_failed(sent, error, flight));
    }

    fn pause_all(&mut self, flight: &Flight<T>) {
        let (luck, now) = (self.rng.f64(), self.now);
        let patience = self.retrier.patience(now);
        self.flow.failed(flight.started, now, |failures| {
            let pause = pause(failures, luck);
            patience.map_or(pause, |left| pause.min(left))
        });
    }

    fn attempt_failed(&mut self, mut sent: Sent<T>, error: &KinesisError, flight: &Flight<T>) {
        sent.record.attempt_failed(error, flight.started, self.now);
        match self.given_up(error) {
            Some(kind) => self.fail(sent.record.into_records(), &kind),
            None => self.lanes.put_back(sent.record, &sent.range),
        }
    }

    fn given_up(&mut self, error: &KinesisError) -> Option<DeliveryErrorKind> {
        self.retrier.given_up(error, self.config.fail_if_throttled, self.now)
    }

    fn hold(&mut self, range: &HashKeyRange, kind: KinesisErrorKind, luck: f64) {
        if matches!(kind, KinesisErrorKind::Invalid | KinesisErrorKind::Permanent) {
            return;
        }
        let now = self.now;
        for lane in self.lanes.overlapping(range) {
            lane.hold(now, |failures| pause(failures, luck));
            if let (KinesisErrorKind::Throttled, Some(limiter)) = (kind, &mut lane.limiter) {
                limiter.throttled(now);
            }
        }
    }
}
