//! Purpose of a worker: what it processes, chosen once when it is built. Pure.

use std::time::{Duration, SystemTime};

use super::read::replay::ReplayWindow;
use crate::model::KinesisRecord;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Live,
    /// A part of the past, alone.
    Replay(ReplayWindow),
}

/// Whether what follows some records is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Within,
    /// Nothing more is.
    Beyond,
    /// Nothing more is, unless the shard is closed: then those that follow it may have more.
    BeyondIfOpen,
}

impl Purpose {
    /// Whether a leader looks after the leases: it deletes ended ones, and gives stopped ones to other workers.
    pub(crate) fn has_leader(&self) -> bool {
        *self == Self::Live
    }

    /// Suffix of the name under which the application is registered: a replay takes over nothing of the live one.
    pub(crate) fn name_suffix(&self) -> &'static str {
        if self.has_leader() { "" } else { "-replay" }
    }

    /// Leaves out records that are not processed, of an answer to what was asked at `asked_at`.
    pub(crate) fn limit(
        &self,
        records: &mut Vec<KinesisRecord>,
        behind_latest: Option<Duration>,
        asked_at: SystemTime,
    ) -> Reach {
        let Self::Replay(window) = self else { return Reach::Within };
        let is_passed = window.is_passed(records);
        window.clip(records);
        match window.is_reached(behind_latest, asked_at) {
            _ if is_passed => Reach::Beyond,
            true => Reach::BeyondIfOpen,
            false => Reach::Within,
        }
    }
}
