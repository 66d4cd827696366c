//! Size of the next answer of a shard: how many records to ask for, and how many bytes they may have. Pure.
//!
//! (A) A shard that is behind returns 2 MiB a second at most, so larger answers bring nothing. (B) The number of records
//! grows in steps: how large they are is known only once some were read.
//! Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>

use std::time::Duration;

/// Bytes of an answer that are aimed at: those of a second.
const AIM_BYTES: usize = 2 * 1_024 * 1_024;
/// Maximum of an answer, in bytes and in records.
const MAX_BYTES: usize = 10 * 1_024 * 1_024;
const MAX_RECORDS: usize = 10_000;
/// Records of the first answer, which may be of 1 MiB each.
const FIRST_RECORDS: usize = 2;
/// Factor by which the number of records grows, and by which a large record is forgotten.
const GROWTH: usize = 8;
const READ_BYTES_PER_SECOND: f64 = 2.0 * 1_024.0 * 1_024.0;

/// Size of a shard's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AnswerSize {
    records: usize,
    /// Size of the largest record of late.
    largest: usize,
}

impl Default for AnswerSize {
    fn default() -> Self {
        Self { records: FIRST_RECORDS, largest: AIM_BYTES / FIRST_RECORDS }
    }
}

impl AnswerSize {
    /// The size of a shard's first answer, in a stream that has records of this size.
    pub(super) fn first(largest: usize) -> Self {
        Self { largest: largest.max(Self::default().largest), ..Self::default() }
    }

    /// Records to ask for.
    pub(super) fn limit(self) -> i32 {
        i32::try_from(self.records).unwrap_or(1)
    }

    /// Bytes that the answer has if its records are as large as the largest of late.
    pub(super) fn bytes(self) -> usize {
        self.records.saturating_mul(self.largest).min(MAX_BYTES)
    }

    /// The size after an answer with records of these sizes.
    #[must_use]
    pub(super) fn after(self, sizes: impl Iterator<Item = usize>) -> Self {
        // An empty answer says nothing about sizes.
        let Some(largest) = sizes.max() else { return self };
        let largest = largest.max(self.largest / GROWTH).max(1);
        let records = (AIM_BYTES / largest).clamp(1, MAX_RECORDS).min(self.records * GROWTH);
        Self { records, largest }
    }
}

/// Time in which a shard returns this many bytes at its limit.
pub(super) fn time_of(bytes: usize) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "an answer has at most 10 MiB")]
    Duration::from_secs_f64(bytes as f64 / READ_BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use super::*;

    const MIB: usize = 1_024 * 1_024;

    #[test]
    fn small_records_are_asked_for_by_ever_more_up_to_the_services_limit() {
        let (mut size, mut limits) = (AnswerSize::default(), Vec::new());
        for _ in 0..8 {
            limits.push(size.limit());
            size = size.after(repeat_n(100, size.records));
        }

        assert_eq!(limits, [2, 16, 128, 1_024, 8_192, 10_000, 10_000, 10_000]);
        assert_eq!(size.bytes(), 1_000_000);
    }

    #[test]
    fn answers_of_large_records_stay_at_two_mebibytes_or_one_record() {
        let size = AnswerSize::default();
        assert_eq!((size.limit(), size.bytes()), (2, 2 * MIB));
        assert_eq!(size.after(repeat_n(MIB, 2)), size);

        let large = size.after(repeat_n(10 * MIB, 2));
        assert_eq!((large.limit(), large.bytes()), (1, 10 * MIB));
        assert_eq!(large.after(repeat_n(0, 0)), large);
    }

    #[test]
    fn first_answers_are_as_large_as_those_of_other_shards() {
        assert_eq!(AnswerSize::first(100), AnswerSize::default());
        assert_eq!(AnswerSize::first(10 * MIB).bytes(), 10 * MIB);
    }

    #[test]
    fn one_large_record_among_small_ones_is_remembered() {
        let small = AnswerSize { records: 10_000, largest: 100 };

        let mixed = small.after([100, MIB, 100].into_iter());

        assert_eq!(mixed.limit(), 2);
        assert_eq!(mixed.after(repeat_n(100, 2)).limit(), 16);
        assert_eq!(time_of(10 * MIB), Duration::from_secs(5));
    }
}
