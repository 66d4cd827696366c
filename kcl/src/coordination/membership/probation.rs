//! SHELL: the entry into the fleet under an id that no other live run has.

use std::{future::Future, sync::Arc, time::Duration};

use futures::TryFutureExt as _;
use tokio::time::sleep;

use super::Membership;
use crate::{
    context::Context,
    coordination::{admission::patiently, measurement::Measurement},
    error::WorkerError,
    logic::{
        assign::membership::{IdState, may_be_alive},
        usage_rate::UsageWindow,
    },
    model::{ACTIVE_WINDOW, Renewals, WorkerItem},
    time::now,
};

/// Pause between looks at the item of another run under this worker's id.
const OUTLAST_POLL: Duration = Duration::from_millis(500);
/// Time in which another run under this worker's id must show that it is alive.
const PROBATION: Duration = Duration::from_secs(5);

impl Membership {
    /// Enters the fleet: makes sure that no other run has this id, and writes the item. None: `stop` resolved before.
    pub(crate) async fn join(
        context: Arc<Context>,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Result<Option<Self>, WorkerError> {
        let id = context.settings.worker_id.clone();
        let look = patiently(&context, || context.table.get_worker(&id).err_into());
        let predecessor = tokio::select! {
            () = &mut stop => return Ok(None),
            found = look => found?,
        };
        // This run is the younger one, whatever the clocks say: they may have the same second, or differ.
        let earliest = predecessor.map_or(0, |found| found.started_at_millis.saturating_add(1));
        let item = WorkerItem {
            last_update_seconds: context.clock.seconds(),
            instance: Some(context.instance.to_string()),
            started_at_millis: context.clock.millis().max(earliest),
            leaving: true,
            beat: (context.settings.renewals == Renewals::Automatic).then_some(0),
            ..WorkerItem::new(id)
        };
        let mut membership = Self {
            context,
            item,
            measurement: Measurement::new(),
            usage: UsageWindow::default(),
            trying: None,
            marked_after: None,
            clock_is_wrong: false,
        };
        let Some(before) = membership.announce(&mut stop).await? else { return Ok(None) };
        membership.check_clock();
        if may_be_alive(&membership.item, before.as_ref(), ACTIVE_WINDOW.as_secs())
            && !membership.outlast(&mut stop).await?
        {
            membership.delete().await;
            return Ok(None);
        }
        membership.item.leaving = false;
        Ok(membership.announce(&mut stop).await?.map(|_| membership))
    }

    /// Writes the item, and returns what stood there before; None if `stop` resolved first, and then the item is gone.
    async fn announce(
        &self,
        stop: impl Future<Output = ()> + Unpin,
    ) -> Result<Option<Option<WorkerItem>>, WorkerError> {
        let report = || self.context.table.put_worker(&self.item).err_into();
        tokio::select! {
            () = stop => {
                self.delete().await;
                Ok(None)
            }
            reported = patiently(&self.context, report) => reported.map(Some),
        }
    }

    /// Waits until no other run answers for this id any more. One that is leaving is waited for. False: `stop` resolved.
    async fn outlast(&mut self, mut stop: impl Future<Output = ()> + Unpin) -> Result<bool, WorkerError> {
        let mut end = now() + PROBATION;
        while now() < end {
            tokio::select! {
                () = &mut stop => return Ok(false),
                () = sleep(OUTLAST_POLL) => {}
            }
            match self.check().await? {
                IdState::Free => return Ok(true),
                IdState::Leaving => end = now() + PROBATION,
                _ => {}
            }
        }
        Ok(true)
    }
}
