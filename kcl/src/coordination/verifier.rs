//! SHELL: compares the leases held with the table while heartbeats renew them: what happened to one that its owner did not
//! write, and that the index shows again by now, is found out here.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Pause between two comparisons without a sign of a change. Each reads all leases held: half a read unit for each.
const INTERVAL: Duration = Duration::from_secs(60);

/// Handles: time to compare, a leader's mark in this worker's item, cancellation.
pub(crate) async fn verify(context: Arc<Context>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(INTERVAL.mul_f64(0.9 + 0.1 * fastrand::f64())) => {}
            () = context.nudges.verify.notified() => {}
        }
        if !context.pulse.may() {
            continue;
        }
        let keys = context.doubts.keys();
        if let Some(found) = context.reported(context.table.get_all(&keys).await) {
            context.doubts.compare(&keys, &found, &context.settings.worker_id);
        }
    }
}
