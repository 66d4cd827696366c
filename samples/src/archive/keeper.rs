//! The task that keeps the records of a shard until they are an object.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use kcl::{BoxError, Checkpoint, Checkpointer, Record, Redeliver};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use super::{
    Archive,
    chain::{Appended, Chain},
    format::{Format, encode},
    schema::Schema,
};

/// Pause after an object was not written in its time, which doubles with each attempt up to the maximum.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

type Reply = oneshot::Sender<Result<(), BoxError>>;

enum Command {
    Add(Vec<Record>, Checkpointer, Reply),
    Write(Reply),
}

/// Handle of the task, which ends with it: what is not written then is delivered again.
#[derive(Debug)]
pub(super) struct Keeper {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// A task for the records after `start`.
    pub(super) fn start(archive: Archive, chain: Chain, start: Checkpoint) -> Self {
        // One: its sender waits for the reply.
        let (commands, receiver) = mpsc::channel(1);
        let keeping = Keeping {
            archive,
            chain,
            start,
            schema: None,
            records: Vec::new(),
            bytes: 0,
            checkpointer: None,
            due: None,
            pause: PAUSE,
        };
        Self { commands, task: tokio::spawn(keeping.run(receiver)) }
    }

    /// Adds records, and writes all that are kept if they are enough.
    ///
    /// # Cancellation
    /// The records may be added or not.
    pub(super) async fn add(&self, records: Vec<Record>, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.ask(|reply| Command::Add(records, checkpointer.clone(), reply)).await
    }

    /// Writes all that is kept.
    ///
    /// # Cancellation
    /// They are written all the same, unless the handle is dropped.
    pub(super) async fn write(&self) -> Result<(), BoxError> {
        self.ask(Command::Write).await
    }

    async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), BoxError> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

/// The error of a task that is gone, as after a panic: its records are delivered again, to a new one.
fn ended() -> Redeliver {
    Redeliver("the task of the archive has ended".into())
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeping {
    archive: Archive,
    chain: Chain,
    /// The end of the last object.
    start: Checkpoint,
    /// Columns of Parquet, once they are known.
    schema: Option<Arc<Schema>>,
    /// Records after it.
    records: Vec<Record>,
    bytes: usize,
    checkpointer: Option<Checkpointer>,
    /// Time at which the records are written. None: there are none.
    due: Option<Instant>,
    pause: Duration,
}

impl Keeping {
    /// Adds and writes records as it is asked to, and writes those that have waited long enough. Ends with its handle.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let due = self.due;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Add(records, checkpointer, reply)) => {
                        let _ = reply.send(self.add(records, checkpointer).await); // caller stopped waiting
                    }
                    Some(Command::Write(reply)) => {
                        let _ = reply.send(self.write().await); // caller stopped waiting
                    }
                    None => return,
                },
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => self.write_in_time().await,
            }
        }
    }

    async fn add(&mut self, records: Vec<Record>, checkpointer: Checkpointer) -> Result<(), BoxError> {
        self.checkpointer = Some(checkpointer);
        // Those of an object that another worker wrote may still come.
        let fresh = records.into_iter().filter(|record| Checkpoint::At(record.position()) > self.start);
        for record in fresh {
            self.bytes += record.data.len();
            self.records.push(record);
        }
        if self.due.is_none() && !self.records.is_empty() {
            self.due = Some(Instant::now() + self.archive.max_age);
        }
        if self.bytes >= self.archive.max_bytes || self.due.is_some_and(|due| due <= Instant::now()) {
            self.write().await?;
        }
        Ok(())
    }

    async fn write_in_time(&mut self) {
        let Err(error) = self.write().await else { return };
        tracing::warn!(%error, records = self.records.len(), "archived records cannot be written, tried again");
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    /// Writes what is kept, behind what others wrote meanwhile, and checkpoints.
    async fn write(&mut self) -> Result<(), BoxError> {
        while !self.records.is_empty() {
            let object = self.encode().await?;
            let end = match self.chain.append(&self.start, object.into()).await? {
                Appended::Created => self.records.last().map(Record::position),
                Appended::Taken => self.chain.end(&self.start).await?,
            };
            let Some(end) = end.map(Checkpoint::At) else { return Err("an object of the archive was deleted".into()) };
            self.records.retain(|record| Checkpoint::At(record.position()) > end);
            self.start = end;
        }
        (self.bytes, self.due, self.pause) = (0, None, PAUSE);
        if let (Some(checkpointer), Checkpoint::At(end)) = (&self.checkpointer, &self.start) {
            checkpointer.checkpoint_position(end.clone()).await?;
        }
        Ok(())
    }

    /// Encodes the records where they delay no other shard.
    async fn encode(&mut self) -> Result<Vec<u8>, BoxError> {
        let schema = self.schema().await?;
        let records = std::mem::take(&mut self.records);
        let encode = move || (encode(&records, schema.as_deref()), records);
        let (object, records) = match spawn_blocking(encode).await {
            Ok(encoded) => encoded,
            // Ends this task: without its records it must not write those that follow.
            Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
            Err(canceled) => return Err(canceled.into()),
        };
        self.records = records;
        object
    }

    /// The columns of Parquet: given, or those that all objects of the stream share. None: JSON lines.
    async fn schema(&mut self) -> Result<Option<Arc<Schema>>, BoxError> {
        let Format::Parquet(given) = &self.archive.format else { return Ok(None) };
        if self.schema.is_none() {
            let schema = match given {
                Some(schema) => Some(schema.clone()),
                None => self.chain.shared_schema().of(&self.records).await?,
            };
            self.schema = schema.map(Arc::new);
        }
        // Without one so far, no record is a JSON object.
        Ok(Some(self.schema.clone().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_has_ended_has_its_records_delivered_again() {
        let (commands, receiver) = mpsc::channel(1);
        drop(receiver);
        let keeper = Keeper { commands, task: tokio::spawn(std::future::ready(())) };

        let error = keeper.write().await.unwrap_err();

        assert!(error.is::<Redeliver>(), "{error}");
    }
}
