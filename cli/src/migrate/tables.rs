//! State of a fleet's migration from the tables of KCL 3.0 to 3.4 to one table.

use kcl::{Fleet, TableMigration};
use serde::Serialize;

use crate::{aws::Aws, failure::Failure, fleet::read, output, text};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Without its prefix; null while nobody has begun.
    status: Option<String>,
    since: Option<String>,
    waits_for: Vec<String>,
    until: Option<String>,
    items_left: Vec<String>,
    is_one_table: bool,
}

/// Prints where it stands and what it waits for. Only reads: the fleet's leader takes the steps.
pub(super) async fn show(aws: &Aws, application: &str, json: bool) -> Result<(), Failure> {
    let explain = |error| read::explain(aws, &error);
    read::read(aws, application).await?; // fails if it is no lease table
    let fleet = Fleet::open(&aws.dynamodb(), application).await.map_err(explain)?;
    let found = fleet.table_migration(true, aws.clock.now()).await.map_err(explain)?;
    let report = found.map_or_else(in_one_table, report);
    output::print(json, &report, || sentences(application, &report))
}

fn in_one_table() -> Report {
    Report { status: None, since: None, waits_for: vec![], until: None, items_left: vec![], is_one_table: true }
}

fn report(found: TableMigration) -> Report {
    Report {
        status: found.status.map(|status| status.trim_start_matches("TABLE_MIGRATION_STATUS_").to_owned()),
        since: found.since.map(text::time),
        waits_for: found.waits_for,
        until: found.until.map(text::time),
        items_left: found.left,
        is_one_table: false,
    }
}

fn sentences(application: &str, report: &Report) -> String {
    if report.is_one_table {
        return format!("{application} is in one table\n");
    }
    let mut lines = vec![match (&report.status, &report.since) {
        (Some(status), Some(since)) => format!("migration of {application} to one table: {status} since {since}"),
        _ => format!("migration of {application} to one table: not begun"),
    }];
    let next = match report.status.as_deref() {
        None => "the leader, of KCL 3.5 or kcl, begins when all owners of leases understand the migration",
        Some("INIT") => "DEPLOYED follows after an hour",
        Some("DEPLOYED") => {
            "PENDING follows when all workers are built with migrate_to_one_table, and none of the others runs"
        }
        Some("PENDING") => "COMPLETE follows after a day, and is final; until then the fleet can go back",
        _ => "workers follow within a minute",
    };
    lines.push(format!("next: {next}"));
    lines.extend(report.waits_for.iter().map(|reason| format!("waits: {reason}")));
    lines.extend(report.until.iter().map(|until| format!("waits: until {until}")));
    if !report.items_left.is_empty() {
        lines.push(format!("items in the old table: {}", report.items_left.join(", ")));
    }
    lines.join("\n") + "\n"
}
