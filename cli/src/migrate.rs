//! `kds migrate`: takes an application of KCL 1.x or 2.x over to 3.x, or shows the migration of tables.

mod tables;

use std::time::Duration;

use clap::Args;
use kcl::{Adoption, AdoptionError, Event, OldFleet, WorkerBuilder, WorkerError};
use serde::Serialize;

use crate::{
    aws::{Aws, stream_name::StreamName},
    confirm::Consent,
    failure::{Failure, chain},
    fleet::{read, view::FleetView},
    moment::up_to_an_hour,
    output, reset, text,
};

/// Arguments of `kds migrate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct MigrateArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Take over a stopped application of KCL 1.x or 2.x
    #[arg(long, required_unless_present = "one_table")]
    from_2x: bool,
    /// Show how far the fleet is on its way from the tables of KCL 3.0 to 3.4 to one table
    #[arg(long, conflicts_with_all = ["from_2x", "failover", "stream", "yes"])]
    one_table: bool,
    /// Failover time of the old workers; nothing may move for twice as long [default: nothing may move for 3 min]
    #[arg(long, value_name = "TIME", value_parser = up_to_an_hour)]
    failover: Option<Duration>,
    /// Time to look for signs of life before anything is planned
    #[arg(long = "look", value_name = "TIME", default_value = "10s", value_parser = up_to_an_hour)]
    look: Duration,
    /// Stream of the application [default: as its leases name it, if it reads several]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    #[command(flatten)]
    consent: Consent,
    /// Print what was found, or done, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    leases: usize,
    ended: usize,
    without_hash_keys: usize,
    owners: Vec<String>,
    /// Sign of life during the look.
    sign_of_life: Option<String>,
    wait_seconds: u64,
    is_taken_over: bool,
}

/// Looks, shows what would be done, and with `--yes` does it.
pub(crate) async fn run(aws: &Aws, arguments: MigrateArguments) -> Result<(), Failure> {
    let MigrateArguments { application, from_2x: _, one_table, failover, look, stream, consent, json } = arguments;
    if one_table {
        return tables::show(aws, &application, json).await;
    }
    let view = read::read(aws, &application).await?;
    let builder = builder(aws, &view, stream.as_ref())?.adopt_2x(failover);
    let Some(found) = builder.look_at_2x(look).await.map_err(|error| explain(&error))? else {
        let what = format!("{application} is no application of KCL 1.x or 2.x with leases");
        return Err(Failure::new(what, "kds fleet shows what it is; nothing was changed"));
    };
    let mut report = report(&found);
    if !consent.yes {
        return output::print(json, &report, || plan(&application, &found, look));
    }
    eprint!("{}", plan(&application, &found, look));
    match builder.adopt().await.map_err(|error| explain(&error))? {
        Adoption::Adopted(leases) => {
            (report.leases, report.is_taken_over) = (leases, true);
            let leases = text::counted(leases as u64, "lease");
            output::print(json, &report, || format!("{application} is taken over with {leases}: start its workers\n"))
        }
        _ => {
            let what = format!("{application} was taken over by somebody else meanwhile, or its leases were deleted");
            Err(Failure::new(what, "kds fleet shows what it is"))
        }
    }
}

/// A worker of the application, which is never run.
fn builder(aws: &Aws, view: &FleetView, stream: Option<&StreamName>) -> Result<WorkerBuilder, Failure> {
    let builder = reset::builder(aws, view, stream)?;
    // The migration state says who wrote it.
    Ok(builder.worker_id(format!("kds-{}", std::process::id())).on_event(|event| match event {
        Event::AdoptionWaits { sign, remaining, .. } => {
            eprintln!("{sign}: waiting for {} without a sign of life", text::duration(*remaining));
        }
        Event::AdoptionStopped { sign, .. } => eprintln!("{sign}: stopped, the wait begins anew"),
        Event::LeaseTableFailed { error, .. } => eprintln!("lease table: {error}"),
        _ => {}
    }))
}

fn report(found: &OldFleet) -> Report {
    Report {
        leases: found.leases,
        ended: found.ended,
        without_hash_keys: found.without_range,
        owners: found.owners.iter().map(ToString::to_string).collect(),
        sign_of_life: found.sign.clone(),
        wait_seconds: found.wait.as_secs(),
        is_taken_over: false,
    }
}

fn plan(application: &str, found: &OldFleet, look: Duration) -> String {
    let owners: Vec<&str> = found.owners.iter().map(|owner| owner.as_str()).collect();
    let owners = if owners.is_empty() { "nobody".to_owned() } else { owners.join(", ") };
    let life = match &found.sign {
        Some(sign) => format!("its workers live ({sign}): stop them, or it waits for their end, for an hour at most"),
        None => format!("no sign of life within {}", text::duration(look)),
    };
    let (leases, wait) = (text::counted(found.leases as u64, "lease"), text::duration(found.wait));
    format!(
        "take over {application} ({leases}, {} of ended shards, owned by {owners}): {life}\n\
         with --yes: wait until nothing has moved for {wait}; take all leases from their owners; add hash keys ({} lack them), \
         entity types, the index of owners and the migration state CLIENT_VERSION_3X\n\
         checkpoints stay as they are; until the migration state is written, workers of KCL 2.x may go on at any time\n",
        found.ended, found.without_range
    )
}

fn explain(error: &AdoptionError) -> Failure {
    let advice = match error {
        AdoptionError::Worker(WorkerError::ForeignFleet { .. }) => "do that first, then repeat it",
        AdoptionError::Worker(WorkerError::StreamNotFound { .. }) => "name the application's stream by --stream",
        _ => "repeat it; what was begun is completed",
    };
    Failure::new(chain(error), advice)
}
