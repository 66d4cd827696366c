//! Ownership of this worker's id. Pure.
//!
//! Every run of a worker writes a random instance and its start time into the worker's item. Two runs that live at the
//! same time under one id see each other's instance there:
//! (A) the older run answers by writing itself back; (B) the newer run, on seeing an older one, gives up, or waits if the
//! older one leaves. So exactly one works, and a crashed predecessor, which cannot answer, delays its successor only briefly.
//!
//! (C) A heartbeat that is refused drops every lease, unless it is this run's own, or a newer run asked who is there and is
//! answered while the last heartbeat still counts.

use crate::model::WorkerItem;

/// Owner of this worker's id, by its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdState {
    Ours,
    Free,
    /// A newer run has written it: write it again.
    Claim,
    /// An older run is alive and about to leave.
    Leaving,
    /// An older run is alive.
    InUse,
}

/// Judges the item in the table after we wrote `mine` there.
pub(crate) fn judge(mine: &WorkerItem, found: Option<&WorkerItem>) -> IdState {
    match found {
        None => IdState::Free,
        Some(found) if found.instance == mine.instance => IdState::Ours,
        Some(found) if seniority(found) > seniority(mine) => IdState::Claim,
        Some(found) if found.leaving => IdState::Leaving,
        Some(_) => IdState::InUse,
    }
}

/// Consequences of a refused heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) state: IdState,
    /// The leases may be others' by now.
    pub(crate) drops_leases: bool,
}

/// Judges the item that refused a heartbeat of `mine`. Leases rely on heartbeats if it `relies`, else each is renewed, which
/// finds out what becomes of it; the last one still counts if it `is_current`.
pub(crate) fn judge_refusal(mine: &WorkerItem, found: Option<&WorkerItem>, relies: bool, is_current: bool) -> Refusal {
    let is_fenced = found.is_some_and(|found| found.is_fenced() && found.instance == mine.instance);
    let state = if is_fenced { IdState::Free } else { judge(mine, found) };
    let is_answer = state == IdState::Claim && is_current;
    Refusal { state, drops_leases: is_fenced || relies && !is_answer }
}

/// True if the item that refused the heartbeat `tried` is that very heartbeat, whose answer was lost.
pub(crate) fn is_own_beat(tried: &WorkerItem, found: Option<&WorkerItem>) -> bool {
    found.is_some_and(|found| found.instance == tried.instance && found.beat == tried.beat && !found.is_fenced())
}

/// Number of the first heartbeat after a refused one: higher than all that were seen under this id.
pub(crate) fn beat_after(mine: &WorkerItem, found: Option<&WorkerItem>) -> Option<u64> {
    let beats = [mine.beat, found.and_then(|found| found.beat)];
    mine.beat.and(beats.into_iter().flatten().max().map(|beat| beat + 1))
}

fn seniority(worker: &WorkerItem) -> (u64, &Option<String>) {
    (worker.started_at_millis, &worker.instance)
}

/// True if the item found at our start may be of a live run. One that was leaving may be: it would have deleted the item.
pub(crate) fn may_be_alive(mine: &WorkerItem, before: Option<&WorkerItem>, active_window_seconds: u64) -> bool {
    before.is_some_and(|before| {
        before.instance.is_some()
            && before.instance != mine.instance
            && (before.leaving
                || mine.last_update_seconds.saturating_sub(before.last_update_seconds) <= active_window_seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Mark;

    fn run(instance: &str, started_at_millis: u64) -> WorkerItem {
        WorkerItem {
            last_update_seconds: started_at_millis / 1000,
            instance: Some(instance.to_owned()),
            started_at_millis,
            ..WorkerItem::new("w".into())
        }
    }

    #[test]
    fn keeps_exactly_the_older_of_two_live_runs() {
        let (old, new) = (run("a", 1_000), run("b", 2_000));

        assert_eq!(judge(&old, Some(&new)), IdState::Claim);
        assert_eq!(judge(&new, Some(&old)), IdState::InUse);
    }

    #[test]
    fn runs_started_in_the_same_millisecond_still_disagree_about_one_survivor() {
        let (a, b) = (run("a", 1_000), run("b", 1_000));

        assert_ne!(judge(&a, Some(&b)), judge(&b, Some(&a)));
    }

    #[test]
    fn a_missing_item_is_written_again_and_an_own_one_is_fine() {
        let mine = run("a", 1_000);

        assert_eq!(judge(&mine, None), IdState::Free);
        assert_eq!(judge(&mine, Some(&mine)), IdState::Ours);
    }

    #[test]
    fn waits_for_an_older_run_that_leaves_and_answers_a_newer_one() {
        let (old, new) = (WorkerItem { leaving: true, ..run("a", 1_000) }, run("b", 2_000));

        assert_eq!(judge(&new, Some(&old)), IdState::Leaving);
        assert_eq!(judge(&old, Some(&new)), IdState::Claim);
    }

    #[test]
    fn a_refused_heartbeat_drops_the_leases_unless_it_answers_a_newer_run_in_time() {
        use IdState::{Claim, Free, InUse, Ours};
        let (mine, newer, older) = (run("b", 2_000), run("c", 3_000), run("a", 1_000));
        let fenced = |item: &WorkerItem| WorkerItem { mark: Some(Mark::Fenced), ..item.clone() };
        for (found, relies, is_current, state, drops_leases) in [
            (Some(fenced(&mine)), false, true, Free, true),
            (Some(fenced(&newer)), true, true, Claim, false),
            (Some(newer.clone()), true, true, Claim, false),
            (Some(newer.clone()), true, false, Claim, true),
            (Some(newer), false, false, Claim, false),
            (Some(older), true, true, InUse, true),
            (Some(mine.clone()), true, true, Ours, true),
            (None, true, true, Free, true),
            (None, false, true, Free, false),
        ] {
            let judged = judge_refusal(&mine, found.as_ref(), relies, is_current);
            assert_eq!(judged, Refusal { state, drops_leases }, "{found:?}");
        }
    }

    #[test]
    fn a_heartbeat_without_answer_is_known_by_its_number_and_run() {
        let beat = |instance, beat| WorkerItem { beat: Some(beat), ..run(instance, 1_000) };
        let tried = beat("a", 8);

        assert!(is_own_beat(&tried, Some(&tried)));
        for other in [beat("a", 7), beat("b", 8), WorkerItem { mark: Some(Mark::Fenced), ..tried.clone() }] {
            assert!(!is_own_beat(&tried, Some(&other)), "{other:?}");
        }
        assert!(!is_own_beat(&tried, None));
    }

    #[test]
    fn numbers_of_heartbeats_grow_whoever_wrote_under_the_id() {
        let beat = |beat| WorkerItem { beat, ..run("a", 1_000) };

        assert_eq!(beat_after(&beat(Some(3)), Some(&beat(Some(7)))), Some(8));
        assert_eq!(beat_after(&beat(Some(3)), Some(&beat(None))), Some(4));
        assert_eq!(beat_after(&beat(Some(3)), None), Some(4));
        assert_eq!(beat_after(&beat(None), Some(&beat(Some(7)))), None, "it renews each lease");
    }

    #[test]
    fn only_a_recent_foreign_run_may_be_alive() {
        let mine = run("b", 100_000);

        assert!(may_be_alive(&mine, Some(&run("a", 70_000)), 60));
        assert!(!may_be_alive(&mine, Some(&run("a", 10_000)), 60));
        assert!(may_be_alive(&mine, Some(&WorkerItem { leaving: true, ..run("a", 10_000) }), 60));
        assert!(!may_be_alive(&mine, None, 60));
    }
}
