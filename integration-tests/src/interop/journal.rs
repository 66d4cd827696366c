//! Reports of a process so far, with their times.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::told::{Read, Told};

/// Shared by who reads the process's output and who looks at it.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    /// Locked for a few lines; nobody panics meanwhile.
    entries: Arc<Mutex<Vec<(Instant, Told)>>>,
}

impl Journal {
    pub(super) fn add(&self, told: Told) {
        self.with(|entries| entries.push((Instant::now(), told)));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Vec<(Instant, Told)>) -> T) -> T {
        look(&mut self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Number of lines like this.
    pub fn count(&self, like: impl Fn(&Told) -> bool) -> usize {
        self.with(|entries| entries.iter().filter(|(_, told)| like(told)).count())
    }

    /// True if a line is like this.
    pub fn has(&self, like: impl Fn(&Told) -> bool) -> bool {
        self.with(|entries| entries.iter().any(|(_, told)| like(told)))
    }

    /// The lines, and when they came.
    pub fn entries(&self) -> Vec<(Instant, Told)> {
        self.with(|entries| entries.clone())
    }

    /// Shards that are processed to their limit, once each.
    pub fn limits(&self) -> BTreeSet<String> {
        let of = |told: &Told| match told {
            Told::Limit { shard } => Some(shard.clone()),
            _ => None,
        };
        self.with(|entries| entries.iter().filter_map(|(_, told)| of(told)).collect())
    }

    /// All records read.
    pub fn reads(&self) -> Vec<Read> {
        self.with(|entries| {
            let of = |told: &Told| match told {
                Told::Records { records, .. } => records.clone(),
                _ => Vec::new(),
            };
            entries.iter().flat_map(|(_, told)| of(told)).collect()
        })
    }

    /// Numbers of the records read.
    pub fn ids(&self) -> BTreeSet<u64> {
        self.reads().into_iter().map(|read| read.id).collect()
    }

    /// Reports of things that must not happen.
    pub fn errors(&self) -> Vec<Told> {
        let bad = |told: &Told| matches!(told, Told::Error { .. } | Told::LeasesMalformed { .. });
        self.with(|entries| entries.iter().filter(|(_, told)| bad(told)).map(|(_, told)| told.clone()).collect())
    }
}
