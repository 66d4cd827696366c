//! A worker's health by what its tasks noted. Pure.
//!
//! (A) A worker lives until its run ends, and while its tasks come round, whatever the services answer.
//! (B) It is ready if nothing is in its way that passes by itself: see [`HealthProblem`].

use std::time::{Duration, Instant};

use crate::model::{HealthProblem, WorkerId};

/// Time beyond a lease duration in which the leader's task comes round, were each of its calls to wait to its end.
const CALLS: Duration = Duration::from_secs(2 * 60);

/// Notes of a worker's tasks.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    /// Last turn of the leader's task, whatever came of it.
    pub(crate) turned: Instant,
    /// Last turn that the lease table answered.
    pub(crate) answered: Instant,
    /// Error of the last call, if it failed.
    pub(crate) failure: Option<String>,
    pub(crate) leader: Option<WorkerId>,
    /// Last turn at which the leader was known.
    pub(crate) led: Instant,
    /// The shards were listed by this worker as the leader, or another leads, whose task that is.
    pub(crate) is_listed: bool,
}

/// Stage of a worker's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    Starting,
    Joined,
    Stopping,
    Ended { error: Option<String> },
}

/// Problems of a worker; `vitals` are None of one without a fleet.
pub(crate) fn problems(
    stage: Stage,
    vitals: Option<&Vitals>,
    lease_duration: Duration,
    now: Instant,
) -> Vec<HealthProblem> {
    let (is_joined, mut problems) = (stage == Stage::Joined, Vec::new());
    match stage {
        Stage::Ended { error } => return vec![HealthProblem::Ended { error }],
        Stage::Starting => problems.push(HealthProblem::Starting),
        Stage::Stopping => problems.push(HealthProblem::Stopping),
        Stage::Joined => {}
    }
    // Before the join and while it stops, its tasks do not come round.
    let Some(vitals) = vitals.filter(|_| is_joined) else { return problems };
    let turned = now.saturating_duration_since(vitals.turned);
    if turned > lease_duration + CALLS {
        problems.push(HealthProblem::TasksStandStill { for_millis: millis(turned) });
    }
    let answered = now.saturating_duration_since(vitals.answered);
    if answered > lease_duration {
        let error = vitals.failure.clone();
        problems.push(HealthProblem::LeaseTableFailing { for_millis: millis(answered), error });
    }
    // A failover takes a part of a lease duration.
    if now.saturating_duration_since(vitals.led) > lease_duration {
        problems.push(HealthProblem::LeaderUnknown);
    }
    if !vitals.is_listed {
        problems.push(HealthProblem::ShardsNotListed);
    }
    problems
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE_DURATION: Duration = Duration::from_secs(10);

    /// Problems of a joined worker with a leader, `seconds` after all was well.
    fn after(seconds: u64, change: impl FnOnce(&mut Vitals, Instant)) -> Vec<HealthProblem> {
        let start = crate::tests::some_time();
        let now = start + Duration::from_secs(seconds);
        let leader = Some("w".into());
        let mut vitals = Vitals { turned: start, answered: start, failure: None, leader, led: now, is_listed: true };
        change(&mut vitals, now);
        problems(Stage::Joined, Some(&vitals), LEASE_DURATION, now)
    }

    #[test]
    fn a_worker_that_has_joined_and_reaches_its_table_has_no_problem() {
        assert_eq!(after(10, |_, _| {}), []);
        assert_eq!(problems(Stage::Joined, None, LEASE_DURATION, crate::tests::some_time()), []);
    }

    #[test]
    fn a_table_that_does_not_answer_is_reported_with_the_last_error_and_ends_no_life() {
        let found = after(11, |vitals, now| {
            vitals.turned = now;
            vitals.failure = Some("no".to_owned());
        });
        let expected = HealthProblem::LeaseTableFailing { for_millis: 11_000, error: Some("no".to_owned()) };
        assert_eq!(found, [expected]);
        assert!(!found[0].ends_life());
    }

    #[test]
    fn a_leader_that_is_not_known_is_a_problem_after_a_lease_duration() {
        let unknown_for = |seconds| {
            after(0, |vitals, now| {
                vitals.leader = None;
                vitals.led = now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now);
            })
        };
        assert_eq!(unknown_for(10), []);
        assert_eq!(unknown_for(11), [HealthProblem::LeaderUnknown]);
    }

    #[test]
    fn tasks_that_do_not_come_round_end_a_life() {
        assert_eq!(after(130, |vitals, now| vitals.answered = now), []);
        let found = after(131, |vitals, now| vitals.answered = now);
        assert_eq!(found, [HealthProblem::TasksStandStill { for_millis: 131_000 }]);
        assert!(found[0].ends_life());
    }

    #[test]
    fn a_worker_is_not_ready_before_the_shards_are_listed() {
        let not_listed = after(0, |vitals, _| vitals.is_listed = false);
        assert_eq!(not_listed, [HealthProblem::ShardsNotListed]);
        assert!(!not_listed[0].ends_life());
    }

    #[test]
    fn a_worker_that_starts_or_stops_is_not_judged_by_what_its_tasks_do() {
        let start = crate::tests::some_time();
        let vitals =
            Vitals { turned: start, answered: start, failure: None, leader: None, led: start, is_listed: false };
        let of = |stage| problems(stage, Some(&vitals), LEASE_DURATION, start + CALLS * 2);
        assert_eq!(of(Stage::Starting), [HealthProblem::Starting]);
        assert_eq!(of(Stage::Stopping), [HealthProblem::Stopping]);
    }

    #[test]
    fn an_end_explains_all_else() {
        let error = Some("no table".to_owned());
        let ended = Stage::Ended { error: error.clone() };
        let now = crate::tests::some_time();
        let vitals = Vitals { turned: now, answered: now, failure: None, leader: None, led: now, is_listed: true };
        assert_eq!(problems(ended, Some(&vitals), LEASE_DURATION, now), [HealthProblem::Ended { error }]);
    }
}
