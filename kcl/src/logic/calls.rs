//! Calls that a worker needs and that do not succeed. Pure.
//!
//! (A) A refused call is a problem at once, as no new try mends it; any other failure once it has lasted for [`LASTING`].
//! (B) It is one until the same call succeeds, or has not been tried for its life: another worker may make it by now.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::health::millis;
use crate::model::HealthProblem;

/// Time for which failures that may pass must have lasted: beyond all retries of one call.
const LASTING: Duration = Duration::from_secs(60);

/// IAM action and the stream or table that it is asked of.
pub(crate) type Call<'a> = (&'static str, &'a str);

/// Failure of one call.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: String,
    /// The credentials, or their permissions, were refused.
    pub(crate) is_refusal: bool,
    /// Time after which it says nothing any more, unless it is repeated.
    pub(crate) life: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct FailingCalls {
    /// By action and resource: the first and the last of the failures in a row, and the last itself.
    calls: BTreeMap<(&'static str, String), (Instant, Instant, Failure)>,
}

impl FailingCalls {
    pub(crate) fn failed(&mut self, (action, resource): Call<'_>, failure: Failure, now: Instant) {
        self.calls.retain(|_, (_, last, failure)| is_recent(*last, failure, now));
        let failing = self.calls.entry((action, resource.to_owned())).or_insert_with(|| (now, now, failure.clone()));
        (failing.1, failing.2) = (now, failure);
    }

    pub(crate) fn succeeded(&mut self, call: Call<'_>) {
        // Most often there is none.
        self.calls.retain(|(action, resource), _| (*action, resource.as_str()) != call);
    }

    pub(crate) fn problems(&self, now: Instant) -> Vec<HealthProblem> {
        let problem =
            |((action, resource), (first, last, failure)): (&(&'static str, String), &(Instant, Instant, Failure))| {
                let lasts = now.saturating_duration_since(*first);
                let counts = is_recent(*last, failure, now) && (failure.is_refusal || lasts >= LASTING);
                counts.then(|| HealthProblem::CallFailing {
                    action: (*action).to_owned(),
                    resource: resource.clone(),
                    for_millis: millis(lasts),
                    error: failure.error.clone(),
                })
            };
        self.calls.iter().filter_map(problem).collect()
    }
}

fn is_recent(last: Instant, failure: &Failure, now: Instant) -> bool {
    now.saturating_duration_since(last) < failure.life
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: Call<'static> = ("kinesis:ListShards", "orders");
    const LIFE: Duration = Duration::from_secs(300);

    fn failure(is_refusal: bool) -> Failure {
        Failure { error: "no".to_owned(), is_refusal, life: LIFE }
    }

    /// Times for which calls have failed that are problems.
    fn lasting(calls: &FailingCalls, now: Instant) -> Vec<u64> {
        let seconds = |problem| match problem {
            HealthProblem::CallFailing { for_millis, .. } => for_millis / 1000,
            other => panic!("{other:?}"),
        };
        calls.problems(now).into_iter().map(seconds).collect()
    }

    #[test]
    fn a_refused_call_is_a_problem_at_once_and_until_it_succeeds() {
        let (now, mut calls) = (crate::tests::some_time(), FailingCalls::default());
        calls.failed(LIST, failure(true), now);
        calls.failed(("kinesis:GetRecords", "orders"), failure(true), now);
        assert_eq!(lasting(&calls, now), [0, 0]);

        calls.succeeded(("kinesis:ListShards", "payments"));
        assert_eq!(lasting(&calls, now + LIFE / 2), [150, 150]);
        calls.succeeded(LIST);
        assert_eq!(lasting(&calls, now), [0]);
    }

    #[test]
    fn another_failure_is_a_problem_once_it_lasts_for_a_minute() {
        let (now, mut calls) = (crate::tests::some_time(), FailingCalls::default());
        for seconds in [0, 30, 59] {
            calls.failed(LIST, failure(false), now + Duration::from_secs(seconds));
        }
        assert!(lasting(&calls, now + Duration::from_secs(59)).is_empty());
        assert_eq!(lasting(&calls, now + Duration::from_secs(60)), [60]);
    }

    #[test]
    fn a_call_that_is_not_tried_any_more_is_forgotten() {
        let (now, mut calls) = (crate::tests::some_time(), FailingCalls::default());
        calls.failed(LIST, failure(true), now);
        assert!(lasting(&calls, now + LIFE).is_empty());

        calls.failed(LIST, failure(true), now + LIFE);
        assert_eq!(lasting(&calls, now + LIFE), [0], "it begins anew");
    }
}
