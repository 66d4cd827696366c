//! SHELL: reads a shard by SubscribeToShard, as [`logic::pacing`](crate::logic::read::pacing) says.
//!
//! Back-pressure: while the buffer or the memory is full the subscription is not read, and the service sends at most the
//! connection's window. A session that ends meanwhile is followed by another from where the reading stands.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt as _;
use tokio::time::{sleep, timeout};

use super::{Answer, Done, Reader};
use crate::{
    context::{Context, memory::Held},
    error::{KinesisError, KinesisErrorKind},
    kinesis::SubscriptionEvent,
    logic::read::{
        answer_size::AnswerSize,
        pacing::{LastSession, is_news, pause},
    },
    model::{FanOut, Retrieval},
    stream::Stream,
    time::now,
};

/// Maximum silence of a subscription: the service sends an event every 5 s, records or not.
const SILENCE: Duration = Duration::from_secs(30);

/// Average pause between tries to go back to fan-out.
const RETRY: Duration = Duration::from_secs(300);

/// Time after its start within which a worker without shards looks consumers up, at random.
const PREPARE: Duration = Duration::from_secs(30);

/// Reads until the shard's end, until nobody listens, or until fan-out is refused and polling is allowed instead: Ok.
pub(super) async fn read(reader: &mut Reader, settings: &FanOut) -> Result<KinesisError, Done> {
    let (called_at, succeeded_at) = (None, None);
    let mut fan_out = FanOutReader { reader, settings, called_at, succeeded_at, in_use: 0, failures: 0, behind: false };
    loop {
        let last = match fan_out.session().await {
            Ok(()) => LastSession::Ended,
            Err(SessionEnd::Done(done)) => return Err(done),
            Err(SessionEnd::Refused(error)) if settings.or_polling => return Ok(error),
            Err(SessionEnd::Refused(error) | SessionEnd::Failed(error)) => fan_out.failed(&error),
        };
        let since = |at: Option<Instant>| at.map(|at| now() - at);
        let since_call = since(fan_out.called_at).unwrap_or(Duration::MAX);
        sleep(pause(last, since_call, since(fan_out.succeeded_at), fastrand::f64())).await;
    }
}

enum SessionEnd {
    Done(Done),
    /// Trying again is of little use.
    Refused(KinesisError),
    Failed(KinesisError),
}

impl From<Done> for SessionEnd {
    fn from(done: Done) -> Self {
        Self::Done(done)
    }
}

impl From<KinesisError> for SessionEnd {
    fn from(error: KinesisError) -> Self {
        Self::Failed(error)
    }
}

struct FanOutReader<'a> {
    reader: &'a mut Reader,
    settings: &'a FanOut,
    called_at: Option<Instant>,
    succeeded_at: Option<Instant>,
    in_use: u32,
    failures: u32,
    /// More records follow at once.
    behind: bool,
}

