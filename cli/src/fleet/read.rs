//! SHELL: reads a fleet's tables.

use kcl::{FleetStatus, TableError};

use super::view::FleetView;
use crate::{
    aws::{Aws, refusal, stream_name::StreamName},
    failure::{Failure, chain},
};

/// Reads the tables of an application. Fails if they are no lease tables.
pub(crate) async fn read(aws: &Aws, application: &str) -> Result<FleetView, Failure> {
    let status = FleetStatus::read_by(&aws.dynamodb(), application).await.map_err(|error| explain(aws, &error))?;
    let view = FleetView::new(application, status, aws.clock.now());
    if view.leases.is_empty() && view.workers.is_empty() && !view.unreadable.is_empty() {
        let what = format!("table {application} is no lease table, its item {} is no lease", view.unreadable[0]);
        return Err(Failure::new(what, "name the application's table"));
    }
    Ok(view)
}

/// An error of the lease table in words.
pub(crate) fn explain(aws: &Aws, error: &TableError) -> Failure {
    match error {
        TableError::AccessDenied { action, table, .. } => {
            refusal::refused(aws, action, &format!("table {table}"), "AccessDeniedException", "access denied")
        }
        TableError::TableMissing { table, .. } => {
            let what = format!("lease table {table} does not exist in {}", aws.region());
            Failure::new(what, "it has the application's name unless configured otherwise; check it and --region")
        }
        TableError::Credentials { action, .. } => refusal::refused(aws, action, "", "UnrecognizedClientException", ""),
        TableError::Call { table, .. } if chain(error).contains("schema") => {
            let what = format!("table {table} is no lease table, its key is not leaseKey");
            Failure::new(what, "name the application's table")
        }
        error => Failure::new(chain(error), "try again, or name the application's table"),
    }
}

/// The stream of an application of one stream: as named, else as the fleet notes it.
pub(crate) fn stream_of(view: &FleetView, named: Option<StreamName>) -> Option<StreamName> {
    named.or_else(|| view.stream.as_deref().and_then(|arn| arn.parse().ok()))
}
