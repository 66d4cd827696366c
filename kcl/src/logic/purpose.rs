//! Purpose of a worker: the live stream or the window of a replay, chosen once when it is built. Pure.
//!
//! (A) A record belongs to the window by its arrival time, or if it has none. (B) Arrival times within a shard may be
//! slightly out of order, so reading goes on for a while past the end.

use std::time::{Duration, SystemTime};

use crate::model::KinesisRecord;

/// Maximum disorder of arrival times, and difference of the service's clock from ours.
const SKEW: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Live,
    /// A part of the past, alone.
    Replay(ReplayWindow),
}

/// Reach of the processing beyond some records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Within,
    /// Nothing that follows is processed.
    Beyond,
    /// Nothing that follows is processed, unless the shard is closed: then its children may have more.
    BeyondIfOpen,
}

impl Purpose {
    /// True if a leader looks after the leases: it deletes ended ones, and gives stopped ones to other workers.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplayWindow {
    pub(crate) from: SystemTime,
    pub(crate) to: SystemTime,
}

impl ReplayWindow {
    /// True if reading has got beyond the window: the last record arrived after it.
    pub(crate) fn is_passed(&self, records: &[KinesisRecord]) -> bool {
        let last = records.last().and_then(|record| record.approximate_arrival);
        last.is_some_and(|last| self.is_well_before(last))
    }

    /// True if an answer to a call at `asked_at` covers all that the shard had until after the window.
    pub(crate) fn is_reached(&self, behind_latest: Option<Duration>, asked_at: SystemTime) -> bool {
        let reached = behind_latest.and_then(|behind| asked_at.checked_sub(behind));
        reached.is_some_and(|reached| self.is_well_before(reached))
    }

    fn is_well_before(&self, time: SystemTime) -> bool {
        time.duration_since(self.to).is_ok_and(|since| since >= SKEW)
    }

    pub(crate) fn clip(&self, records: &mut Vec<KinesisRecord>) {
        let window = self.from..self.to;
        records.retain(|record| record.approximate_arrival.is_none_or(|arrival| window.contains(&arrival)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn record(arrival: Option<u64>) -> KinesisRecord {
        KinesisRecord {
            sequence_number: "1".parse().unwrap(),
            partition_key: "".into(),
            data: bytes::Bytes::new(),
            approximate_arrival: arrival.map(at),
        }
    }

    fn window() -> ReplayWindow {
        ReplayWindow { from: at(100), to: at(200) }
    }

    #[test]
    fn the_start_belongs_to_the_window_and_the_end_does_not() {
        let mut records = [Some(99), Some(100), None, Some(199), Some(200)].map(record).to_vec();

        window().clip(&mut records);

        let left: Vec<_> = records.iter().map(|record| record.approximate_arrival).collect();
        assert_eq!(left, [Some(at(100)), None, Some(at(199))]);
    }

    #[test]
    fn a_record_well_after_the_end_ends_it_and_one_just_after_does_not() {
        assert!(!window().is_passed(&[record(Some(204))]));
        assert!(window().is_passed(&[record(Some(205))]));
        assert!(!window().is_passed(&[record(None)]) && !window().is_passed(&[]));
    }

    #[test]
    fn follows_a_window_whose_end_never_comes() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64);
        let window = ReplayWindow { from: at(100), to: far };

        assert!(!window.is_passed(&[record(Some(205))]) && !window.is_reached(Some(Duration::ZERO), at(205)));
    }

    #[test]
    fn ends_a_shard_without_later_records_only_once_its_tip_is_past_the_end() {
        let tip = Some(Duration::ZERO);

        assert!(!window().is_reached(tip, at(204)));
        assert!(window().is_reached(tip, at(205)));
        assert!(!window().is_reached(Some(Duration::from_secs(100)), at(304)), "still far from the tip");
        assert!(!window().is_reached(None, at(1_000)), "who knows where the tip is");
    }
}
