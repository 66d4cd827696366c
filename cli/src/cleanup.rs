//! `kds cleanup`: deletes what a fleet has left behind: items of dead workers, leases of ended shards and of former streams.

mod former;

use std::{collections::HashSet, time::Duration};

use clap::Args;
use kcl::{Checkpoint, Fleet, FleetChange, WorkerId};
use serde::Serialize;

use self::former::Former;
use crate::{
    aws::{Aws, stream_name::StreamName},
    confirm::{Consent, confirm},
    failure::Failure,
    fleet::{
        read,
        view::{FleetView, LeaseView, WorkerView},
    },
    output,
    reading::shards,
    text,
};

/// Time since its report after which a worker does not come back: several times what any leader allows.
const GONE_SECONDS: u64 = 600;

/// Arguments of `kds cleanup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CleanupArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Stream of the application [default: as workers of kcl note it]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// A stream that is no longer read; those that do not exist any more are known
    #[arg(long, value_name = "NAME")]
    former: Vec<String>,
    #[command(flatten)]
    consent: Consent,
    /// Print what was deleted as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Waste {
    /// Ids, with the ages of the last reports in seconds.
    workers: Vec<(String, u64)>,
    /// Keys of leases at SHARD_END.
    leases: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    former: Vec<FormerLease>,
}

/// A lease of a stream that is no longer read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct FormerLease {
    key: String,
    #[serde(skip)]
    counter: u64,
    reason: String,
}

/// Shows a plan, asks, and deletes; each item only if it is as it was.
pub(crate) async fn run(aws: &Aws, arguments: CleanupArguments) -> Result<(), Failure> {
    let CleanupArguments { application, stream, former, consent, json } = arguments;
    let view = read::read(aws, &application).await?;
    let listed = match read::stream_of(&view, stream) {
        Some(stream) if view.leases.iter().all(|lease| lease.stream.is_none()) => {
            let shards = shards::all_shards(aws, &stream).await?;
            Some(shards.into_iter().map(|shard| shard.shard_id).collect())
        }
        _ => None,
    };
    let former = former::former(aws, &view, &former).await?;
    let waste = waste(&view, listed.as_ref(), &former);
    if waste == Waste::default() {
        return output::print(json, &waste, || format!("nothing of {application} is to be deleted\n"));
    }
    confirm(&plan(&waste), consent.yes)?;
    let explain = |error| read::explain(aws, &error);
    let fleet = Fleet::open(&aws.dynamodb(), &application).await.map_err(explain)?;
    let now = aws.clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let status = kcl::FleetStatus::read_by(&aws.dynamodb(), &application).await.map_err(explain)?;
    let mut deleted = Waste::default();
    for (id, age) in waste.workers {
        let worker = status.workers.iter().find(|worker| worker.id.as_str() == id);
        let Some(seconds) = worker.map(|worker| worker.last_report_seconds) else { continue };
        let is_gone = now.saturating_sub(seconds) >= GONE_SECONDS;
        if is_gone
            && fleet.forget_worker(&WorkerId::from(id.as_str()), seconds).await.map_err(explain)?
                == FleetChange::Applied
        {
            deleted.workers.push((id, age));
        }
    }
    for key in waste.leases {
        if fleet.delete_ended(&key).await.map_err(explain)? == FleetChange::Applied {
            deleted.leases.push(key);
        }
    }
    for lease in waste.former {
        if fleet.delete_unwritten(&lease.key, lease.counter).await.map_err(explain)? == FleetChange::Applied {
            deleted.former.push(lease);
        }
    }
    let leases = deleted.leases.len() + deleted.former.len();
    let (workers, leases) = (deleted.workers.len() as u64, leases as u64);
    output::print(json, &deleted, || {
        format!("deleted {} and {}\n", text::counted(workers, "worker"), text::counted(leases, "lease"))
    })
}

