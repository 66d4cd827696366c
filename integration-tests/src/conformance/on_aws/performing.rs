//! [`Run`]: the checks on the service, under a guard, until they are done or the run is stopped.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use aws_types::SdkConfig;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::conformance::check::Check;
use crate::conformance::context::{Context, Pace};
use crate::conformance::expect::{Failure, Outcome};
use crate::conformance::peer::Peer;
use crate::conformance::report::perform;
use crate::service::{Clients, Guard, delete_made};

/// A run on the service.
#[derive(Debug)]
pub(super) struct Run {
    guard: Guard,
    pub(super) patient: Clients,
    direct: Clients,
    side_by_side: usize,
}

impl Run {
    pub(super) fn new(config: &SdkConfig, guard: &Guard, side_by_side: usize) -> Self {
        let (patient, direct) = (Clients::patient(config, guard), Clients::direct(config, guard));
        Self { guard: guard.clone(), patient, direct, side_by_side: side_by_side.max(1) }
    }

    /// Performs checks side by side, then those that want the service for themselves. Returns the outcome of each that has
    /// one, and why the run was stopped, in words; nothing if it was not.
    ///
    /// # Cancellation
    /// Streams or tables that the checks made are left.
    pub(super) async fn perform(
        &self,
        checks: &[Check],
        stop: &CancellationToken,
    ) -> (Vec<Option<Outcome>>, &'static str) {
        let mut outcomes: Vec<Option<Outcome>> = checks.iter().map(|_| None).collect();
        let mut full = pin!(self.guard.filled());
        let (alone, together): (Vec<_>, Vec<_>) =
            checks.iter().enumerate().partition(|(_, check)| check.needs.is_alone());
        for (batch, side_by_side) in [(together, self.side_by_side), (alone, 1)] {
            let performed = stream::iter(batch).map(async |(n, check)| (n, self.perform_one(n, check).await));
            let mut performed = pin!(performed.buffer_unordered(side_by_side));
            loop {
                let next = tokio::select! {
                    // A check that was refused for the cap is no finding.
                    biased;
                    () = stop.cancelled() => return (outcomes, ", stopped by a signal"),
                    () = &mut full => return (outcomes, ", stopped at the cap on stream hours"),
                    next = performed.next() => next,
                };
                let Some((n, outcome)) = next else { break };
                if self.guard.is_full() && outcome.is_err() {
                    continue;
                }
                let verdict = if outcome.is_ok() { "agrees " } else { "DIFFERS" };
                outcomes[n] = Some(outcome);
                eprintln!("{verdict} {:3}/{} {}", outcomes.iter().flatten().count(), checks.len(), checks[n].name);
            }
        }
        (outcomes, "")
    }

    /// Performs a check, and deletes what it made.
    async fn perform_one(&self, n: usize, check: &Check) -> Outcome {
        let beginning = self.guard.prefix().name(&format!("{n}-"));
        let context = Context { beginning: beginning.clone(), pace: Pace::SERVICE };
        let performed = perform(check, Peer::on_service(&self.patient, &self.direct), context);
        let outcome = AssertUnwindSafe(performed).catch_unwind().await;
        delete_made(&self.patient, &self.guard, &beginning).await;
        outcome.unwrap_or_else(|_| Err(Failure::new("the check panicked at what it got")))
    }
}

#[cfg(test)]
mod tests {
    use futures::future::LocalBoxFuture;
    use kinesis_local::LocalAws;

    use super::*;
    use crate::conformance::check::Needs;
    use crate::conformance::stream::Stream;
    use crate::service::{CLEAN_UP_TIME, Prefix, clean_up};

    fn check(name: &'static str, run: fn(Peer) -> LocalBoxFuture<'static, Outcome>) -> Check {
        Check { name, source: "observed", needs: Needs::Kinesis, run }
    }

