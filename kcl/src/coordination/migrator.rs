//! SHELL: on the leader of a fleet in the tables of KCL 3.0 to 3.4, drives its migration to the lease table. Decided by
//! `logic::table_migration::steps`. Two leaders, should there be two for a moment, do no harm: each write says where it begins.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::helm::Reign;
use crate::{
    context::Context,
    error::TableError,
    event::Event,
    logic::table_migration::steps::{Status, Step, next},
    time::now,
};

/// Pause between two looks: each reads all tables.
const POLL: Duration = Duration::from_secs(30);

/// Takes the steps that are due, until `stop` or until the fleet is in one table. Handles: time to look.
pub(crate) async fn migrate(context: Arc<Context>, reign: watch::Receiver<Reign>, stop: CancellationToken) {
    while !context.table.is_only_table() && stop.run_until_cancelled(sleep(POLL)).await.is_some() {
        if reign.borrow().leads(now()) {
            context.reported(turn(&context).await);
        }
    }
}

async fn turn(context: &Context) -> Result<(), TableError> {
    let Some(table) = context.table.in_dynamodb() else { return Ok(()) };
    let Some(sight) = Box::pin(table.migration_sight()).await? else { return Ok(()) };
    let (millis, migrate) = (context.clock.millis(), context.settings.legacy_tables.migrate);
    let Ok(step) = next(&sight, migrate, millis / 1_000) else { return Ok(()) };
    if Box::pin(table.migrate(step, &context.settings.worker_id, millis)).await? {
        let status = match step {
            Step::Create(status) => Some(status),
            Step::Withdraw => None,
            Step::Change { to, .. } => Some(to),
            Step::Move => Some(Status::Pending),
            Step::Complete => Some(Status::Complete),
        };
        let status = status.map_or("none", Status::as_wire).to_owned();
        context.events.emit(Event::TableMigrationChanged { status });
    }
    Ok(())
}
