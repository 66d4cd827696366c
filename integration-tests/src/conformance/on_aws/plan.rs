//! [`Plan`]: what a run creates and what that costs at most, found by rehearsing it on the embedded services.

use anyhow::anyhow;
use kinesis_local::LocalAws;

use crate::conformance::check::Check;
use crate::conformance::context::{Context, Pace};
use crate::conformance::peer::Peer;
use crate::conformance::report::perform;
use crate::service::{Clients, Guard, Place, Prefix, Totals, endpoints};

/// List prices of us-east-1 in US dollars, estimates that nobody updates. Other regions are up to twice as dear.
mod prices {
    /// Day on which they were noted.
    pub(super) const NOTED: &str = "2026-11-30";
    /// An hour of a shard, or of a consumer with enhanced fan-out on a shard: <https://aws.amazon.com/kinesis/data-streams/pricing/>.
    pub(super) const STREAM_HOUR: f64 = 0.015;
    /// An hour of a shard whose retention is extended, besides; some checks extend it. The same page.
    pub(super) const EXTENDED_RETENTION: f64 = 0.020;
    /// All else, rounded up: some 200 MB of records, some 10,000 requests of streams and as many of tables on demand,
    /// at most 1.25 dollars a million, <https://aws.amazon.com/dynamodb/pricing/on-demand/>; metrics, keys and recovery for
    /// minutes.
    pub(super) const ELSE: f64 = 1.0;
    /// Pages of the prices.
    pub(super) const PAGES: &str =
        "https://aws.amazon.com/kinesis/data-streams/pricing/ https://aws.amazon.com/dynamodb/pricing/on-demand/";
}

/// Streams, shards, consumers and tables that a run creates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plan {
    checks: usize,
    totals: Totals,
    hours: u64,
}

impl Plan {
    /// Rehearses the checks under virtual time, in a thread of its own.
    ///
    /// # Errors
    /// The runtime cannot be built, or a check panics.
    pub(super) fn rehearse(checks: Vec<Check>) -> anyhow::Result<Self> {
        let rehearsal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
            anyhow::Ok(runtime.block_on(rehearse(&checks)))
        });
        rehearsal.join().map_err(|_| anyhow!("the rehearsal panicked"))?
    }

    /// Stream hours, when each check takes less than one.
    pub(super) fn hours(&self) -> u64 {
        self.hours
    }

    /// The run in words, for whoever is to agree.
    pub(super) fn announcement(&self, place: &Place, prefix: &Prefix, cap: u64, side_by_side: usize) -> String {
        let Totals { streams, shards, consumers, tables } = self.totals;
        let mut lines = vec![format!("account   {}", place.account()), format!("region    {}", place.region())];
        lines.extend(endpoints().into_iter().map(|(name, value)| format!("endpoint  {value}, by {name}")));
        let hour = prices::STREAM_HOUR + prices::EXTENDED_RETENTION;
        let stops = if cap < self.hours { ", before its end" } else { "" };
        lines.extend([
            format!("checks    {}, {side_by_side} at a time", self.checks),
            format!("names     {prefix}..."),
            format!(
                "creates   {streams} streams with {shards} shards and {consumers} consumers, {tables} tables on demand,"
            ),
            "          and deletes what a check made when it has ended".to_owned(),
            format!(
                "hours     {} stream hours planned; the run stops at {cap}{stops}. A stream hour is an hour, begun or",
                self.hours
            ),
            "          full, of a shard or of a consumer on a shard".to_owned(),
            format!(
                "cost      {:.2} USD at most: {cap} x {hour:.3} + {:.2} for all else, estimated by list prices of",
                dollars(cap),
                prices::ELSE
            ),
            format!("          us-east-1, noted {}: {}", prices::NOTED, prices::PAGES),
        ]);
        lines.join("\n")
    }
}

fn dollars(hours: u64) -> f64 {
    let hours = f64::from(u32::try_from(hours).unwrap_or(u32::MAX));
    hours * (prices::STREAM_HOUR + prices::EXTENDED_RETENTION) + prices::ELSE
}

/// A check has a guard of its own: hours of virtual time are not those of the run.
async fn rehearse(checks: &[Check]) -> Plan {
    let mut plan = Plan { checks: checks.len(), ..Plan::default() };
    for check in checks {
        let guard = Guard::new(Prefix::random(), u64::MAX);
        let config = LocalAws::start().await.sdk_config();
        let limited = LocalAws::builder().enforce_limits().start().await.sdk_config();
        let (clients, limited) = (Clients::direct(&config, &guard), Clients::direct(&limited, &guard));
        let peer = Peer::on_service(&clients, &limited).with_virtual_time();
        let context = Context { beginning: guard.prefix().to_string(), pace: Pace::VIRTUAL };
        let _as_planned = perform(check, peer, context).await;
        plan.totals += guard.totals();
        plan.hours += guard.hours();
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(part: &str) -> Plan {
        let checks = crate::conformance::checks().into_iter().filter(|check| check.name.contains(part));
        Plan::rehearse(checks.collect()).unwrap()
    }

    #[test]
    fn a_plan_has_what_the_checks_create() {
        let split = planned("a_split_closes_the_shard");
        assert_eq!(split.totals, Totals { streams: 1, shards: 3, consumers: 0, tables: 0 });
        assert_eq!(split.hours, 3);

        let listed = planned("consumers_are_listed_in_pages");
        assert_eq!(listed.totals, Totals { streams: 1, shards: 1, consumers: 2, tables: 0 });
        assert_eq!(listed.hours, 3);

        assert_eq!(planned("an_item_is_created_once").totals.tables, 2);
    }

    #[test]
    fn the_announcement_says_when_the_cap_is_too_low() {
        let plan = Plan { checks: 1, totals: Totals::default(), hours: 100 };
        let announced = |cap| plan.announcement(&Place::new("123456789012", "eu-west-1"), &Prefix::random(), cap, 4);

        assert!(announced(99).contains("stops at 99, before its end."));
        assert!(announced(100).contains("stops at 100. "));
        assert!(announced(100).contains("cost      4.50 USD at most: 100 x 0.035 + 1.00"));
    }
}
