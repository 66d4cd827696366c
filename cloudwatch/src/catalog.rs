//! The series that are kept. Those of a part have a lock, so that a look at all of them delays a registration for the length of
//! a look at one part.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use metrics::Key;

use crate::series::{Kind, Series, Source, Window};

/// Maximum series that are kept at a time: those of 5,000 shards. Further ones are not recorded.
const MAX_SERIES: usize = 100_000;

/// Number of parts. Of the maximum each has some 100 series, which are looked at in less than a millisecond.
const PARTS: usize = 1024;

/// Source, kind, and name with labels.
pub(crate) type SeriesKey = (Source, Kind, Key);

type Part = HashMap<SeriesKey, Arc<Series>>;

#[derive(Debug)]
pub(crate) struct Catalog {
    // Each is locked to find a series, and for the length of a look at all of its series.
    parts: Box<[Mutex<Part>]>,
    count: AtomicUsize,
    was_full: AtomicBool,
}

impl Default for Catalog {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, count: AtomicUsize::new(0), was_full: AtomicBool::new(false) }
    }
}

impl Catalog {
    /// The series of this key; a new one if there is room for it.
    pub(crate) fn get_or_insert(&self, key: SeriesKey, new: impl FnOnce() -> Series) -> Option<Arc<Series>> {
        let mut part = lock(&self.parts[part_of(&key)]);
        if let Some(series) = part.get(&key) {
            return Some(Arc::clone(series));
        }
        if self.count.fetch_add(1, Relaxed) >= MAX_SERIES {
            self.count.fetch_sub(1, Relaxed);
            self.was_full.store(true, Relaxed);
            return None;
        }
        let series = Arc::new(new());
        part.insert(key, Arc::clone(&series));
        Some(series)
    }

    /// Takes the samples since the last call of one kind of source. Series that nobody holds any more are forgotten.
    pub(crate) fn take(&self, source: Source) -> Vec<(Key, Window)> {
        let mut taken = Vec::new();
        for part in &*self.parts {
            let mut part = lock(part);
            let before = part.len();
            part.retain(|(of, _, key), series| {
                if *of != source {
                    return true;
                }
                // Nobody else can get hold of it meanwhile.
                let is_held = Arc::strong_count(series) > 1;
                let window = series.take(is_held);
                if !window.stats.is_empty() {
                    taken.push((key.clone(), window));
                }
                is_held
            });
            self.count.fetch_sub(before - part.len(), Relaxed);
        }
        taken
    }

    /// Returns whether a series found no room since the start.
    pub(crate) fn was_full(&self) -> bool {
        self.was_full.load(Relaxed)
    }
}

fn part_of((_, _, key): &SeriesKey) -> usize {
    key.get_hash() as usize % PARTS
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    // Whole after each change.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use metrics::{HistogramFn as _, Label};

    use super::*;

    fn key(n: usize) -> SeriesKey {
        let labels = vec![Label::new("ShardId", format!("shardId-{n:012}"))];
        (Source::Consumer, Kind::Histogram, Key::from_parts("Time", labels))
    }

    fn series() -> Series {
        Series::new(Kind::Histogram, Arc::default())
    }

    #[test]
    fn no_lock_is_held_for_more_than_a_hundredth_of_the_series() {
        let catalog = Catalog::default();
        let held: Vec<_> = (0..MAX_SERIES).map(|n| catalog.get_or_insert(key(n), series)).collect();
        assert!(held.iter().all(Option::is_some) && !catalog.was_full());
        let largest = catalog.parts.iter().map(|part| lock(part).len()).max();
        assert!(largest <= Some(MAX_SERIES / 100), "{largest:?}");

        assert!(catalog.get_or_insert(key(MAX_SERIES), series).is_none() && catalog.was_full());
        assert!(catalog.get_or_insert(key(7), series).is_some(), "it is there");
    }

    #[test]
    fn a_series_that_nobody_holds_is_taken_once_more_and_makes_room() {
        let catalog = Catalog::default();
        let held = catalog.get_or_insert(key(0), series).unwrap();
        catalog.get_or_insert(key(1), series).unwrap().record(5.0);
        held.record(3.0);
        assert!(catalog.take(Source::Producer).is_empty());

        assert_eq!((catalog.take(Source::Consumer).len(), catalog.count.load(Relaxed)), (2, 1));
        held.record(4.0);
        assert_eq!(catalog.take(Source::Consumer).len(), 1);
    }
}
