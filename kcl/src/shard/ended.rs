//! Ends of one processor's run.

use super::Interrupt;
use crate::{error::BoxError, logic::shard::Verdict, model::Record};

pub(super) struct Failure {
    pub(super) error: BoxError,
    /// The records it failed at, if it was at them that it failed; their data only if they may be given up now.
    pub(super) records: Option<(Vec<Record>, Verdict)>,
}

impl From<BoxError> for Failure {
    fn from(error: BoxError) -> Self {
        Self { error, records: None }
    }
}

pub(super) enum NoEnd {
    Interrupted(Interrupt),
    Failed(Failure),
}

impl From<Interrupt> for NoEnd {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupted(interrupt)
    }
}
