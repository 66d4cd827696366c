use super::*;
use crate::model::Checkpoint;

fn lease(index: usize, owner: Option<&str>, throughput: f64) -> Candidate {
    let lease = Lease::unowned(format!("shardId-{index:012}").into(), Checkpoint::TrimHorizon);
    Candidate {
        lease: Lease { owner: owner.map(WorkerId::from), throughput_kbps: Some(throughput), ..lease },
        expired: false,
        handoff_overdue: false,
    }
}

fn leases(owner: &str, from: usize, count: usize, throughput: f64) -> impl Iterator<Item = Candidate> {
    (from..from + count).map(move |index| lease(index, Some(owner), throughput))
}

fn cpu(id: &str, recent: &[f64]) -> WorkerItem {
    let metric = Metric { recent: recent.to_vec(), limit: 100.0 };
    WorkerItem { metrics: BTreeMap::from([("C".to_owned(), metric)]), ..silent(id) }
}

/// A worker that reports no metrics.
fn silent(id: &str) -> WorkerItem {
    WorkerItem { last_update_seconds: 1, ..WorkerItem::new(id.into()) }
}

fn plan_all(candidates: &[Candidate], workers: &[WorkerItem]) -> Vec<Move> {
    plan(candidates, workers, usize::MAX, true)
}

fn targets(moves: &[Move]) -> BTreeMap<&str, usize> {
    let mut targets = BTreeMap::new();
    for planned in moves {
        *targets.entry(planned.to.as_str()).or_default() += 1;
    }
    targets
}

#[test]
fn an_unowned_lease_goes_to_the_least_busy_worker() {
    let candidates = [lease(0, None, 10.0), lease(1, Some("a"), 10.0), lease(2, Some("b"), 10.0)];

    let moves = plan_all(&candidates, &[cpu("a", &[60.0]), cpu("b", &[50.0])]);

    assert_eq!((moves.len(), moves[0].to.as_str(), moves[0].how), (1, "b", How::Assign));
}

#[test]
fn an_idle_fleet_of_three_and_more_spreads_its_leases_evenly() {
    let candidates: Vec<Candidate> = (0..9).map(|index| lease(index, None, 0.0)).collect();

    let reporting = [cpu("a", &[0.0]), cpu("b", &[0.0]), cpu("c", &[0.0])];
    assert_eq!(targets(&plan_all(&candidates, &reporting)), BTreeMap::from([("a", 3), ("b", 3), ("c", 3)]));
    let silent = [silent("a"), silent("b"), silent("c")];
    assert_eq!(targets(&plan_all(&candidates, &silent)), BTreeMap::from([("a", 3), ("b", 3), ("c", 3)]));
}

#[test]
fn moves_a_part_of_a_busy_workers_excess_and_nobody_above_the_average() {
    let candidates: Vec<Candidate> = leases("a", 0, 10, 10.0).chain(leases("b", 10, 10, 10.0)).collect();

    let moves = plan_all(&candidates, &[cpu("a", &[80.0]), cpu("b", &[40.0])]);

    // Excess of a: 100 KiB/s x 20/80 x 60 % = 15, so one lease of 10.
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].to.as_str(), moves[0].how), ("b", How::HandOff));
    assert_eq!(moves[0].lease.owner, Some("a".into()));
}

#[test]
fn small_differences_at_low_use_and_within_the_threshold_move_nothing() {
    let candidates: Vec<Candidate> = leases("a", 0, 5, 10.0).chain(leases("b", 5, 5, 10.0)).collect();

    assert_eq!(plan_all(&candidates, &[cpu("a", &[1.4]), cpu("b", &[0.6])]), []);
    assert_eq!(plan_all(&candidates, &[cpu("a", &[52.0]), cpu("b", &[48.0])]), []);
}

#[test]
fn moves_only_orphans_between_balancings() {
    let candidates: Vec<Candidate> = leases("a", 0, 10, 10.0).chain([lease(10, None, 10.0)]).collect();

    let moves = plan(&candidates, &[cpu("a", &[80.0]), cpu("b", &[10.0])], usize::MAX, false);

    assert_eq!(moves.len(), 1);
    assert_eq!(moves[0].how, How::Assign);
}

#[test]
fn gives_nothing_after_a_failed_newest_sample_and_forgives_old_failures() {
    let candidates = [lease(0, None, 10.0)];

    let failing = plan_all(&candidates, &[cpu("a", &[5.0, -1.0]), cpu("b", &[90.0])]);
    assert_eq!(targets(&failing), BTreeMap::from([("b", 1)]));
    let recovered = plan_all(&candidates, &[cpu("a", &[-1.0, 5.0]), cpu("b", &[90.0])]);
    assert_eq!(targets(&recovered), BTreeMap::from([("a", 1)]));
}

#[test]
fn the_only_lease_of_a_busy_worker_stays() {
    let candidates = [lease(0, Some("a"), 100.0)];

    assert_eq!(plan_all(&candidates, &[cpu("a", &[90.0]), cpu("b", &[0.0])]), []);
}

#[test]
fn moves_the_smallest_lease_if_none_fits_the_excess() {
    let candidates = [lease(0, Some("a"), 100.0), lease(1, Some("a"), 40.0), lease(2, Some("b"), 10.0)];

    let moves = plan_all(&candidates, &[cpu("a", &[60.0]), cpu("b", &[5.0])]);

    assert_eq!(moves.iter().map(|planned| planned.lease.throughput_kbps).collect::<Vec<_>>(), [Some(40.0)]);
}

#[test]
fn workers_without_metrics_are_compared_by_throughput() {
    let candidates: Vec<Candidate> = leases("a", 0, 8, 10.0).chain(leases("b", 8, 2, 10.0)).collect();

    let moves = plan_all(&candidates, &[silent("a"), silent("b")]);

    assert_eq!(targets(&moves), BTreeMap::from([("b", 1)]), "excess of a: 80 x 60/160 x 60 % = 18");
}

#[test]
fn keeps_each_workers_maximum_and_plans_nothing_without_workers() {
    let candidates: Vec<Candidate> = (0..5).map(|index| lease(index, None, 1.0)).collect();

    assert_eq!(plan(&candidates, &[cpu("a", &[1.0])], 2, true).len(), 2);
    assert_eq!(plan_all(&candidates, &[]), []);
}

#[test]
fn balancing_again_and_again_comes_to_rest() {
    // Use follows the leases: each costs 4 points.
    let mut candidates: Vec<Candidate> = leases("a", 0, 16, 10.0).chain(leases("b", 16, 2, 10.0)).collect();
    let mut rounds = 0;
    loop {
        let load = |id: &str| candidates.iter().filter(|c| c.lease.owner == Some(id.into())).count();
        #[expect(clippy::cast_precision_loss, reason = "a few leases")]
        let workers = ["a", "b", "c"].map(|id| cpu(id, &[load(id) as f64 * 4.0]));
        let moves = plan_all(&candidates, &workers);
        if moves.is_empty() {
            let loads = ["a", "b", "c"].map(load);
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 2, "{loads:?}");
            return;
        }
        for planned in &moves {
            let moved = candidates.iter_mut().find(|c| c.lease.key == planned.lease.key).unwrap();
            moved.lease.owner = Some(planned.to.clone());
        }
        rounds += 1;
        assert!(rounds < 50, "leases move for ever");
    }
}
