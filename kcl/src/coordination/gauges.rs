//! SHELL: sets what grows while nothing happens: lags, leases, memory; and ends rounds of renewals.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{context::Context, time::now};

/// Maximum pause between two looks: half of the 10 s within which a publisher to CloudWatch sends what is buffered.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Rounds of renewals in a lease's life. Source: the keeper's renewals.
const ROUNDS: u32 = 3;

/// Sets them until `stop`.
pub(crate) async fn set_gauges(context: Arc<Context>, stop: CancellationToken) {
    let round = context.settings.lease_duration / ROUNDS;
    let pause = round.min(MAX_PAUSE);
    let mut round_ends = now() + round;
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        context.metrics.held(context.memory.held());
        context.metrics.current_leases(context.board.len());
        let lag = context.board.record_lags(now());
        if let Some(lag) = lag.or_else(|| (context.board.len() == 0).then_some(Duration::ZERO)) {
            context.metrics.behind(lag);
        }
        if now() >= round_ends {
            round_ends = now() + round;
            context.metrics.renewed_all(round);
        }
    }
    // A worker that has stopped holds nothing, though its handle may live.
    context.metrics.held(0);
    context.metrics.current_leases(0);
    context.metrics.behind(Duration::ZERO);
    context.metrics.term_ended();
}
