//! Children: one process for each shard, which speaks by lines of JSON.

mod input;
mod lines;
mod process;
mod session;
pub(crate) mod store;
mod transcript;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kcl::{Checkpoint, Position, Record, RecordBatch};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info, info_span};

use self::{process::Process, session::Session, store::Store};
use crate::{
    roster::Roster,
    wire::{
        Action,
        message::{self, Message, ProcessRecords},
    },
};

/// Program of the children, and their time limits.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Time for the answer to an action.
    pub(crate) call_limit: Duration,
    /// Time to end after the end of its input, and again after SIGTERM.
    pub(crate) exit_limit: Duration,
}

/// End of a child before its work was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChildError {
    #[error("{program} cannot be started: {error}")]
    NotStarted { program: String, error: String },
    #[error("child ended, {status}, {during}")]
    Ended { status: String, during: During },
    #[error("child gave no answer to {action} within {} s", limit.as_secs_f64())]
    NoAnswer { action: Action, limit: Duration },
    #[error("child answered for {answered}, and {asked} was asked")]
    WrongAnswer { asked: Action, answered: String },
    #[error("child closed its standard output {during}")]
    OutputClosed { during: During },
    #[error("child asks for checkpoints and does not read the answers")]
    AnswersUnread,
    #[error("child ended after shardEnded without a checkpoint")]
    EndNotCheckpointed,
}

/// Moment in the life of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct During(pub(crate) Option<Action>);

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(action) => write!(f, "before its answer to {action}"),
            None => f.write_str("while nothing was asked of it"),
        }
    }
}

/// An action for a child.
#[derive(Debug)]
pub(crate) struct Call {
    action: Action,
    message: Message,
    /// Last record of a batch.
    last: Option<Position>,
    store: Option<Store>,
    reply: oneshot::Sender<Result<Answer, ChildError>>,
}

/// Answer to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// During `shardEnded` the child asked for a checkpoint of the whole shard.
    pub(crate) is_end_covered: bool,
}

/// Handle of a child. Dropped, the child's input ends, and if need be the child is killed.
#[derive(Debug)]
pub(crate) struct Child {
    calls: mpsc::Sender<Call>,
    /// Set when the child ended by itself.
    end: Arc<OnceLock<ChildError>>,
}

impl Child {
    /// True if it ended by itself: nothing more can be asked of it.
    pub(crate) fn end(&self) -> Option<&ChildError> {
        self.end.get()
    }

    /// Starts the processing of a shard after this checkpoint.
    pub(crate) async fn initialize(&self, shard_id: &str, checkpoint: &Checkpoint) -> Result<Answer, ChildError> {
        self.ask(Action::Initialize, Message::Line(message::initialize(shard_id, checkpoint)), None, None).await
    }

    /// Has records processed. They are dropped as the child reads them.
    pub(crate) async fn process(&self, batch: RecordBatch, store: Store) -> Result<Answer, ChildError> {
        let last = batch.records.last().map(Record::position);
        let message = Message::Records(ProcessRecords::new(batch));
        self.ask(Action::ProcessRecords, message, last, Some(store)).await
    }

    /// One of the last actions, which have no contents.
    pub(crate) async fn finish(&self, action: Action, store: Option<Store>) -> Result<Answer, ChildError> {
        self.ask(action, Message::Line(message::bare(action)), None, store).await
    }

    /// Cancellation: the child is killed, as it may have done anything.
    async fn ask(
        &self,
        action: Action,
        message: Message,
        last: Option<Position>,
        store: Option<Store>,
    ) -> Result<Answer, ChildError> {
        let (reply, answer) = oneshot::channel();
        if self.calls.send(Call { action, message, last, store, reply }).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        let unknown = ChildError::Ended { status: "unknown".to_owned(), during: During(None) };
        Err(self.end.get().cloned().unwrap_or(unknown))
    }
}

/// Starts children, and knows them all.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    program: Arc<Program>,
    roster: Arc<Roster>,
    running: TaskTracker,
}

impl Launcher {
    pub(crate) fn new(program: Program, roster: Arc<Roster>) -> Self {
        Self { program: Arc::new(program), roster, running: TaskTracker::new() }
    }

    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Starts the child of a shard; after a failure not before its turn comes.
    pub(crate) async fn start(&self, shard_id: &str) -> Result<Child, ChildError> {
        self.roster.turn(shard_id).await;
        let started = Process::start(&self.program.path, &self.program.arguments);
        let started = started.map_err(|error| self.not_started(shard_id, &error))?;
        let pid = started.process.pid();
        self.roster.started(shard_id, pid);
        let (calls, asked) = mpsc::channel(1);
        let end = Arc::new(OnceLock::new());
        let span = info_span!("child", shard_id, pid);
        let session = span.in_scope(|| Session::new(self, shard_id, started, asked));
        let note = Arc::clone(&end);
        let life = async move {
            info!("started");
            session.run(&note).await;
        };
        self.running.spawn(life.instrument(span));
        Ok(Child { calls, end })
    }

    fn not_started(&self, shard_id: &str, error: &io::Error) -> ChildError {
        let error =
            ChildError::NotStarted { program: self.program.path.display().to_string(), error: error.to_string() };
        self.roster.failed(shard_id, &error.to_string());
        error
    }

    /// Waits until all children have ended. Bounded: each is killed in the end.
    pub(crate) async fn all_ended(&self) {
        self.running.close();
        self.running.wait().await;
    }
}