/// Items that may be deleted. `listed`: the shards of the application's only stream, if that is known. Leases of former streams are
/// kept while a living worker owns them.
///
/// As a leader, it keeps the lease of an ended shard until all its children have made progress, since they wait for it, and until
/// the leases of its own parents are gone.
fn waste(view: &FleetView, listed: Option<&HashSet<String>>, former: &Former) -> Waste {
    let workers = view.workers.iter().filter(|worker| worker.leases == 0 && worker.is_stale);
    let workers = workers.filter_map(|worker| Some((worker.id.clone(), worker.age_seconds?)));
    let mut leases: Vec<String> = Vec::new();
    let find = |of: &LeaseView, id: &str| view.leases.iter().find(|it| it.stream == of.stream && it.shard_id == id);
    let mut ended: Vec<&LeaseView> = view.leases.iter().filter(|lease| lease.is_ended()).collect();
    // Parents have smaller ids than their children.
    ended.sort_by(|a, b| a.key.cmp(&b.key));
    for lease in ended {
        let has_begun = |child: &LeaseView| matches!(child.position, Checkpoint::At(_) | Checkpoint::ShardEnd);
        let are_children_on =
            !lease.children.is_empty() && lease.children.iter().all(|id| find(lease, id).is_some_and(has_begun));
        let is_forgotten = listed.is_some_and(|listed| !listed.contains(&lease.shard_id));
        let are_parents_gone =
            lease.parents.iter().all(|id| find(lease, id).is_none_or(|parent| leases.contains(&parent.key)));
        if (are_children_on || is_forgotten) && are_parents_gone {
            leases.push(lease.key.clone());
        }
    }
    let is_owned = |lease: &LeaseView| {
        lease.owner.as_deref().and_then(|owner| view.worker(owner)).is_some_and(WorkerView::is_alive)
    };
    let of_former = view.leases.iter().filter(|lease| !is_owned(lease) && !leases.contains(&lease.key));
    let of_former = of_former.filter_map(|lease| {
        let stream = lease.stream_id.as_ref()?;
        let reason = format!("stream {} {}", stream.name(), former.get(stream)?);
        Some(FormerLease { key: lease.key.clone(), counter: lease.counter, reason })
    });
    let former = of_former.collect();
    Waste { workers: workers.filter(|(_, age)| *age >= GONE_SECONDS).collect(), leases, former }
}

fn plan(waste: &Waste) -> String {
    let workers = waste.workers.iter().map(|(id, age)| {
        format!(
            "delete worker {id}, which reported {} ago and has no leases\n",
            text::duration(Duration::from_secs(*age))
        )
    });
    workers
        .chain(waste.leases.iter().map(|key| format!("delete lease {key}, which is processed to its end\n")))
        .chain(waste.former.iter().map(|lease| format!("delete lease {}, whose {}\n", lease.key, lease.reason)))
        .collect()
}

#[cfg(test)]
mod tests {
    use kcl::StreamId;

    use super::*;
    use crate::fleet::view::Layout;

    fn lease(shard: &str, position: Checkpoint, parents: &[&str], children: &[&str]) -> LeaseView {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        LeaseView {
            checkpoint: position.to_string(),
            position,
            parents: ids(parents),
            children: ids(children),
            ..LeaseView::unprocessed(shard, None)
        }
    }

    fn fleet(workers: Vec<WorkerView>, leases: Vec<LeaseView>) -> FleetView {
        FleetView {
            application: "app".into(),
            layout: Layout::OneTable,
            leader: None,
            version: None,
            stream: None,
            by_heartbeat: false,
            workers,
            leases,
            unreadable: Vec::new(),
            usage: None,
        }
    }

    fn worker(id: &str, age: u64, leases: usize) -> WorkerView {
        let (age_seconds, is_stale) = (Some(age), age > 60);
        WorkerView {
            id: id.into(),
            age_seconds,
            is_stale,
            is_leaving: false,
            is_drained: false,
            leases,
            cpu_percent: None,
            language: None,
        }
    }

    #[test]
    fn keeps_an_ended_lease_until_its_children_have_begun() {
        use Checkpoint::{ShardEnd, TrimHorizon};
        let with = |child: Checkpoint| {
            fleet(vec![], vec![lease("s0", ShardEnd, &[], &["s1"]), lease("s1", child, &["s0"], &[])])
        };

        assert!(waste(&with(TrimHorizon), None, &Former::new()).leases.is_empty());
        assert_eq!(waste(&with(ShardEnd), None, &Former::new()).leases, ["s0"]);
        let forgotten = HashSet::from(["s1".to_owned()]);
        assert_eq!(waste(&with(TrimHorizon), Some(&forgotten), &Former::new()).leases, ["s0"]);
    }

    #[test]
    fn forgets_only_workers_that_are_long_gone_and_own_nothing() {
        let view = fleet(vec![worker("gone", 700, 0), worker("owner", 700, 1), worker("late", 100, 0)], vec![]);

        assert_eq!(waste(&view, None, &Former::new()).workers, [("gone".to_owned(), 700)]);
    }

    #[test]
    fn keeps_leases_of_former_streams_that_a_living_worker_owns() {
        let id = StreamId::from("123456789012:gone:1700000000");
        let of = |key: &str, owner: Option<&str>| LeaseView {
            key: key.to_owned(),
            stream_id: Some(id.clone()),
            owner: owner.map(str::to_owned),
            ..lease("shardId-0", Checkpoint::TrimHorizon, &[], &[])
        };
        let leases = vec![of("a", None), of("b", Some("alive")), of("c", Some("dead"))];
        let view = fleet(vec![worker("alive", 5, 1), worker("dead", 700, 1)], leases);
        let former = Former::from([(id.clone(), "does not exist any more".to_owned())]);

        let waste = waste(&view, None, &former);

        let keys: Vec<&str> = waste.former.iter().map(|lease| lease.key.as_str()).collect();
        assert_eq!(keys, ["a", "c"]);
        assert!(plan(&waste).contains("delete lease a, whose stream gone does not exist any more\n"));
    }
}
