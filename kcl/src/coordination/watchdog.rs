//! SHELL: reports shards that make no progress, and why, as [`logic::stall`](crate::logic::shard::stall) finds it.

use std::{collections::HashMap, mem::discriminant, sync::Arc, time::Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    event::Event,
    model::{Lease, LeaseKey, Stall, StreamShard},
    time::now,
};

/// Looks within [`warn_after`](crate::WorkerBuilder::warn_after).
const LOOKS: u32 = 4;

pub(crate) async fn watch_shards(context: Arc<Context>, stop: CancellationToken) {
    let mut reported: HashMap<LeaseKey, Stall> = HashMap::new();
    let interval = context.settings.warn_after / LOOKS;
    while stop.run_until_cancelled(sleep(interval)).await.is_some() {
        let statuses = context.board.stalled(now(), context.settings.warn_after);
        reported.retain(|key, _| statuses.iter().any(|(stalled, ..)| stalled == key));
        for (key, status, lasts) in statuses {
            let Some(stall) = status.stall else { continue };
            let is_news = reported.get(&key).is_none_or(|before| discriminant(before) != discriminant(&stall));
            reported.insert(key, stall.clone());
            // A busy processor and a stopped shard have events of their own.
            if is_news && !matches!(stall, Stall::ProcessorBusy | Stall::Stopped) {
                context.events.emit(Event::ShardStalled { shard: status.shard, stall, lasts });
            }
        }
    }
}

/// Leases without a worker, as the leader sees them from cycle to cycle.
#[derive(Debug, Default)]
pub(crate) struct Unowned {
    since: HashMap<LeaseKey, (Instant, bool)>,
}

impl Unowned {
    pub(crate) fn observe<'a>(&mut self, context: &Context, leases: impl Iterator<Item = &'a Lease>, now: Instant) {
        let unowned = |lease: &&Lease| lease.actual_owner().is_none() && !lease.is_ended();
        let still: HashMap<&LeaseKey, &Lease> = leases.filter(unowned).map(|lease| (&lease.key, lease)).collect();
        self.since.retain(|key, _| still.contains_key(key));
        for (key, lease) in still {
            let (since, reported) = self.since.entry(key.clone()).or_insert((now, false));
            let lasts = now.saturating_duration_since(*since);
            if lasts >= context.settings.warn_after && !*reported {
                *reported = true;
                let shard = StreamShard::new(context.catalog.id_of(lease), lease.shard_id.clone());
                context.events.emit(Event::ShardStalled { shard, stall: Stall::NoLease, lasts });
            }
        }
    }
}
