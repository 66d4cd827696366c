//! Answers to requests.

use super::{
    Engine, Flight,
    split::{is_single, peel, split},
};
use crate::{
    config::RecordOrder,
    error::DeliveryErrorKind,
    event::Event,
    kinesis::{EntryResult, KinesisError, KinesisErrorKind},
    logic::{BatchId, collector::Sent, lanes::Origin, pending::Detach, retrier::pause},
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
        flight.origins.iter().for_each(|origin| self.lanes.set_free(origin));
    }

    fn entries_answered(&mut self, sent: Vec<Sent<T>>, answers: Vec<EntryResult>, flight: &mut Flight<T>) {
        let is_fault =
            |answer: &EntryResult| matches!(answer, Err(error) if error.kind() == KinesisErrorKind::Transient);
        let of_two_shards = |pair: &[Origin]| pair[0].range != pair[1].range;
        let down = answers.iter().all(is_fault) && flight.origins.windows(2).any(of_two_shards);
        let bytes = if flight.apart { 0 } else { flight.bytes };
        if !down && self.flow.answered(bytes, flight.started, self.now) {
            self.listing.retry_now();
        }
        let mut failed: Vec<(Origin, KinesisErrorKind)> = Vec::new();
        for (sent, answer) in sent.into_iter().zip(answers) {
            match answer {
                Ok(stored) => self.stored(sent, stored, flight),
                Err(error) => {
                    let ((code, message), shard_id) = (error.words(), sent.predicted.clone());
                    let user_records = sent.record.courses().len();
                    self.emit(|stream| Event::EntryFailed { stream, shard_id, user_records, code, message });
                    if !failed.contains(&(sent.origin, error.kind())) {
                        failed.push((sent.origin, error.kind()));
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
        self.hold(&failed, flight);
    }

    /// Puts the other parts back, behind what is sent again.
    fn put_back_later(&mut self, flight: &mut Flight<T>) {
        for part in flight.later.drain(..) {
            part.into_iter().for_each(|sent| self.lanes.put_back(sent.record, &sent.origin));
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
            let parts =
                if halve { split(sent, &self.config) } else { peel(sent, self.lanes.packing().compressing.as_ref()) };
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
            self.hold(&flight.origins.iter().map(|origin| (*origin, error.kind())).collect::<Vec<_>>(), flight);
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
            None => self.lanes.put_back(sent.record, &sent.origin),
        }
    }

    fn given_up(&mut self, error: &KinesisError) -> Option<DeliveryErrorKind> {
        self.retrier.given_up(error, self.config.fail_if_throttled, self.now)
    }

    /// Holds the origins of failures that may pass, all for the same time, so that their records are sent together again.
    fn hold(&mut self, failed: &[(Origin, KinesisErrorKind)], flight: &Flight<T>) {
        let luck = self.rng.f64();
        let may_pass =
            |kind: &KinesisErrorKind| !matches!(kind, KinesisErrorKind::Invalid | KinesisErrorKind::Permanent);
        let failed: Vec<_> = failed.iter().filter(|(_, kind)| may_pass(kind)).copied().collect();
        self.lanes.hold(&failed, flight.started, self.now, |failures| pause(failures, luck));
    }
}
