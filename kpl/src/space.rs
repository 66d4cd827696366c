//! What the records that are accepted and not resolved may take up, over all streams of a producer.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Space for a number of records and for a number of bytes.
#[derive(Debug)]
pub(crate) struct Space {
    records: Semaphore,
    bytes: Semaphore,
    max_records: usize,
    max_bytes: usize,
}

/// Space for one record. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    record: SemaphorePermit<'a>,
    bytes: SemaphorePermit<'a>,
}

impl Space {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: Semaphore::new(max_records), bytes: Semaphore::new(max_bytes), max_records, max_bytes }
    }

    /// Waits for space for a record of `bytes`. `None` once closed.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<Reserved<'_>> {
        let record = self.records.acquire().await.ok()?;
        Some(Reserved { record, bytes: self.bytes.acquire_many(self.permits(bytes)).await.ok()? })
    }

    /// Space for a record of `bytes`, if there is enough.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Reserved<'_>> {
        let record = self.records.try_acquire().ok()?;
        Some(Reserved { record, bytes: self.bytes.try_acquire_many(self.permits(bytes)).ok()? })
    }

    /// Records of `bytes` each are resolved.
    pub(crate) fn give_back(&self, bytes: impl Iterator<Item = usize>) {
        let (mut records, mut permits) = (0, 0);
        for bytes in bytes {
            records += 1;
            permits += self.permits(bytes) as usize;
        }
        if records > 0 {
            self.records.add_permits(records);
            self.bytes.add_permits(permits);
        }
    }

    /// Number of records that are accepted and not resolved.
    pub(crate) fn used_records(&self) -> usize {
        self.max_records.saturating_sub(self.records.available_permits())
    }

    /// Bytes of the records that are accepted and not resolved.
    pub(crate) fn used_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.bytes.available_permits())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.records.is_closed()
    }

    /// No more records: who waits for space waits in vain.
    pub(crate) fn close(&self) {
        self.records.close();
        self.bytes.close();
    }

    /// A record that is larger than all of the space takes all of it.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.max_bytes)).unwrap_or(u32::MAX)
    }
}

impl Reserved<'_> {
    /// The record takes up its space until it is resolved.
    pub(crate) fn keep(self) {
        self.record.forget();
        self.bytes.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_used_until_it_is_given_back() {
        let space = Space::new(2, 100);

        space.try_reserve(60).expect("there is space").keep();
        assert!(space.try_reserve(41).is_none());
        drop(space.try_reserve(40).expect("there is space"));
        assert_eq!((space.used_records(), space.used_bytes()), (1, 60));
        space.give_back([60].into_iter());

        assert_eq!((space.used_records(), space.used_bytes()), (0, 0));
    }

    #[test]
    fn a_record_larger_than_all_of_the_space_takes_all_of_it() {
        let space = Space::new(2, 100);

        space.try_reserve(1000).expect("there is space").keep();
        assert!(space.try_reserve(1).is_none());
        space.give_back([1000].into_iter());

        assert_eq!(space.used_bytes(), 0);
    }
}
