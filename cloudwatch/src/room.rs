//! Room for the values that all series keep together, besides their statistics.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Maximum values that are kept: some 16 MB.
const MAX_VALUES: usize = 500_000;

#[derive(Debug, Default)]
pub(crate) struct Room {
    used: AtomicUsize,
    was_full: AtomicBool,
}

impl Room {
    /// Takes room for a value; false if there is none.
    pub(crate) fn take(&self) -> bool {
        let has_room = self.used.fetch_add(1, Relaxed) < MAX_VALUES;
        if !has_room {
            self.give_back(1);
            self.was_full.store(true, Relaxed);
        }
        has_room
    }

    pub(crate) fn give_back(&self, values: usize) {
        self.used.fetch_sub(values, Relaxed);
    }

    /// Returns whether a value found no room since the start.
    pub(crate) fn was_full(&self) -> bool {
        self.was_full.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_its_bound_and_comes_back() {
        let room = Room::default();
        assert!((0..MAX_VALUES).all(|_| room.take()) && !room.was_full());
        assert!(!room.take() && room.was_full());
        room.give_back(2);
        assert_eq!([room.take(), room.take(), room.take()], [true, true, false]);
    }
}
