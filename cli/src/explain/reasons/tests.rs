use super::*;
use crate::fleet::view::{Layout, WorkerView};

fn lease(shard: &str, owner: Option<&str>, counter: u64) -> LeaseView {
    LeaseView { counter, ..LeaseView::unprocessed(shard, owner) }
}

fn fleet(leases: Vec<LeaseView>, age_seconds: u64) -> FleetView {
    let worker = WorkerView {
        id: "w".into(),
        age_seconds: Some(age_seconds),
        is_stale: age_seconds > 60,
        is_leaving: false,
        is_drained: false,
        leases: 1,
        cpu_percent: None,
        language: None,
    };
    FleetView {
        application: "app".into(),
        layout: Layout::OneTable,
        leader: Some("w".into()),
        version: None,
        stream: None,
        by_heartbeat: false,
        workers: vec![worker],
        leases,
        unreadable: Vec::new(),
        usage: None,
    }
}

fn explain(before: &FleetView, now: &FleetView, shard: &str, stream: StreamEvidence) -> String {
    explain_within(Duration::from_secs(12), before, now, shard, stream)
}

fn explain_within(
    watched: Duration,
    before: &FleetView,
    now: &FleetView,
    shard: &str,
    stream: StreamEvidence,
) -> String {
    let evidence = Evidence { before, now, watched, shard, stream };
    reasons(&evidence).iter().map(|it| format!("{} ({})\n", it.sentence, it.evidence)).collect()
}

fn listed(parents: &[&str]) -> StreamEvidence {
    let parents = parents.iter().map(|id| (*id).to_owned()).collect();
    StreamEvidence { is_listed: Some(true), parents, retention: Some(Duration::from_secs(86_400)) }
}

#[test]
fn names_a_dead_owner_with_the_time_since_it_reported() {
    let view = fleet(vec![lease("s", Some("w"), 7)], 600);

    let text = explain(&view, &view, "s", listed(&[]));

    assert!(
        text.starts_with(
            "its owner w is dead (its last report was 10 min ago, the lease was not written within 12.0 s)"
        ),
        "{text}"
    );
    assert!(text.contains("the leader w is dead"), "{text}");
}

#[test]
fn an_owner_watched_for_less_than_a_renewal_takes_is_not_judged_by_it() {
    let second = Duration::from_secs(1);
    let lively = fleet(vec![lease("s", Some("w"), 7)], 5);
    let text = explain_within(second, &lively, &lively, "s", listed(&[]));
    assert_eq!(text, "nothing hinders w that can be seen from outside (watched for 1.0 s)\n");

    let silent = fleet(vec![lease("s", Some("w"), 7)], 600);
    let text = explain_within(second, &silent, &silent, "s", listed(&[]));
    assert!(
        text.starts_with(
            "its owner w is dead, or lives and cannot report (its last report was 10 min ago; the lease was watched for 1.0 s, \
            and a living owner may take 5.0 s to renew it)\n"
        ),
        "{text}"
    );
}

#[test]
fn names_the_ancestor_that_is_in_the_way() {
    let child = LeaseView { parents: vec!["s0".into()], ..lease("s1", None, 0) };
    let grandchild = LeaseView { parents: vec!["s1".into()], ..lease("s2", None, 0) };
    let view = fleet(vec![lease("s0", None, 0), child, grandchild], 5);

    let text = explain(&view, &view, "s2", listed(&[]));

    assert!(text.starts_with("it waits until its ancestor s0 is processed"), "{text}");
    assert!(text.contains("no worker owns it"), "{text}");
}

#[test]
fn tells_a_hanging_processor_from_a_tip_and_from_progress() {
    let with = |counter, lag, position: Checkpoint| {
        let lag = Some(Lag::Millis(lag));
        fleet(vec![LeaseView { lag, checkpoint: position.to_string(), position, ..lease("s", Some("w"), counter) }], 5)
    };
    let before = with(1, 0, Checkpoint::TrimHorizon);

    let hangs = explain(&before, &with(2, 600_000, Checkpoint::TrimHorizon), "s", listed(&[]));
    assert!(hangs.contains("does not checkpoint: its processor hangs") && hangs.contains("10 min old"), "{hangs}");
    let tip = explain(&before, &with(2, 100, Checkpoint::TrimHorizon), "s", listed(&[]));
    assert!(tip.starts_with("it is at the tip"), "{tip}");
    let young = explain(&before, &with(2, 5_300, Checkpoint::TrimHorizon), "s", listed(&[]));
    assert!(young.starts_with("w is 5.3 s behind, which is too young to be judged"), "{young}");
    let follows = explain(&before, &with(2, 5_300, Checkpoint::Latest), "s", listed(&[]));
    assert!(follows.starts_with("w makes progress and is 5.3 s behind"), "{follows}");
    let moves = explain(&before, &with(2, 600_000, Checkpoint::Latest), "s", listed(&[]));
    assert!(moves.starts_with("w makes progress and is 10 min behind"), "{moves}");
    let expires = explain(&before, &with(2, 85_000_000, Checkpoint::TrimHorizon), "s", listed(&[]));
    assert!(expires.starts_with("its data expire unread in 23 min 20 s"), "{expires}");
    let unrenewed = explain(&before, &with(1, 600_000, Checkpoint::TrimHorizon), "s", listed(&[]));
    assert!(unrenewed.starts_with("its owner w does not renew the lease"), "{unrenewed}");
}

#[test]
fn a_new_owner_is_not_judged_yet() {
    let (before, now) = (fleet(vec![lease("s", Some("old"), 1)], 5), fleet(vec![lease("s", Some("w"), 2)], 5));

    let text = explain(&before, &now, "s", listed(&[]));

    assert_eq!(text, "w has taken it from old a moment ago (the owner changed within 12.0 s: look again)\n");
}

#[test]
fn a_shard_without_a_lease_is_a_hole_or_waits_for_its_parent() {
    let view = fleet(vec![lease("s0", Some("w"), 1)], 5);

    let child = explain(&view, &view, "s1", listed(&["s0"]));
    assert!(child.starts_with("it has no lease yet: that is created when its parent s0"), "{child}");
    let hole = explain(&view, &view, "s1", listed(&[]));
    assert!(hole.contains("a hole"), "{hole}");
    let unknown = explain(&view, &view, "s9", StreamEvidence { is_listed: Some(false), ..StreamEvidence::default() });
    assert!(unknown.starts_with("there is no s9"), "{unknown}");
}
