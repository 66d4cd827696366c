//! SHELL: puts entries through a producer, and writes down the outcome of each.
//!
//! Two tasks: one puts, and waits while the producer's buffer is full; one awaits the deliveries in order. A refusal that
//! concerns every record, such as a missing permission, ends the reading.

use indicatif::ProgressBar;
use kpl::{Delivery, DeliveryError, DeliveryErrorKind, Producer, PutError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    entry::{Entry, Place, Refusal},
    failed::FailedFile,
    source::{Chunk, Room},
};
use crate::{aws::refusal::is_lasting, failure::Failure, text};

/// Deliveries that are awaited. The producer's own bound is the same.
pub(crate) const OUTSTANDING: usize = 50_000;

/// Counts of a `put`.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stored: u64,
    pub(crate) stored_bytes: u64,
    /// Code and message of the refusal that ended the reading.
    pub(crate) lasting: Option<(String, String)>,
    /// The input could not be read to its end.
    pub(crate) unread: Option<Failure>,
    /// The failures could not be written down.
    pub(crate) unwritten: Option<Failure>,
    /// The input was not read to its end, because of a signal or one of the above.
    pub(crate) stopped: bool,
    /// The last line that was put.
    pub(crate) last: Option<Place>,
}

enum Pending {
    Put { place: Place, bytes: u64, delivery: Delivery },
    NotPut(Refusal),
    NotAccepted { place: Place, error: PutError },
}

/// Puts everything that `chunks` brings, until their end or until `stop`.
pub(crate) async fn send(
    producer: &Producer,
    mut chunks: mpsc::Receiver<Result<Chunk, Failure>>,
    failures: FailedFile,
    stop: CancellationToken,
    bar: &ProgressBar,
) -> (Outcome, FailedFile) {
    let (sender, receiver) = mpsc::channel(OUTSTANDING);
    let settling = Settling { outcome: Outcome::default(), failures, stop: stop.clone(), bar: bar.clone() };
    let settling = tokio::spawn(settling.run(receiver));
    let (mut unread, mut last, mut complete) = (None, None, false);
    loop {
        let chunk = tokio::select! {
            // biased: nothing more is put after a stop.
            biased;
            () = stop.cancelled() => break,
            chunk = chunks.recv() => chunk,
        };
        let chunk = match chunk {
            Some(Ok(chunk)) => chunk,
            Some(Err(failure)) => {
                unread = Some(failure);
                break;
            }
            None => {
                complete = true;
                break;
            }
        };
        for entry in chunk.entries {
            let pending = put(producer, entry).await;
            last = Some(pending.place().clone());
            if sender.send((pending, chunk.room.clone())).await.is_err() {
                break; // it ended with a failure, which it returns
            }
        }
        bar.inc(chunk.bytes);
    }
    drop(sender);
    producer.flush().await;
    match settling.await {
        Ok((mut outcome, failures)) => {
            outcome.stopped = !complete;
            (outcome.last, outcome.unread) = (last, unread);
            (outcome, failures)
        }
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn put(producer: &Producer, entry: Result<Entry, Refusal>) -> Pending {
    let Entry { place, record } = match entry {
        Ok(entry) => entry,
        Err(refusal) => return Pending::NotPut(refusal),
    };
    let bytes = record.size_bytes() as u64;
    match producer.put(record).await {
        Ok(delivery) => Pending::Put { place, bytes, delivery },
        Err(error) => Pending::NotAccepted { place, error },
    }
}

impl Pending {
    fn place(&self) -> &Place {
        match self {
            Self::Put { place, .. } | Self::NotAccepted { place, .. } => place,
            Self::NotPut(refusal) => &refusal.place,
        }
    }
}

struct Settling {
    outcome: Outcome,
    failures: FailedFile,
    stop: CancellationToken,
    bar: ProgressBar,
}

impl Settling {
    async fn run(mut self, mut pending: mpsc::Receiver<(Pending, Room)>) -> (Outcome, FailedFile) {
        while let Some((next, _room)) = pending.recv().await {
            if let Err(failure) = self.settle(next).await {
                self.stop.cancel();
                self.outcome.unwritten.get_or_insert(failure);
            }
        }
        (self.outcome, self.failures)
    }

    async fn settle(&mut self, pending: Pending) -> Result<(), Failure> {
        match pending {
            Pending::NotPut(refusal) => self.failures.refused(refusal),
            Pending::NotAccepted { place, error } => self.failures.failed(&place, error.to_string(), error.record()),
            Pending::Put { place, bytes, delivery } => match delivery.await {
                Ok(_) => {
                    self.outcome.stored += 1;
                    self.outcome.stored_bytes += bytes;
                    if self.outcome.stored.is_multiple_of(1_000) {
                        self.bar.set_message(text::counted(self.outcome.stored, "record"));
                    }
                    Ok(())
                }
                Err(error) => self.failed(&place, &error),
            },
        }
    }

    fn failed(&mut self, place: &Place, error: &DeliveryError) -> Result<(), Failure> {
        if let DeliveryErrorKind::Rejected { code, message, .. } = error.kind()
            && is_lasting(code)
        {
            self.outcome.lasting.get_or_insert_with(|| (code.to_string(), message.to_string()));
            self.stop.cancel();
        }
        self.failures.failed(place, error.to_string(), error.record())
    }
}
