//! What the records that are accepted and not resolved may take up, over all streams of a producer.

use std::sync::Mutex;

use crate::{line::Line, locked::locked};

/// Space for a number of records and for a number of bytes.
#[derive(Debug)]
pub(crate) struct Space {
    used: Mutex<Used>,
    most: Load,
    line: Line,
}

#[derive(Debug, Default)]
struct Used {
    load: Load,
    closed: bool,
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Space for one record. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    space: &'a Space,
    load: Load,
}

impl Space {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { used: Mutex::default(), most: Load { records: max_records, bytes: max_bytes }, line: Line::new() }
    }

    /// Waits for space for a record of `bytes`. `None` once closed.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<Reserved<'_>> {
        let attempt = || match self.reserve_now(bytes) {
            None if !self.is_closed() => None,
            reserved => Some(reserved),
        };
        self.line.wait(attempt).await
    }

    /// Space for a record of `bytes`, if there is enough and nobody waits for it.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reserved<'_>> {
        if self.line.is_empty() { self.reserve_now(bytes) } else { None }
    }

    fn reserve_now(&self, bytes: usize) -> Option<Reserved<'_>> {
        let load = self.load_of(bytes);
        let mut used = locked(&self.used);
        let with = used.load.with(load);
        if used.closed || with.records > self.most.records || with.bytes > self.most.bytes {
            return None;
        }
        used.load = with;
        Some(Reserved { space: self, load })
    }

    /// What a record of `bytes` takes up. One that is larger than all of the space takes all of it.
    pub(crate) fn load_of(&self, bytes: usize) -> Load {
        Load { records: 1, bytes: bytes.min(self.most.bytes) }
    }

    /// Records are resolved.
    pub(crate) fn give_back(&self, load: Load) {
        if load.records == 0 {
            return;
        }
        let mut used = locked(&self.used);
        used.load.records -= load.records;
        used.load.bytes -= load.bytes;
        drop(used);
        self.line.freed();
    }

    /// The records that are accepted and not resolved.
    pub(crate) fn used(&self) -> Load {
        locked(&self.used).load
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.used).closed
    }

    /// No more records: who waits for space waits in vain.
    pub(crate) fn close(&self) {
        locked(&self.used).closed = true;
        self.line.freed();
    }
}

impl Load {
    pub(crate) fn with(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl Reserved<'_> {
    /// The record takes up its space until it is resolved.
    pub(crate) fn keep(mut self) {
        self.load = Load::default();
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.space.give_back(self.load);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn space_is_used_until_it_is_given_back() {
        let space = Space::new(2, 100);

        space.try_reserve(60).expect("there is space").keep();
        assert!(space.try_reserve(41).is_none());
        drop(space.try_reserve(40).expect("there is space"));
        assert_eq!(space.used(), Load { records: 1, bytes: 60 });
        space.give_back(space.load_of(60));

        assert_eq!(space.used(), Load::default());
    }

    #[test]
    fn a_record_larger_than_all_of_the_space_takes_all_of_it() {
        let space = Space::new(2, 100);

        space.try_reserve(1000).expect("there is space").keep();
        assert!(space.try_reserve(1).is_none());
        space.give_back(space.load_of(1000));

        assert_eq!(space.used(), Load::default());
    }

    #[test]
    fn who_waits_for_much_is_served_before_who_comes_later_for_little() {
        let space = Space::new(10, 100);
        space.try_reserve(50).expect("there is space").keep();

        let mut much = Box::pin(space.reserve(80));
        assert!(much.as_mut().now_or_never().is_none());
        assert!(space.try_reserve(10).is_none(), "somebody waits");
        space.give_back(space.load_of(50));

        much.now_or_never().expect("there is space now").expect("open").keep();
        assert_eq!(space.used(), Load { records: 1, bytes: 80 });
    }

    #[test]
    fn who_gives_up_waiting_stands_in_nobodys_way() {
        let space = Space::new(10, 100);
        space.try_reserve(100).expect("there is space").keep();
        let mut first = Box::pin(space.reserve(80));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(space.reserve(10));
        assert!(second.as_mut().now_or_never().is_none());

        drop(first);
        space.give_back(space.load_of(100));

        assert!(second.now_or_never().expect("there is space now").is_some());
    }

    #[test]
    fn who_waits_when_the_space_closes_waits_in_vain() {
        let space = Space::new(1, 100);
        space.try_reserve(1).expect("there is space").keep();
        let (mut first, mut second) = (Box::pin(space.reserve(1)), Box::pin(space.reserve(1)));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());

        space.close();

        assert!(first.now_or_never().expect("told").is_none());
        assert!(second.now_or_never().expect("told").is_none());
    }
}
