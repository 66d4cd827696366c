use kcl::{HashKey, HashKeyRange};

use super::*;
use crate::fleet::view::WorkerView;

fn lease(shard: &str, owner: Option<&str>) -> LeaseView {
    LeaseView { lag: Some(Lag::Millis(0)), ..LeaseView::unprocessed(shard, owner) }
}

fn fleet(leases: Vec<LeaseView>, age_seconds: u64) -> FleetView {
    let worker = WorkerView {
        id: "w".into(),
        age_seconds: Some(age_seconds),
        is_stale: age_seconds > 60,
        is_leaving: false,
        is_drained: false,
        leases: leases.len(),
        cpu_percent: None,
        language: None,
    };
    FleetView {
        application: "app".into(),
        layout: Layout::OneTable,
        leader: Some("w".into()),
        version: Some("CLIENT_VERSION_3X".into()),
        stream: None,
        by_heartbeat: false,
        workers: vec![worker],
        leases,
        unreadable: Vec::new(),
        usage: None,
    }
}

fn shard(id: &str, parents: &[&str]) -> Shard {
    Shard { id: id.into(), range: HashKeyRange::FULL, parents: parents.iter().map(|id| (*id).into()).collect() }
}

fn stream(shards: Vec<Shard>, open: &[&str]) -> StreamFacts {
    let open = open.iter().map(|id| (*id).to_owned()).collect();
    StreamFacts { retention: Duration::from_secs(86_400), consumers: Vec::new(), shards, open }
}

fn found(view: &FleetView, stream: Option<StreamFacts>) -> Vec<(Severity, String)> {
    let table = Some(TableFacts { has_index: true, write_units: None, is_protected: true });
    let evidence = Evidence { view, table, stream, denied: Vec::new(), clock_ahead_millis: Some(400) };
    findings(&evidence).into_iter().map(|finding| (finding.severity, finding.what)).collect()
}

#[test]
fn a_fleet_in_good_order_has_no_findings() {
    let view = fleet(vec![lease("s0", Some("w"))], 5);

    assert_eq!(found(&view, Some(stream(vec![shard("s0", &[])], &["s0"]))), []);
}

#[test]
fn dead_workers_and_their_leases_are_critical() {
    let found = found(&fleet(vec![lease("s0", Some("w"))], 600), None);

    assert_eq!(found[0], (Severity::Critical, "no worker is alive".to_owned()));
    assert!(found.contains(&(Severity::Critical, "1 lease of dead workers: s0".to_owned())), "{found:?}");
}

#[test]
fn data_that_expire_are_critical_and_say_when() {
    let late = LeaseView { lag: Some(Lag::Millis(78_600_000)), ..lease("s0", Some("w")) };

    let found = found(&fleet(vec![late], 5), Some(stream(vec![shard("s0", &[])], &["s0"])));

    assert_eq!(found, [(Severity::Critical, "data of s0 expire unread in 2 h 10 min".to_owned())]);
}

#[test]
fn an_open_shard_without_lease_is_a_hole_unless_an_ancestor_is_processed() {
    let lineage =
        || stream(vec![shard("s0", &[]), shard("s1", &["s0"]), shard("s2", &["s1"]), shard("s3", &[])], &["s2", "s3"]);

    let found = found(&fleet(vec![lease("s0", Some("w"))], 5), Some(lineage()));

    let hole = "open shard s3 has no lease, and no parent is being processed".to_owned();
    assert_eq!(found, [(Severity::Critical, hole)]);
}

#[test]
fn names_overlaps_orphans_clocks_and_narrow_tables() {
    let range = |start, end| Some(HashKeyRange { start: HashKey(start), end: HashKey(end) });
    let a = LeaseView { range: range(0, 60), ..lease("s0", Some("w")) };
    let b = LeaseView { range: range(50, 99), ..lease("s1", Some("w")) };
    let view = fleet(vec![a, b], 5);
    let table = Some(TableFacts { has_index: false, write_units: Some(0), is_protected: false });
    let stream = Some(stream(vec![shard("s0", &[])], &["s0"]));
    let denied = vec![("dynamodb:Query", "table app".to_owned())];

    let all = findings(&Evidence { view: &view, table, stream, denied, clock_ahead_millis: Some(-7_000) });

    let text: Vec<String> = all.iter().map(|it| it.what.clone()).collect();
    for expected in [
        "provisioned for 0 writes a second, and renewals alone take 1",
        "dynamodb:Query is denied",
        "clock is 7.0 s ahead of",
        "LeaseOwnerToLeaseKeyIndex is missing",
        "s0 and s1 share hash keys",
        "1 lease of shards that the stream has forgotten: s1",
        "not protected",
    ] {
        assert!(text.iter().any(|it| it.contains(expected)), "no {expected} in {text:?}");
    }
    assert_eq!(all[0].severity, Severity::Critical);
}

#[test]
fn a_fleet_by_heartbeats_writes_for_workers_and_not_for_leases() {
    let leases = (0..10).map(|n| lease(&format!("s{n}"), Some("w"))).collect();
    let mut view = fleet(leases, 5);
    let narrow = |view: &FleetView| {
        let table = Some(TableFacts { has_index: true, write_units: Some(2), is_protected: true });
        let evidence = Evidence { view, table, stream: None, denied: Vec::new(), clock_ahead_millis: None };
        findings(&evidence).iter().any(|it| it.what.contains("provisioned for 2 writes"))
    };

    assert!(narrow(&view));
    view.by_heartbeat = true;
    assert!(!narrow(&view));
}
