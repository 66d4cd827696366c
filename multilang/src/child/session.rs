//! The task of one child: hands it actions, hears its lines, stores its checkpoints, sees it end.

use std::{
    future::pending,
    process::ExitStatus,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    process::ChildStdout,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    Answer, Call, ChildError, During, Launcher, Program,
    input::Input,
    lines::Lines,
    process::{Process, Started, unread},
    store::Store,
    transcript::Transcript,
};
use crate::{
    roster::Roster,
    turns::{Decision, Reaction, Turns},
    wire::{Action, message, request},
};

/// Maximum length of a line of a child; a message has a few hundred bytes, and what exceeds this is text.
const MAX_LINE: usize = 64 << 10;
/// Time for what is left to be read after the child's end, and for the end after its output has ended.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Asked {
    reply: oneshot::Sender<Result<Answer, ChildError>>,
    action: Action,
    deadline: Instant,
}

#[derive(Debug)]
pub(crate) struct Session {
    shard_id: String,
    roster: Arc<Roster>,
    program: Arc<Program>,
    process: Process,
    input: Input,
    output: Lines<ChildStdout>,
    transcript: Transcript,
    calls: mpsc::Receiver<Call>,
    turns: Turns,
    asked: Option<Asked>,
    /// Place of checkpoints, since the first batch.
    store: Option<Store>,
    has_warned: bool,
}

/// Reason why a child is needed no more.
enum Over {
    /// Its processor is done.
    Done,
    /// Its processor was dropped in the middle of an action.
    Abandoned,
    Failed(ChildError),
}

impl From<ChildError> for Over {
    fn from(error: ChildError) -> Self {
        Self::Failed(error)
    }
}

impl Session {
    pub(crate) fn new(launcher: &Launcher, shard_id: &str, started: Started, calls: mpsc::Receiver<Call>) -> Self {
        let Started { process, stdin, stdout, stderr } = started;
        Self {
            shard_id: shard_id.to_owned(),
            roster: Arc::clone(&launcher.roster),
            program: Arc::clone(&launcher.program),
            process,
            input: Input::new(stdin),
            output: Lines::new(stdout, MAX_LINE),
            transcript: Transcript::start(stderr),
            calls,
            turns: Turns::default(),
            asked: None,
            store: None,
            has_warned: false,
        }
    }

    /// Serves the child until it, or the need for it, ends. Then it is gone, in any case.
    pub(crate) async fn run(mut self, end: &OnceLock<ChildError>) {
        let over = self.serve().await;
        self.input.close();
        self.see_it_end(matches!(over, Over::Done)).await;
        self.transcript.finish().await;
        let Over::Failed(error) = over else {
            self.roster.ended(&self.shard_id);
            return;
        };
        warn!(%error, "child failed; its shard goes on with another from the last checkpoint");
        self.roster.failed(&self.shard_id, &error.to_string());
        // Set once, here.
        let _ = end.set(error.clone());
        if let Some(asked) = self.asked.take() {
            // The processor may have been dropped meanwhile.
            let _ = asked.reply.send(Err(error));
        }
    }

    /// Handles: what the child says, its end, room in its input, the time limit, a processor that was dropped, calls.
    async fn serve(&mut self) -> Over {
        loop {
            if let Some(over) = self.overdue() {
                return over;
            }
            self.input.release(self.output.taken());
            let step = tokio::select! {
                // biased: what the child said before it got an action must not be taken for a part of that.
                biased;
                line = self.output.next() => match line {
                    Ok(Some(line)) => self.hear(&line).await,
                    _ => return self.output_closed().await,
                },
                status = self.process.wait() => return self.ended(status.ok()).await,
                is_read = self.input.go_on() => {
                    if is_read {
                        self.input.hold_until(self.output.received() + unread(self.output.source()));
                    }
                    continue;
                }
                () = given_up(&mut self.asked) => continue,
                call = self.calls.recv(), if self.asked.is_none() => match call {
                    Some(call) => { self.begin(call); continue; }
                    None => return Over::Done,
                },
            };
            if let Err(error) = step {
                return error.into();
            }
        }
    }

    /// The time limit, and the processor's interest: looked at before each step, as a child may talk without a pause.
    fn overdue(&self) -> Option<Over> {
        let asked = self.asked.as_ref()?;
        if asked.reply.is_closed() {
            return Some(Over::Abandoned);
        }
        let limit = self.program.call_limit;
        (Instant::now() >= asked.deadline).then(|| ChildError::NoAnswer { action: asked.action, limit }.into())
    }

