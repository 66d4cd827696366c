//! SHELL: whether a stream is still the one that it was: one that is deleted and created again has the same name and ARN,
//! and shards with the same ids, but none of the old records.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, watch};

use crate::{
    error::{KinesisError, KinesisErrorKind},
    event::chain,
    kinesis::{Kinesis, StreamDescription},
    model::stream_id::StreamIdentity,
    time::now,
};

/// IAM action of a description.
const DESCRIBE: &str = "kinesis:DescribeStreamSummary";

/// Maximum age of an answer after which the next read is still of that stream: one of the same name takes longer to
/// become active.
pub(crate) const CONFIRMED: Duration = Duration::from_secs(10);

/// What the service said of a stream last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It exists, or nothing else is known.
    #[default]
    Present,
    /// It does not exist.
    Gone,
    /// It was deleted and created again: its name leads to this one. For good.
    Replaced(StreamIdentity),
}

/// Which stream it is, from its first description on.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    first: OnceLock<StreamIdentity>,
    standing: watch::Sender<Standing>,
    /// Held while the stream is described, so that those who ask at the same time share one call.
    described: Mutex<Described>,
}

/// Outcomes of the last descriptions.
#[derive(Debug, Default)]
struct Described {
    /// When the last one that was answered began.
    answered: Option<Instant>,
    /// When the last one that failed ended, and why.
    failed: Option<(Instant, KinesisErrorKind, String)>,
}

impl Identity {
    /// Of a stream that was described a moment ago.
    pub(crate) fn of(found: StreamIdentity) -> Self {
        let described = Described { answered: Some(now()), failed: None };
        Self { first: found.into(), described: Mutex::new(described), ..Self::default() }
    }

    /// As it was described first.
    pub(crate) fn first(&self) -> Option<&StreamIdentity> {
        self.first.get()
    }

    /// Resolves when the standing is like this.
    pub(crate) async fn until(&self, like: impl FnMut(&Standing) -> bool) {
        let _ = self.standing.subscribe().wait_for(like).await; // the sender is ours
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Describes the stream.
    pub(crate) async fn describe(&self, kinesis: &dyn Kinesis) -> Result<StreamDescription, KinesisError> {
        let mut described = self.described.lock().await;
        self.ask(kinesis, &mut described).await
    }

    /// The standing, at most `age` old; describes the stream if that is not known.
    ///
    /// # Errors
    /// The service did not answer, or not as to whether the stream exists.
    pub(crate) async fn confirm(&self, kinesis: &dyn Kinesis, age: Duration) -> Result<Standing, KinesisError> {
        let asked = now();
        let mut described = self.described.lock().await;
        let is_old = described.answered.is_none_or(|answered| asked.saturating_duration_since(answered) > age);
        if is_old && let Some((_, kind, told)) = described.failed.as_ref().filter(|(ended, ..)| *ended > asked) {
            // Its call failed while we waited for it.
            return Err(KinesisError { kind: *kind, action: DESCRIBE, source: told.as_str().into() });
        }
        if is_old
            && let Err(error) = self.ask(kinesis, &mut described).await
            && error.kind != KinesisErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(self.standing())
    }

    async fn ask(&self, kinesis: &dyn Kinesis, described: &mut Described) -> Result<StreamDescription, KinesisError> {
        let begun = now();
        let answer = kinesis.describe().await;
        let standing = match &answer {
            Ok(found) if *self.first.get_or_init(|| found.identity.clone()) == found.identity => Standing::Present,
            Ok(found) => Standing::Replaced(found.identity.clone()),
            Err(error) if error.kind == KinesisErrorKind::NotFound => Standing::Gone,
            Err(error) => {
                described.failed = Some((now(), error.kind, chain(error.source.as_ref())));
                return answer;
            }
        };
        described.answered = Some(begun);
        self.standing.send_if_modified(|known| {
            let is_news = *known != standing && !matches!(known, Standing::Replaced(_));
            if is_news {
                *known = standing;
            }
            is_news
        });
        answer
    }
}