impl FanOutReader<'_> {
    /// One subscription from its call to its end. Ok: it ended as it should.
    async fn session(&mut self) -> Result<(), SessionEnd> {
        self.reader.sender.room().await?;
        let (context, stream) = (&self.reader.context, &self.reader.stream);
        let name = self.settings.name(&context.settings.application);
        let arn = stream.registration.arn(stream, name, &context.events).await.map_err(|error| match error.kind {
            // The registration has tried for long.
            KinesisErrorKind::Other => SessionEnd::Failed(error),
            _ => SessionEnd::Refused(error),
        })?;
        self.called_at = Some(now());
        match self.subscribe(&arn).await {
            Err(SessionEnd::Failed(error)) => Err(self.judge(error, &arn).await),
            ended => ended,
        }
    }

    async fn subscribe(&mut self, arn: &str) -> Result<(), SessionEnd> {
        let Reader { context, stream, shard_id, cursor, .. } = &mut *self.reader;
        let asked_at = context.clock.now();
        let mut subscription = stream.kinesis.subscribe(arn, shard_id, cursor.position()).await?;
        self.succeeded_at = Some(now());
        self.reader.opened().await?;
        loop {
            let mut held = self.reader.reserve(AnswerSize::ask_for_event).await?;
            if !self.behind {
                // The next event may be long in coming: what others may borrow does not wait with this.
                held.keep_share();
            }
            let Ok(event) = timeout(SILENCE, subscription.next()).await else {
                let source = format!("no event for {SILENCE:?}");
                return Err(KinesisError::other("kinesis:SubscribeToShard", source).into());
            };
            let Some(event) = event else { return Ok(()) };
            self.take(event?, asked_at, held).await?;
        }
    }

    async fn take(&mut self, event: SubscriptionEvent, asked_at: SystemTime, held: Held) -> Result<(), SessionEnd> {
        let SubscriptionEvent { mut records, continuation, children, behind_latest } = event;
        self.behind = behind_latest.is_some_and(|behind| !behind.is_zero());
        let cursor = &mut self.reader.cursor;
        records.retain(|record| cursor.is_new(&record.sequence_number));
        if let Some(last) = records.last() {
            cursor.read_to(&last.sequence_number);
        }
        // Buffered events may be old, so only the time of the call counts.
        if self.reader.deliver_records(Answer { records, behind_latest, asked_at, held }).await? {
            return Err(self.reader.end(Vec::new()).await.into());
        }
        match continuation {
            Some(continuation) => self.reader.cursor.sent_to(&continuation),
            None => {
                let children = self.reader.children(children).await?;
                return Err(self.reader.end(children).await.into());
            }
        }
        (self.in_use, self.failures) = (0, 0);
        Ok(())
    }

    async fn judge(&mut self, error: KinesisError, arn: &str) -> SessionEnd {
        if let KinesisErrorKind::NotFound | KinesisErrorKind::IteratorInvalid = error.kind {
            self.reader.raise_doubt().await;
        }
        match error.kind {
            KinesisErrorKind::AccessDenied => SessionEnd::Refused(error),
            KinesisErrorKind::NotFound => {
                if let Some(children) = self.reader.children_of_trimmed_shard().await {
                    return self.reader.end(children).await.into();
                }
                if self.reader.stream.consumer_arn.is_some() {
                    return SessionEnd::Refused(error);
                }
                self.reader.stream.registration.forget(arn).await;
                SessionEnd::Failed(error)
            }
            _ => SessionEnd::Failed(error),
        }
    }

    fn failed(&mut self, error: &KinesisError) -> LastSession {
        let last = if error.kind == KinesisErrorKind::InUse {
            self.in_use += 1;
            LastSession::InUse { in_a_row: self.in_use }
        } else {
            self.failures += 1;
            LastSession::Failed { in_a_row: self.failures }
        };
        if is_news(last) {
            self.reader.report(error);
        } else {
            self.reader.note_failure(error);
        }
        last
    }
}

/// Looks up the consumers of the listed streams before a shard needs one, so that a takeover waits for no control plane.
pub(crate) async fn prepare(context: Arc<Context>) {
    let Retrieval::FanOut(fan_out) = &context.settings.retrieval else { return };
    let name = fan_out.name(&context.settings.application);
    sleep(PREPARE.mul_f64(fastrand::f64())).await;
    for stream in context.catalog.listed(&context.events).await {
        if stream.registration.is_untried() {
            // The shard that needs it asks again, and reports.
            let _ = stream.registration.arn(&stream, name, &context.events).await;
        }
    }
}

/// Resolves when there is a consumer, while the shard is read in another way. Looks now and then.
pub(super) async fn wait_until_possible(context: &Context, stream: &Stream, fan_out: &FanOut) {
    let name = fan_out.name(&context.settings.application);
    loop {
        sleep(RETRY.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        if stream.registration.arn(stream, name, &context.events).await.is_ok() {
            return;
        }
    }
}