    /// A run on services that hold a stream of others, and their names of streams.
    async fn on_local(cap: u64) -> (LocalAws, Guard, Run, aws_sdk_kinesis::Client) {
        let aws = LocalAws::start().await;
        aws.create_stream("orders", 1).unwrap();
        let guard = Guard::new(Prefix::random(), cap);
        let config = aws.sdk_config();
        let run = Run::new(&config, &guard, 2);
        (aws, guard, run, aws_sdk_kinesis::Client::new(&config))
    }

    async fn streams(kinesis: &aws_sdk_kinesis::Client) -> Vec<String> {
        kinesis.list_streams().send().await.unwrap().stream_names().to_vec()
    }

    async fn agrees(peer: Peer) -> Outcome {
        Stream::create(&peer, 1).await.map(drop)
    }

    async fn differs(peer: Peer) -> Outcome {
        Stream::create(&peer, 1).await?;
        Err(Failure::new("other"))
    }

    async fn panics(peer: Peer) -> Outcome {
        Stream::create(&peer, 1).await?;
        panic!("on purpose")
    }

    async fn waits(peer: Peer) -> Outcome {
        Stream::create(&peer, 1).await?;
        std::future::pending().await
    }

    async fn deletes(peer: Peer) -> Outcome {
        peer.kinesis().delete_stream().stream_name("orders").send().await?;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_leaves_nothing_even_if_it_fails_or_panics() {
        let (_aws, _, run, kinesis) = on_local(100).await;
        let checks = [
            check("agrees", |peer| Box::pin(agrees(peer))),
            check("differs", |peer| Box::pin(differs(peer))),
            check("panics", |peer| Box::pin(panics(peer))),
        ];

        let (outcomes, stopped) = run.perform(&checks, &CancellationToken::new()).await;

        let agree: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(Result::is_ok)).collect();
        assert_eq!((agree, stopped), (vec![Some(true), Some(false), Some(false)], ""));
        assert_eq!(streams(&kinesis).await, ["orders"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_when_the_run_is_stopped_is_cleaned_up() {
        let (_aws, guard, run, kinesis) = on_local(100).await;
        let checks = [check("waits", |peer| Box::pin(waits(peer))), check("waits, too", |peer| Box::pin(waits(peer)))];
        let stop = CancellationToken::new();

        let stopping = async {
            while streams(&kinesis).await.len() < 3 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            stop.cancel();
        };
        let ((outcomes, stopped), ()) = tokio::join!(run.perform(&checks, &stop), stopping);

        assert_eq!((outcomes.iter().flatten().count(), stopped), (0, ", stopped by a signal"));
        assert_eq!(streams(&kinesis).await.len(), 3);
        assert!(clean_up(&run.patient, guard.prefix(), CLEAN_UP_TIME).await.is_complete());
        assert_eq!(streams(&kinesis).await, ["orders"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_ends_at_its_cap_without_a_finding() {
        let (_aws, _, run, kinesis) = on_local(3).await;
        let checks: Vec<_> = crate::conformance::checks()
            .into_iter()
            .filter(|check| check.name.starts_with("ranges_of_shards"))
            .collect();
        assert_eq!(checks.len(), 2, "of 3 and of 4 shards");

        let (outcomes, stopped) = run.perform(&checks, &CancellationToken::new()).await;

        assert_eq!(stopped, ", stopped at the cap on stream hours");
        assert!(outcomes.iter().flatten().all(Result::is_ok));
        assert!(outcomes.iter().any(Option::is_none));
        assert!(streams(&kinesis).await.contains(&"orders".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_names_what_is_of_others_is_refused() {
        let (_aws, _, run, kinesis) = on_local(100).await;
        let deletes = check("deletes", |peer| Box::pin(deletes(peer)));

        let (outcomes, _) = run.perform(&[deletes], &CancellationToken::new()).await;

        assert!(matches!(outcomes[..], [Some(Err(_))]));
        assert_eq!(streams(&kinesis).await, ["orders"]);
    }
}