    fn begin(&mut self, call: Call) {
        let deadline = Instant::now() + self.program.call_limit;
        self.turns.begin(call.action, call.last);
        self.store = call.store.or(self.store.take());
        self.asked = Some(Asked { reply: call.reply, action: call.action, deadline });
        self.input.push_action(call.message);
    }

    async fn hear(&mut self, line: &[u8]) -> Result<(), ChildError> {
        match self.turns.hear(request::read(line), self.input.is_action_read()) {
            Reaction::Nothing => {}
            Reaction::Text(text) => info!("{text}"),
            Reaction::Unasked(action) => warn!(action, "a status that nobody waits for is dropped"),
            Reaction::Answered => {
                self.roster.answered(&self.shard_id, self.store.is_some());
                if let Some(asked) = self.asked.take() {
                    // The processor may have been dropped meanwhile.
                    let _ = asked.reply.send(Ok(Answer { is_end_covered: self.turns.is_end_covered() }));
                }
            }
            Reaction::WrongAnswer(answered) => {
                if let Some(asked) = self.turns.in_hand() {
                    return Err(ChildError::WrongAnswer { asked, answered });
                }
            }
            Reaction::Checkpoint(echo, decision) => {
                self.note_late(&decision);
                let refusal = Store::carry_out(self.store.as_ref(), decision).await;
                debug!(?echo, ?refusal, "checkpoint");
                if !self.input.push(message::checkpoint(&echo, refusal)) {
                    return Err(ChildError::AnswersUnread);
                }
            }
        }
        Ok(())
    }

    fn note_late(&mut self, decision: &Decision) {
        if matches!(decision, Decision::Cover { is_late: true, .. }) && !self.has_warned {
            self.has_warned = true;
            warn!(
                "child checkpoints without a number outside of its actions: from now on that covers the batches it has answered"
            );
        }
    }

    async fn output_closed(&mut self) -> Over {
        match timeout(REST, self.process.wait()).await {
            Ok(status) => self.ended(status.ok()).await,
            Err(_) if self.has_nothing_to_do() => Over::Done,
            Err(_) => ChildError::OutputClosed { during: During(self.turns.in_hand()) }.into(),
        }
    }

    /// Its last words may be the answer.
    async fn ended(&mut self, status: Option<ExitStatus>) -> Over {
        let rest = async {
            while let Ok(Some(line)) = self.output.next().await {
                if let Err(error) = self.hear(&line).await {
                    return Some(error);
                }
            }
            None
        };
        if let Some(error) = timeout(REST, rest).await.ok().flatten() {
            return error.into();
        }
        let status = status.map_or_else(|| "its status is unknown".to_owned(), |status| status.to_string());
        if self.has_nothing_to_do() {
            debug!(status, "ended");
            return Over::Done;
        }
        ChildError::Ended { status, during: During(self.turns.in_hand()) }.into()
    }

    fn has_nothing_to_do(&self) -> bool {
        self.asked.is_none() && (self.calls.is_closed() || self.turns.is_over())
    }

    /// Its input has ended: waits, then asks it by SIGTERM, then kills it. `is_at_ease`: it may take its time at first.
    async fn see_it_end(&mut self, is_at_ease: bool) {
        let limit = self.program.exit_limit;
        if is_at_ease && self.ends_within(limit).await {
            return;
        }
        if is_at_ease {
            warn!(limit_seconds = limit.as_secs_f64(), "child does not end, though its input did; it is sent SIGTERM");
        }
        self.process.terminate();
        if self.ends_within(limit).await {
            return;
        }
        warn!(limit_seconds = limit.as_secs_f64(), "child does not end at SIGTERM; it is killed");
        self.process.kill();
        if !self.ends_within(limit).await {
            warn!("child was killed and has not ended");
        }
    }

    /// Its output is read all the while, or it might wait for that.
    async fn ends_within(&mut self, limit: Duration) -> bool {
        let end = async {
            let mut is_open = true;
            loop {
                tokio::select! {
                    status = self.process.wait() => return status.ok(),
                    line = self.output.next(), if is_open => match line {
                        Ok(Some(line)) => info!("{}", String::from_utf8_lossy(&line)),
                        _ => is_open = false,
                    },
                }
            }
        };
        let Ok(status) = timeout(limit, end).await else { return false };
        info!(status = status.map(|status| status.to_string()), "ended");
        true
    }
}

/// Resolves at the time limit of an action, or when its processor is dropped.
async fn given_up(asked: &mut Option<Asked>) {
    let Some(asked) = asked else { return pending().await };
    tokio::select! {
        () = asked.reply.closed() => {}
        () = sleep_until(asked.deadline) => {}
    }
}
