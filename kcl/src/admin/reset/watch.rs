//! SHELL: signs of life of a fleet, from changes of its lease table. No clocks are compared.

use std::{collections::HashMap, time::Duration};

use tokio::time::sleep;

use super::request::ResetError;
use crate::{
    context::Context,
    error::TableError,
    model::{Lease, LeaseKey, LockItem, TableScan},
    time::now,
};

const INTERVAL: Duration = Duration::from_secs(1);
/// Workers of Java write their items every 30 s. Source: KCL `workerMetricsReporterFreqInMillis`.
const REPORTS: Duration = Duration::from_secs(35);

struct Look {
    scan: TableScan,
    lock: Option<LockItem>,
}

/// Looks for signs of life for a while; returns at once if every worker has left in good order.
pub(super) async fn fleet_is_still(context: &Context) -> Result<(), ResetError> {
    let first = look(context).await?;
    let begun = now();
    let owned = first.scan.leases.iter().any(|lease| lease.actual_owner().is_some());
    let locked = first.lock.as_ref().is_some_and(|lock| !lock.released);
    let mut patience = Duration::ZERO;
    if owned || locked {
        patience = context.settings.lease_duration;
    }
    if !first.scan.workers.is_empty() {
        patience = patience.max(REPORTS);
    }
    while now() - begun < patience {
        sleep(INTERVAL).await;
        if let Some(sign) = sign_of_life(&first, &look(context).await?) {
            return Err(ResetError::WorkersLive { sign });
        }
    }
    Ok(())
}

async fn look(context: &Context) -> Result<Look, TableError> {
    Ok(Look { scan: context.table.scan().await?, lock: context.table.get_lock().await? })
}

fn sign_of_life(before: &Look, now: &Look) -> Option<String> {
    let counters: HashMap<&LeaseKey, u64> =
        before.scan.leases.iter().map(|lease| (&lease.key, lease.counter)).collect();
    let is_written = |lease: &&Lease| counters.get(&lease.key) != Some(&lease.counter);
    if let Some(lease) = now.scan.leases.iter().find(is_written) {
        return Some(format!("lease {} was written", lease.key));
    }
    if let Some(worker) = now.scan.workers.iter().find(|worker| !before.scan.workers.contains(worker)) {
        return Some(format!("worker {} reported", worker.id));
    }
    let version = |look: &Look| look.lock.as_ref().map(|lock| lock.version.clone());
    let renewed = now.lock.as_ref().filter(|_| version(before) != version(now))?;
    Some(format!("worker {} leads", renewed.owner))
}
