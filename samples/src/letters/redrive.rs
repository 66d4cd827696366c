//! The way back of letters from any place through the application: each is taken out once it is processed.

use kcl::{BoxError, DeadLetter, Record};

use super::record;

/// Outcome of a redrive.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// Letters that were processed and taken out.
    pub processed: usize,
    /// Letters that are kept: their names, and why.
    pub failed: Vec<(String, BoxError)>,
}

impl Redriven {
    fn add(&mut self, name: String, outcome: Result<(), BoxError>) {
        match outcome {
            Ok(()) => self.processed += 1,
            Err(error) => self.failed.push((name, error)),
        }
    }
}

/// A letter of a place, by its name there.
pub(super) struct Read<T> {
    pub(super) name: String,
    pub(super) letter: Result<DeadLetter, BoxError>,
    /// The way to take it out.
    pub(super) handle: T,
}

/// A place from which letters come back, some at a time.
pub(super) trait Source {
    /// The way to take a letter out.
    type Handle;

    /// The next letters. None: the last were given.
    async fn next(&mut self) -> Result<Vec<Read<Self::Handle>>, BoxError>;

    /// Takes a letter out that is processed.
    async fn take_out(&mut self, handle: Self::Handle) -> Result<(), BoxError>;
}

/// A way to process records that come back.
pub(super) trait Reprocess {
    /// Processes records: the outcome of each, in their order.
    async fn reprocess(&self, records: Vec<Record>) -> Result<Vec<Result<(), BoxError>>, BoxError>;
}

/// A closure for each record.
pub(super) struct Each<P>(pub(super) P);

impl<P: AsyncFn(Record) -> Result<(), BoxError>> Reprocess for Each<P> {
    async fn reprocess(&self, records: Vec<Record>) -> Result<Vec<Result<(), BoxError>>, BoxError> {
        let mut outcomes = Vec::with_capacity(records.len());
        for record in records {
            outcomes.push((self.0)(record).await);
        }
        Ok(outcomes)
    }
}

/// Has all letters of a place processed, and takes out those that are.
pub(super) async fn redrive(source: &mut impl Source, by: &impl Reprocess) -> Result<Redriven, BoxError> {
    let mut redriven = Redriven::default();
    loop {
        let read = source.next().await?;
        if read.is_empty() {
            return Ok(redriven);
        }
        let (mut records, mut letters) = (Vec::new(), Vec::new());
        for Read { name, letter, handle } in read {
            match letter.and_then(|letter| record(&letter)) {
                Ok(record) => {
                    records.push(record);
                    letters.push((name, handle));
                }
                Err(error) => redriven.add(name, Err(error)),
            }
        }
        let outcomes = if records.is_empty() { Vec::new() } else { by.reprocess(records).await? };
        for ((name, handle), outcome) in letters.into_iter().zip(outcomes) {
            let taken_out = match outcome {
                Ok(()) => source.take_out(handle).await,
                Err(error) => Err(error),
            };
            redriven.add(name, taken_out);
        }
    }
}
