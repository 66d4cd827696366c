//! Renewals of a lease: judgement of a refused write, and the throughput that each stores. Pure.
//!
//! (A) A lease whose actual owner is somebody else, or which is gone, is lost.
//! (B) A handoff is learned from the item itself: we stay the actual owner until we pass the lease on.
//! (C) A write that took place although its answer was lost looks like a conflict with ourselves and is none. A write of
//!     another run under our id is one.

use std::time::Duration;

use crate::model::{Lease, WorkerId};

/// Renewals within a lease duration: of a lease by itself, or of all of a worker by its heartbeat.
pub(crate) const RENEWALS: u32 = 3;
/// Pause after a failed one, as a part of the interval between two.
pub(crate) const RETRY: u32 = 6;
/// Weight of the newest window in the average throughput.
const ALPHA: f64 = 0.5;
const KIB: f64 = 1024.0;
/// Part by which a throughput may differ from the stored one.
const SAME: f64 = 0.1;
/// Throughput in KiB/s that no assignment depends on.
const ALMOST_NOTHING: f64 = 0.05;

/// Verdict on a write that was refused because the item had changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// Our own write, applied earlier, whose answer was lost.
    OwnWrite(Box<Lease>),
    /// The leader asked us to hand the lease over; write again with this knowledge.
    Handoff(Box<Lease>),
    Lost,
}

/// Judges a refused renewal or checkpoint. `mine` is the lease as we knew it before the write.
pub(crate) fn judge(me: &WorkerId, mine: &Lease, found: Option<Box<Lease>>) -> Refusal {
    let Some(found) = found else { return Refusal::Lost };
    // An owner handing over to itself is a corrupt item.
    if found.actual_owner() != Some(me) || found.checkpoint_owner == found.owner {
        return Refusal::Lost;
    }
    if found.counter == mine.counter + 1 && found.instance == mine.instance {
        return Refusal::OwnWrite(found);
    }
    if found.counter == mine.counter && found.in_handoff() && !mine.in_handoff() {
        return Refusal::Handoff(found);
    }
    Refusal::Lost
}

/// Average throughput in KiB/s after a window in which `bytes` were delivered.
/// Source: KCL's lease throughput: moving average, half of it the newest window, with six decimals.
pub(crate) fn average_throughput(before: Option<f64>, bytes: u64, window: Duration) -> Option<f64> {
    if window.is_zero() {
        return before;
    }
    #[expect(clippy::cast_precision_loss, reason = "exact up to 9 PB in a window")]
    let now = bytes as f64 / KIB / window.as_secs_f64();
    let average = before.map_or(now, |before| before + ALPHA * (now - before));
    Some((average * 1e6).round() / 1e6)
}

/// True if a throughput differs from that in the table by more than a tenth, and by more than almost nothing.
pub(crate) fn is_news(stored: Option<f64>, throughput: Option<f64>) -> bool {
    let Some(throughput) = throughput else { return false };
    stored.is_none_or(|stored| (throughput - stored).abs() > (stored * SAME).max(ALMOST_NOTHING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Checkpoint;

    fn held(counter: u64) -> Lease {
        let lease = Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon);
        Lease { owner: Some("me".into()), counter, ..lease }
    }

    fn judged(found: Lease) -> Refusal {
        judge(&"me".into(), &held(5), Some(Box::new(found)))
    }

    #[test]
    fn a_lease_of_somebody_else_is_lost() {
        assert_eq!(judged(Lease { owner: Some("other".into()), ..held(6) }), Refusal::Lost);
        assert_eq!(judge(&"me".into(), &held(5), None), Refusal::Lost);
    }

    #[test]
    fn a_lease_lost_and_regained_meanwhile_is_lost() {
        assert_eq!(judged(held(8)), Refusal::Lost);
    }

    #[test]
    fn a_write_whose_answer_was_lost_counts_as_done() {
        assert_eq!(judged(held(6)), Refusal::OwnWrite(Box::new(held(6))));
    }

    #[test]
    fn counts_a_lease_that_another_run_of_the_worker_wrote_as_lost() {
        let other = Lease { instance: Some("other run".into()), ..held(6) };

        assert_eq!(judged(other.clone()), Refusal::Lost);
        assert_eq!(judge(&"me".into(), &other, Some(Box::new(held(7)))), Refusal::Lost);
    }

    #[test]
    fn a_write_whose_answer_was_lost_counts_as_done_during_a_handoff_too() {
        let handed = Lease { owner: Some("next".into()), checkpoint_owner: Some("me".into()), ..held(6) };

        assert_eq!(judged(handed.clone()), Refusal::OwnWrite(Box::new(handed)));
    }

    #[test]
    fn a_handoff_is_learned_from_the_item() {
        let handed = Lease { owner: Some("next".into()), checkpoint_owner: Some("me".into()), ..held(5) };

        assert_eq!(judged(handed.clone()), Refusal::Handoff(Box::new(handed)));
    }

    #[test]
    fn a_handoff_to_ourselves_is_a_corrupt_item_and_lost() {
        assert_eq!(judged(Lease { checkpoint_owner: Some("me".into()), ..held(5) }), Refusal::Lost);
    }

    #[test]
    fn a_throughput_is_news_when_it_differs_by_more_than_a_tenth() {
        for (stored, now, news) in [
            (None, None, false),
            (None, Some(0.0), true),
            (Some(10.0), Some(11.0), false),
            (Some(10.0), Some(11.1), true),
            (Some(10.0), Some(8.9), true),
            (Some(0.01), Some(0.0), false),
        ] {
            assert_eq!(is_news(stored, now), news, "{stored:?} {now:?}");
        }
    }

    #[test]
    fn the_average_follows_by_halves_and_decays_to_nothing() {
        let second = Duration::from_secs(1);

        assert_eq!(average_throughput(None, 2048, second), Some(2.0));
        assert_eq!(average_throughput(Some(2.0), 4096, second), Some(3.0));
        let idle = (0..60).try_fold(3.0, |before, _| average_throughput(Some(before), 0, second));
        assert!(idle < Some(0.001), "{idle:?}");
        assert_eq!(average_throughput(Some(3.0), 10, Duration::ZERO), Some(3.0));
    }
}
