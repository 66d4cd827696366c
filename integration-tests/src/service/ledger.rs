//! [`Ledger`]: what a run has made, and the stream hours that it may be billed for.
//!
//! A stream hour is an hour of a shard, or of a consumer with enhanced fan-out on a shard. One that has begun counts in
//! full. Shards that a resharding closed go on counting, and a stream on demand counts as four shards, which cost more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::AddAssign;

use tokio::time::Instant;

const HOUR_SECONDS: u64 = 3600;

/// Books of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    cap: u64,
    streams: BTreeMap<String, Made>,
    tables: BTreeSet<String>,
    /// Stream hours of streams that are deleted.
    past: u64,
    totals: Totals,
}

/// Numbers of what was made in the whole run, deleted or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Streams.
    pub streams: u64,
    /// Shards, those that reshardings opened included.
    pub shards: u64,
    /// Consumers with enhanced fan-out.
    pub consumers: u64,
    /// Tables.
    pub tables: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.streams += other.streams;
        self.shards += other.shards;
        self.consumers += other.consumers;
        self.tables += other.tables;
    }
}

#[derive(Debug)]
struct Made {
    shards: u64,
    /// Shards of all its consumers together.
    consumed: u64,
    since: Instant,
    /// False until the service has accepted it.
    is_accepted: bool,
}

impl Made {
    fn hours(&self, now: Instant) -> u64 {
        let begun = now.duration_since(self.since).as_secs() / HOUR_SECONDS + 1;
        begun * (self.shards + self.consumed)
    }
}

/// More stream hours than are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CapReached {
    /// Stream hours there would be.
    hours: u64,
    /// Stream hours that are allowed.
    cap: u64,
}

impl std::error::Error for CapReached {}

impl fmt::Display for CapReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stream hours would be more than the {} that are allowed", self.hours, self.cap)
    }
}

impl Ledger {
    /// Empty books with a maximum of stream hours.
    pub(super) fn new(cap: u64) -> Self {
        Self { cap, streams: BTreeMap::new(), tables: BTreeSet::new(), past: 0, totals: Totals::default() }
    }

    /// Stream hours so far.
    pub(super) fn hours(&self, now: Instant) -> u64 {
        self.past + self.streams.values().map(|made| made.hours(now)).sum::<u64>()
    }

