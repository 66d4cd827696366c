//! Ownership of this worker's id. Pure.
//!
//! Every run of a worker writes a random instance and its start time into the worker's item. Two runs that live at the
//! same time under one id see each other's instance there:
//! (A) the older run answers by writing itself back; (B) the newer run, on seeing an older one, gives up, or waits if the
//! older one leaves. So exactly one works, and a crashed predecessor, which cannot answer, delays its successor only briefly.

use crate::model::WorkerItem;

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
    fn only_a_recent_foreign_run_may_be_alive() {
        let mine = run("b", 100_000);

        assert!(may_be_alive(&mine, Some(&run("a", 70_000)), 60));
        assert!(!may_be_alive(&mine, Some(&run("a", 10_000)), 60));
        assert!(may_be_alive(&mine, Some(&WorkerItem { leaving: true, ..run("a", 10_000) }), 60));
        assert!(!may_be_alive(&mine, None, 60));
    }
}
