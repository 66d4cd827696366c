//! [`Context`]: how long a check waits, and how its names begin. It is the task's, so that a check asks for neither.

use std::time::Duration;

/// Surroundings of a check.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// Beginning of all names that the check makes.
    pub(super) beginning: String,
    pub(super) pace: Pace,
}

/// Patience with a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Maximum time of a check.
    pub(super) check: Duration,
    /// Maximum time of a peer for what it does not do at once.
    pub(super) patience: Duration,
    /// Time between two looks at what is waited for.
    pub(super) pause: Duration,
    /// Answers of GetRecords without records, one after the other, that mean the tip of a shard.
    pub(super) empty_answers: u32,
    /// Time between them: a shard is read five times a second.
    pub(super) between_answers: Duration,
}

impl Pace {
    /// An emulator does nearly everything at once.
    pub(super) const EMULATOR: Self = Self {
        check: Duration::from_secs(45),
        patience: Duration::from_secs(10),
        pause: Duration::from_millis(10),
        empty_answers: 1,
        between_answers: Duration::ZERO,
    };

    /// The same, under a virtual time in which a check may wait for a year.
    pub(super) const VIRTUAL: Self = Self { check: Duration::from_secs(400 * 24 * 3600), ..Self::EMULATOR };

    /// The service creates and splits in up to a minute, and takes ten descriptions a second of an account. A check waits
    /// for twenty consumers at most, one after the other. GetRecords may find nothing although there is more:
    /// <https://docs.aws.amazon.com/streams/latest/dev/troubleshooting-consumers.html>.
    pub(super) const SERVICE: Self = Self {
        check: Duration::from_secs(30 * 60),
        patience: Duration::from_secs(5 * 60),
        pause: Duration::from_secs(1),
        empty_answers: 4,
        between_answers: Duration::from_millis(250),
    };
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Awaits a check in its surroundings.
pub(super) async fn within<T>(context: Context, check: impl Future<Output = T>) -> T {
    CONTEXT.scope(context, check).await
}

/// Patience of the check that asks.
pub(super) fn pace() -> Pace {
    CONTEXT.try_with(|context| context.pace).unwrap_or(Pace::EMULATOR)
}

/// A name of the check that asks.
pub(super) fn in_context(name: &str) -> String {
    CONTEXT.try_with(|context| format!("{}{name}", context.beginning)).unwrap_or_else(|_| name.to_owned())
}
