//! SHELL: heartbeats, and what follows from their refusal.

use std::sync::Arc;

use super::Membership;
use crate::{
    context::pulse::Beginning,
    error::WorkerError,
    event::Event,
    logic::assign::membership::{IdState, Refusal, beat_after, is_own_beat, judge_refusal},
    model::{Beat, Mark, WorkerItem},
    time::now,
};

impl Membership {
    /// Reports on condition that nobody else has written this worker's item. False: it failed. An error if another live
    /// worker has the id.
    pub(super) async fn beat(&mut self) -> Result<bool, WorkerError> {
        let Some(last) = self.item.beat else { return Ok(self.report().await) };
        // Once this one is accepted, nothing shows that the last was so long ago.
        self.context.drop_if_overslept();
        let begun = self.context.pulse.begin();
        let first_begun = *self.trying.get_or_insert(begun);
        let next = WorkerItem {
            last_update_seconds: self.context.clock.seconds(),
            beat: Some(last + 1),
            usage: self.usage.note(begun.at(), self.context.table.usage()).or(self.item.usage),
            ..self.item.clone()
        };
        let context = Arc::clone(&self.context);
        let renewing = context.metrics.renewing();
        let written = context.table.beat(&next, last).await;
        let (success, took) = (matches!(written, Ok(Beat::Confirmed(_))), now() - begun.at());
        self.context.metrics.reported(success, took);
        renewing.ended(success, took);
        match self.context.reported(written) {
            None => return Ok(false),
            Some(Beat::Confirmed(before)) => {
                self.confirm(next, begun);
                if before.is_some_and(|before| before.mark == Some(Mark::Look)) {
                    self.look();
                }
            }
            Some(Beat::Refused(found)) => {
                let found = found.map(|found| *found);
                if is_own_beat(&next, found.as_ref()) {
                    self.confirm(next, first_begun);
                    // It may have removed a mark that nobody has seen.
                    self.look();
                    return Ok(false);
                }
                self.refused(found).await?;
            }
        }
        self.check_clock();
        Ok(true)
    }

    fn confirm(&mut self, written: WorkerItem, begun: Beginning) {
        self.item = written;
        self.trying = None;
        self.context.pulse.beaten(begun);
    }

    /// Looks for leases given and taken.
    pub(super) fn look(&self) {
        self.context.nudges.discover.notify_one();
        self.context.nudges.verify.notify_one();
    }

    /// The item is not as this run wrote it: its leases may be others' by now. Nothing is lost only if another run under
    /// this id asks who is there, and is answered while the last heartbeat still counts.
    pub(super) async fn refused(&mut self, found: Option<WorkerItem>) -> Result<IdState, WorkerError> {
        let pulse = &self.context.pulse;
        let refusal = judge_refusal(&self.item, found.as_ref(), pulse.may(), pulse.is_current());
        let Refusal { state, drops_leases } = refusal;
        if drops_leases {
            self.context.pulse.drop_all();
            self.context.events.emit(Event::HeartbeatRefused);
        }
        if state == IdState::InUse {
            return Err(WorkerError::WorkerIdInUse { worker_id: self.item.id.clone() });
        }
        tracing::info!(worker_id = %self.item.id, ?state, "worker item written again");
        self.item.beat = beat_after(&self.item, found.as_ref());
        let begun = self.context.pulse.begin();
        if self.report().await {
            self.trying = None;
            self.context.pulse.beaten(begun);
        }
        self.look();
        Ok(state)
    }
}