    /// True if time alone has passed the cap.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.hours(now) > self.cap
    }

    /// Numbers of what was made.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Streams whose names begin so and that are not deleted.
    pub(super) fn streams(&self, beginning: &str) -> Vec<String> {
        self.streams.keys().filter(|name| name.starts_with(beginning)).cloned().collect()
    }

    /// Tables whose names begin so.
    pub(super) fn tables(&self, beginning: &str) -> Vec<String> {
        self.tables.iter().filter(|name| name.starts_with(beginning)).cloned().collect()
    }

    /// A stream is about to be made.
    ///
    /// # Errors
    /// The cap would be passed.
    pub(super) fn create(&mut self, name: &str, shards: u64, now: Instant) -> Result<(), CapReached> {
        if self.streams.contains_key(name) {
            return Ok(()); // refused by the service
        }
        self.room_for(shards, now)?;
        self.streams.insert(name.to_owned(), Made { shards, consumed: 0, since: now, is_accepted: false });
        Ok(())
    }

    /// The service made the stream.
    pub(super) fn accepted(&mut self, name: &str) {
        if let Some(made) = self.streams.get_mut(name).filter(|made| !made.is_accepted) {
            made.is_accepted = true;
            self.totals.streams += 1;
            self.totals.shards += made.shards;
        }
    }

    /// The service refused to make the stream.
    pub(super) fn refused(&mut self, name: &str) {
        if self.streams.get(name).is_some_and(|made| !made.is_accepted) {
            self.streams.remove(name);
        }
    }

    /// Shards of a stream are about to be opened.
    ///
    /// # Errors
    /// The cap would be passed.
    pub(super) fn open(&mut self, name: &str, shards: u64, now: Instant) -> Result<(), CapReached> {
        if !self.streams.contains_key(name) {
            return Ok(()); // refused by the service
        }
        self.room_for(shards, now)?;
        if let Some(made) = self.streams.get_mut(name) {
            made.shards += shards;
            self.totals.shards += shards;
        }
        Ok(())
    }

    /// A consumer of a stream is about to be registered.
    ///
    /// # Errors
    /// The cap would be passed.
    pub(super) fn consume(&mut self, name: &str, now: Instant) -> Result<(), CapReached> {
        let Some(shards) = self.streams.get(name).map(|made| made.shards) else { return Ok(()) };
        self.room_for(shards, now)?;
        if let Some(made) = self.streams.get_mut(name) {
            made.consumed += shards;
            self.totals.consumers += 1;
        }
        Ok(())
    }

    /// The service deletes the stream.
    pub(super) fn deleted(&mut self, name: &str, now: Instant) {
        self.past += self.streams.remove(name).map_or(0, |made| made.hours(now));
    }

    /// A table is about to be made.
    pub(super) fn create_table(&mut self, name: &str) {
        if self.tables.insert(name.to_owned()) {
            self.totals.tables += 1;
        }
    }

    fn room_for(&self, shards: u64, now: Instant) -> Result<(), CapReached> {
        let hours = self.hours(now) + shards;
        if hours > self.cap { Err(CapReached { hours, cap: self.cap }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_hour_that_has_begun_counts_in_full() {
        let (mut ledger, now) = (Ledger::new(100), Instant::now());

        ledger.create("a", 2, now).unwrap();
        ledger.accepted("a");
        assert_eq!(ledger.hours(now), 2);
        assert_eq!(ledger.hours(now + 59 * MINUTE), 2);
        assert_eq!(ledger.hours(now + 60 * MINUTE), 4);

        ledger.deleted("a", now + 61 * MINUTE);
        assert_eq!(ledger.hours(now + 600 * MINUTE), 4);
    }

    #[test]
    fn reshardings_and_consumers_count() {
        let (mut ledger, now) = (Ledger::new(100), Instant::now());
        ledger.create("a", 1, now).unwrap();
        ledger.accepted("a");

        ledger.open("a", 2, now).unwrap();
        ledger.consume("a", now).unwrap();

        assert_eq!(ledger.hours(now), 1 + 2 + 3);
        assert_eq!(ledger.totals(), Totals { streams: 1, shards: 3, consumers: 1, tables: 0 });
    }

    #[test]
    fn nothing_is_made_beyond_the_cap() {
        let (mut ledger, now) = (Ledger::new(3), Instant::now());
        ledger.create("a", 2, now).unwrap();

        assert_eq!(ledger.create("b", 2, now), Err(CapReached { hours: 4, cap: 3 }));
        assert_eq!(ledger.consume("a", now), Err(CapReached { hours: 4, cap: 3 }));
        ledger.create("b", 1, now).unwrap();
        assert_eq!(ledger.open("b", 1, now), Err(CapReached { hours: 4, cap: 3 }));

        assert!(!ledger.is_over(now));
        assert!(ledger.is_over(now + 60 * MINUTE));
    }

    #[test]
    fn what_the_service_refused_does_not_count() {
        let (mut ledger, now) = (Ledger::new(3), Instant::now());
        ledger.create("a", 2, now).unwrap();
        ledger.refused("a");
        assert_eq!(ledger.hours(now), 0);

        ledger.create("a", 2, now).unwrap();
        ledger.accepted("a");
        ledger.create("a", 2, now).unwrap();
        ledger.refused("a");
        assert_eq!(
            (ledger.hours(now), ledger.streams("")),
            (2, vec!["a".to_owned()]),
            "that of the first call is there"
        );
        ledger.open("missing", 9, now).unwrap();
        assert_eq!(ledger.hours(now), 2);
    }
}
