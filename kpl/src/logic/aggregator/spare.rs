//! Room that complete aggregates have left, for the next ones: taken in turn by all lanes, it stays in the machine's caches.

use super::Packing;
use crate::aggregated::Aggregate;

/// Aggregates without records that have room.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    kept: Vec<Aggregate>,
    most_bytes: usize,
}

impl Spare {
    /// Pieces of room that are kept.
    const MOST: usize = 8;

    /// For so many lanes, each of which may end with more room than it needs.
    pub(crate) fn new(packing: &Packing, lanes: usize) -> Self {
        Self { kept: Vec::new(), most_bytes: packing.spare_bytes / lanes.max(1) }
    }

    /// An aggregate without records.
    pub(crate) fn take(&mut self) -> Aggregate {
        self.kept.pop().unwrap_or_default()
    }

    pub(crate) fn keep(&mut self, mut aggregate: Aggregate) {
        if self.kept.len() < Self::MOST && aggregate.room_bytes() <= self.most_bytes {
            aggregate.clear();
            self.kept.push(aggregate);
        }
    }
}
