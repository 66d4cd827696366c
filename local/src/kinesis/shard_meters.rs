//! Throughput limits of a shard.

use crate::meter::Meter;
use crate::timestamp::Millis;

/// Bytes that a shard takes in a second. docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
const WRITE_BYTES: u64 = 1 << 20;

/// Records that a shard takes in a second. Same source.
const WRITE_RECORDS: u64 = 1000;

/// GetRecords calls to a shard in a second. docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
const READ_CALLS: u64 = 5;

/// Maximum bytes per second that GetRecords returns, or a subscription delivers, from a shard. Same source.
pub(super) const READ_BYTES: u64 = 2 << 20;

/// GetShardIterator calls for a shard in a second.
/// docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
const ITERATORS: u64 = 5;

/// The use of the limits of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShardMeters {
    write_bytes: Meter,
    write_records: Meter,
    read_calls: Meter,
    read_bytes: Meter,
    iterators: Meter,
}

impl ShardMeters {
    /// Uses room for a record of that size, if there is any.
    pub(super) fn admit_write(&mut self, bytes: usize, now: Millis) -> bool {
        let bytes = bytes as u64;
        let fits = self.write_bytes.fits(bytes, WRITE_BYTES, now) && self.write_records.fits(1, WRITE_RECORDS, now);
        if fits {
            self.write_bytes.add(bytes);
            self.write_records.add(1);
        }
        fits
    }

    /// Uses a call to GetRecords, if one is left and the answers before it were not too large.
    pub(super) fn admit_read(&mut self, now: Millis) -> bool {
        self.read_bytes.fits(1, READ_BYTES, now) && self.read_calls.admit(1, READ_CALLS, now)
    }

    /// A call that was admitted returned so much.
    pub(super) fn read(&mut self, bytes: usize) {
        self.read_bytes.add(bytes as u64);
    }

    /// Uses a call to GetShardIterator, if one is left.
    pub(super) fn admit_iterator(&mut self, now: Millis) -> bool {
        self.iterators.admit(1, ITERATORS, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_second_takes_a_thousand_records_or_a_mebibyte() {
        let mut meters = ShardMeters::default();
        let admitted =
            |meters: &mut ShardMeters, bytes, now| (0..2000).filter(|_| meters.admit_write(bytes, Millis(now))).count();

        assert_eq!(admitted(&mut meters, 10, 5_500), 1000);
        assert_eq!(admitted(&mut meters, 10, 6_499), 0);
        assert_eq!(admitted(&mut meters, 10, 6_500), 1000);
        assert_eq!(admitted(&mut meters, MIB / 8, 9_000), 8);
        assert_eq!(admitted(&mut meters, 1, 9_999), 0);
    }

    #[test]
    fn a_large_record_uses_up_the_seconds_after_it() {
        let mut meters = ShardMeters::default();

        assert!(meters.admit_write(10 * MIB, Millis(1_000)));
        assert!(!meters.admit_write(1, Millis(10_999)));
        assert!(meters.admit_write(1, Millis(11_000)));
    }

    #[test]
    fn a_full_answer_stops_reading_for_five_seconds() {
        let mut meters = ShardMeters::default();
        assert!(meters.admit_read(Millis(1_000)));
        meters.read(10 * MIB);

        assert!(!meters.admit_read(Millis(5_999)));
        assert!(meters.admit_read(Millis(6_000)));
    }

    #[test]
    fn a_shard_is_read_five_times_a_second() {
        let mut meters = ShardMeters::default();

        let admitted = (0..10).filter(|_| meters.admit_read(Millis(1_000))).count();

        assert_eq!(admitted, 5);
        assert!(!meters.admit_read(Millis(1_999)));
        assert!(meters.admit_read(Millis(2_000)));
    }
}
