//! `kds release` and `kds drain`: moves leases away from their owners.

use clap::Args;
use kcl::{Fleet, FleetChange, WorkerId};
use serde::Serialize;

use crate::{
    aws::Aws,
    confirm::{Consent, confirm},
    failure::Failure,
    fleet::{
        read,
        view::{FleetView, LeaseView},
    },
    output, text,
};

/// Arguments of `kds release`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReleaseArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// The shard, or the key of its lease
    lease: String,
    /// Hand it over to this worker, after a checkpoint, rather than take it away
    #[arg(long, value_name = "WORKER")]
    to: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `kds drain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrainArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// The worker
    worker: String,
    /// Let it get leases again
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    consent: Consent,
    /// Print the moves as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Move {
    lease: String,
    to: String,
}

/// Releases a lease, or hands it over.
pub(crate) async fn release(aws: &Aws, arguments: ReleaseArguments) -> Result<(), Failure> {
    let ReleaseArguments { application, lease, to, consent } = arguments;
    let view = read::read(aws, &application).await?;
    let found = view.leases.iter().find(|it| it.key == lease || it.shard_id == lease);
    let Some(found) = found else {
        return Err(Failure::new(format!("{application} has no lease {lease}"), "kds fleet lists them"));
    };
    let Some(owner) = &found.owner else {
        return Err(Failure::new(format!("nobody owns lease {lease}"), "nothing is to be done"));
    };
    let plan = match &to {
        Some(to) if view.worker(to).is_none_or(|worker| worker.is_stale) => {
            return Err(Failure::new(format!("{to} is no living worker of {application}"), "kds fleet lists them"));
        }
        Some(to) => format!("hand {lease} over from {owner} to {to}, when its call has returned and is checkpointed\n"),
        None => format!(
            "take {lease} away from {owner}: what it has not checkpointed is processed again by the next owner\n"
        ),
    };
    confirm(&plan, consent.yes)?;
    let fleet = open(aws, &application).await?;
    let change = match &to {
        Some(to) => fleet.hand_over(&found.key, &WorkerId::from(to.as_str())).await,
        None => fleet.release(&found.key).await,
    };
    match change.map_err(|error| read::explain(aws, &error))? {
        FleetChange::Applied => output::print(false, &(), || match &to {
            Some(to) => format!("{lease} is being handed over to {to}\n"),
            None => format!("{lease} is released\n"),
        }),
        _ => Err(Failure::new(
            format!("lease {lease} was changed in the meantime, nothing was written"),
            "look and try again",
        )),
    }
}

/// Drains a worker, or lets it get leases again.
pub(crate) async fn drain(aws: &Aws, arguments: DrainArguments) -> Result<(), Failure> {
    let DrainArguments { application, worker, end, consent, json } = arguments;
    let view = read::read(aws, &application).await?;
    if view.worker(&worker).is_none_or(|found| found.age_seconds.is_none()) {
        return Err(Failure::new(format!("{application} has no worker {worker} that reports"), "kds fleet lists them"));
    }
    let id = WorkerId::from(worker.as_str());
    if end {
        confirm(&format!("let {worker} get leases again\n"), consent.yes)?;
        let change = open(aws, &application).await?.set_drained(&id, false).await;
        let _ = change.map_err(|error| read::explain(aws, &error))?; // a worker that is gone is let, too
        return output::print(json, &Vec::<Move>::new(), || format!("{worker} gets leases again\n"));
    }
    let moves = moves(&view, &worker)?;
    confirm(&plan(&view, &worker, &moves), consent.yes)?;
    let fleet = open(aws, &application).await?;
    if fleet.set_drained(&id, true).await.map_err(|error| read::explain(aws, &error))? != FleetChange::Applied {
        return Err(Failure::new(format!("worker {worker} has gone in the meantime"), "nothing is to be done"));
    }
    let mut done = Vec::new();
    for it in &moves {
        let change = fleet.hand_over(&it.lease, &WorkerId::from(it.to.as_str())).await;
        if change.map_err(|error| read::explain(aws, &error))? == FleetChange::Applied {
            done.push(it.clone());
        }
    }
    output::print(json, &done, || {
        let lines = done.iter().map(|it| format!("{} is being handed over to {}\n", it.lease, it.to));
        lines.chain([format!("{} of {} handovers have begun\n", done.len(), moves.len())]).collect()
    })
}

async fn open(aws: &Aws, application: &str) -> Result<Fleet, Failure> {
    Fleet::open(&aws.dynamodb(), application).await.map_err(|error| read::explain(aws, &error))
}

/// Each lease of the worker goes to the living worker that has the fewest then.
fn moves(view: &FleetView, worker: &str) -> Result<Vec<Move>, Failure> {
    let others = view
        .workers
        .iter()
        .filter(|it| it.id != worker && it.is_alive() && !it.is_leaving && !it.is_drained && it.age_seconds.is_some());
    let mut loads: Vec<(usize, &str)> = others.map(|it| (it.leases, it.id.as_str())).collect();
    let mut moves = Vec::new();
    let is_its =
        |lease: &&LeaseView| lease.owner.as_deref() == Some(worker) && lease.next_owner.is_none() && !lease.is_ended();
    for lease in view.leases.iter().filter(is_its) {
        let Some(least) = loads.iter_mut().min() else {
            return Err(Failure::new(
                format!("no other worker of {} lives", view.application),
                "start one, then drain",
            ));
        };
        least.0 += 1;
        moves.push(Move { lease: lease.key.clone(), to: least.1.to_owned() });
    }
    Ok(moves)
}

fn plan(view: &FleetView, worker: &str, moves: &[Move]) -> String {
    let leases = text::counted(moves.len() as u64, "lease");
    let is_led_by_java =
        view.leader.as_deref().and_then(|leader| view.worker(leader)).is_none_or(|it| it.language != Some("rust"));
    let after = if is_led_by_java {
        "its leader is a Java worker, or unknown, which may give it leases again: this is a single move".to_owned()
    } else {
        format!(
            "it gets no leases until kds drain {} {worker} --end, or a new start under another id",
            view.application
        )
    };
    format!("drain {worker}: hand {leases} over to other workers\n{after}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::{Layout, WorkerView};

    fn worker(id: &str, leases: usize, is_stale: bool) -> WorkerView {
        let language = Some("rust");
        WorkerView {
            id: id.into(),
            age_seconds: Some(1),
            is_stale,
            is_leaving: false,
            is_drained: false,
            leases,
            cpu_percent: None,
            language,
        }
    }

    fn lease(shard: &str, owner: &str) -> LeaseView {
        LeaseView::unprocessed(shard, Some(owner))
    }

    fn fleet(workers: Vec<WorkerView>, leases: Vec<LeaseView>) -> FleetView {
        FleetView {
            application: "app".into(),
            layout: Layout::OneTable,
            leader: Some("a".into()),
            version: None,
            stream: None,
            by_heartbeat: false,
            workers,
            leases,
            unreadable: Vec::new(),
            usage: None,
        }
    }

    #[test]
    fn leases_go_to_the_living_workers_with_the_fewest() {
        let workers =
            vec![worker("a", 3, false), worker("b", 0, false), worker("c", 1, false), worker("dead", 0, true)];
        let view = fleet(workers, vec![lease("s0", "a"), lease("s1", "a"), lease("s2", "b"), lease("s3", "a")]);

        let moves: Vec<(String, String)> = moves(&view, "a").unwrap().into_iter().map(|it| (it.lease, it.to)).collect();

        let expected = [("s0", "b"), ("s1", "b"), ("s3", "c")].map(|(lease, to)| (lease.to_owned(), to.to_owned()));
        assert_eq!(moves, expected);
    }

    #[test]
    fn a_single_worker_cannot_be_drained() {
        let view = fleet(vec![worker("a", 1, false)], vec![lease("s0", "a")]);

        assert!(moves(&view, "a").unwrap_err().to_string().contains("no other worker of app lives"));
    }
}
