//! SHELL: the identity of a stream: one created again has the same name, ARN and shard ids, but other records.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, watch};

use crate::{
    error::{KinesisError, KinesisErrorKind},
    kinesis::{Kinesis, StreamDescription},
    model::StreamIdentity,
    time::now,
};

pub(super) const DESCRIBE: &str = "kinesis:DescribeStreamSummary";

/// Maximum age of an answer for the next read: a stream of the same name takes longer to become active.
pub(crate) const CONFIRMED: Duration = Duration::from_secs(10);

/// Presence of a stream, by the last answer of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It exists, or nothing else is known.
    #[default]
    Present,
    Gone,
    /// It was deleted and created again: its name leads to this one. For good.
    Replaced(StreamIdentity),
}

/// Identity of a stream, from its first description on.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    first: OnceLock<StreamIdentity>,
    presence: watch::Sender<Presence>,
    /// Held while the stream is described, so that those who ask at the same time share one call.
    described: Mutex<Descriptions>,
}

#[derive(Debug, Default)]
struct Descriptions {
    /// Start of the last one that was answered.
    answered: Option<Instant>,
    /// End and error of the last one that failed.
    failed: Option<(Instant, KinesisError)>,
}

impl Identity {
    pub(crate) fn of(found: StreamIdentity) -> Self {
        let described = Descriptions { answered: Some(now()), failed: None };
        Self { first: found.into(), described: Mutex::new(described), ..Self::default() }
    }

    pub(crate) fn first(&self) -> Option<&StreamIdentity> {
        self.first.get()
    }

    pub(crate) async fn until(&self, like: impl FnMut(&Presence) -> bool) {
        let _ = self.presence.subscribe().wait_for(like).await; // the sender is ours
    }

    pub(crate) fn presence(&self) -> Presence {
        self.presence.borrow().clone()
    }

    pub(crate) async fn describe(&self, kinesis: &dyn Kinesis) -> Result<StreamDescription, KinesisError> {
        let mut described = self.described.lock().await;
        self.ask(kinesis, &mut described).await
    }

    /// The presence, at most `age` old; describes the stream if that is not known. Fails without a clear answer.
    pub(crate) async fn confirm(&self, kinesis: &dyn Kinesis, age: Duration) -> Result<Presence, KinesisError> {
        let asked = now();
        let mut described = self.described.lock().await;
        let is_old = described.answered.is_none_or(|answered| asked.saturating_duration_since(answered) > age);
        if is_old && let Some((_, error)) = described.failed.as_ref().filter(|(ended, _)| *ended > asked) {
            // Its call failed while we waited for it.
            return Err(error.copy());
        }
        if is_old
            && let Err(error) = self.ask(kinesis, &mut described).await
            && error.kind != KinesisErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(self.presence())
    }

    async fn ask(
        &self,
        kinesis: &dyn Kinesis,
        described: &mut Descriptions,
    ) -> Result<StreamDescription, KinesisError> {
        let begun = now();
        let answer = kinesis.describe().await;
        let presence = match &answer {
            Ok(found) if *self.first.get_or_init(|| found.identity.clone()) == found.identity => Presence::Present,
            Ok(found) => Presence::Replaced(found.identity.clone()),
            Err(error) if error.kind == KinesisErrorKind::NotFound => Presence::Gone,
            Err(error) => {
                described.failed = Some((now(), error.copy()));
                return answer;
            }
        };
        described.answered = Some(begun);
        self.presence.send_if_modified(|known| {
            let is_news = *known != presence && !matches!(known, Presence::Replaced(_));
            if is_news {
                *known = presence;
            }
            is_news
        });
        answer
    }
}
