//! Fleets that live by heartbeats, under virtual time, on a lease table in memory. Their processors never checkpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_types::{SdkConfig, sdk_config::TimeSource};
use tokio::time::{Instant, sleep};

use super::simulation::Fleet;
use crate::{
    event::Event,
    model::{Checkpoint, CheckpointWrite, Lease, LockItem, Mark, Regime, Renewals, WorkerItem},
    table::LeaseTable,
};

const SECOND: Duration = Duration::from_secs(1);
/// Lease duration of the workers.
const LEASE: Duration = Duration::from_secs(10);
/// Time to a turn of a fleet at its start: a lease duration to be sure of the past, one of marks, and cycles between.
const TURN: Duration = Duration::from_secs(60);
/// Renewal interval, as of single renewals, and the looks of leader and discovery.
const NOTICE: Duration = Duration::from_secs(6);

async fn regime(fleet: &Fleet) -> Option<Regime> {
    fleet.table.get_lock().await.unwrap().map(|lock| lock.regime)
}

async fn until_regime(fleet: &Fleet, wanted: Regime, within: Duration) {
    let begun = Instant::now();
    while regime(fleet).await != Some(wanted) {
        assert!(begun.elapsed() < within, "not {wanted:?} within {within:?}: {:?}", regime(fleet).await);
        sleep(SECOND / 10).await;
    }
}

/// A fleet at balance that lives by heartbeats.
async fn fleet(leases: u32, workers: usize) -> Fleet {
    let mut fleet = Fleet::new(leases);
    fleet.start_renewing(Renewals::Automatic, 0..workers);
    settle(&fleet).await;
    fleet
}

async fn settle(fleet: &Fleet) {
    fleet.balanced(TURN).await;
    until_regime(fleet, Regime::Heartbeats, TURN).await;
    sleep(2 * LEASE).await;
    fleet.happened();
}

async fn counters(fleet: &Fleet) -> Vec<u64> {
    fleet.leases().await.iter().map(|lease| lease.counter).collect()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_fleet_writes_a_hundredth_of_what_it_writes_lease_by_lease() {
    let mut singly = Fleet::new(1_000);
    singly.start(0..4);
    singly.balanced(TURN).await;
    let by_heartbeat = fleet(1_000, 4).await;
    let mut writes = Vec::new();
    for fleet in [&singly, &by_heartbeat] {
        let before = fleet.table.writes();
        sleep(120 * SECOND).await;
        writes.push(fleet.table.writes() - before);
    }

    // Two fleets ran in each of the two times, at the pace of a fleet each.
    println!("1,000 leases, 4 workers, in 2 minutes: {} writes lease by lease, {} by heartbeats", writes[0], writes[1]);
    assert!(writes[1] * 100 <= writes[0], "{writes:?}");
    assert!(by_heartbeat.happened().is_empty(), "nothing happens in a quiet fleet");
}

#[tokio::test(start_paused = true)]
async fn leases_stay_where_they_are_while_their_counters_stand_still() {
    let fleet = fleet(20, 2).await;
    let (owners, before) = (fleet.leases().await, counters(&fleet).await);

    sleep(3_600 * SECOND).await;

    assert_eq!(counters(&fleet).await, before);
    assert_eq!(fleet.leases().await, owners);
    assert!(!fleet.happened().iter().any(|event| matches!(event, Event::LeaseLost { .. } | Event::HeartbeatRefused)));
}

#[tokio::test(start_paused = true)]
async fn takes_the_leases_of_a_dead_worker_after_a_fence() {
    for leader_dies in [false, true] {
        let mut fleet = fleet(30, 3).await;
        let leader = fleet.table.get_lock().await.unwrap().expect("somebody leads").owner;
        let dead =
            (0..3).map(|number| format!("worker-{number:03}")).find(|id| (*id == *leader.as_str()) == leader_dies);
        let dead = dead.expect("there are three");

        fleet.kill(&dead);
        let took = fleet.balanced(LEASE * 3 / 2).await;

        println!("leader dies: {leader_dies}, balanced after {took:?}");
        let fenced = |event: &Event| matches!(event, Event::WorkerFenced { worker_id } if *worker_id.as_str() == *dead);
        assert!(fleet.happened().iter().any(fenced), "{dead} is fenced");
        assert_eq!(regime(&fleet).await, Some(Regime::Heartbeats), "the fleet lives on by heartbeats");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_to_a_worker_that_died_too_is_given_on_once_it_is_fenced() {
    let mut fleet = fleet(90, 9).await;
    let leader = fleet.table.get_lock().await.unwrap().expect("somebody leads").owner;
    let others = (0..9).map(|number| format!("worker-{number:03}")).filter(|id| **id != *leader.as_str());

    // Its heir has seen the leader's silence for longer than that of the other two.
    for dead in others.take(2).chain([leader.to_string()]) {
        fleet.kill(&dead);
    }
    let took = fleet.balanced(LEASE * 9 / 5).await;

    println!("balanced after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn reports_the_fence_of_a_worker_once_though_its_leases_expire_one_by_one() {
    let mut fleet = fleet(6, 3).await;
    let leader = leader(&fleet).await;
    let dead = if leader == "worker-000" { "worker-001" } else { "worker-000" };
    let table: LeaseTable = fleet.table.clone().into();
    fleet.kill(dead);

    // As a checkpoint on its way does.
    sleep(4 * SECOND).await;
    let lease = fleet.leases().await.into_iter().find(|lease| lease.owner == Some(dead.into())).expect("it has two");
    assert!(table.renew(&lease).await.unwrap().is_applied());
    fleet.balanced(2 * LEASE).await;

    let fences = fleet.happened().iter().filter(|event| matches!(event, Event::WorkerFenced { .. })).count();
    assert_eq!(fences, 1);
}

#[tokio::test(start_paused = true)]
async fn fleets_that_live_by_heartbeats_end_up_balanced_whoever_comes_and_dies() {
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fleet = Fleet::new(random.u32(1..40));
        let mut kinds = [Renewals::Automatic, Renewals::Automatic, Renewals::EachLease].into_iter().cycle();
        let start = |fleet: &mut Fleet, workers| {
            let kind = if seed % 2 == 0 { Renewals::Automatic } else { kinds.next().expect("a cycle") };
            fleet.start_renewing(kind, workers);
        };
        let next = fleet.come_and_die(&mut random, Duration::from_secs(60), start).await;
        fleet.start_renewing(Renewals::Automatic, next..next + 1);
        // A lock that names two minutes is waited for by those who do not know of heartbeats.
        fleet.balanced(Duration::from_secs(300)).await;
    }
}

fn shard() -> Lease {
    Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon)
}

async fn lost_within(fleet: &Fleet, patience: Duration) -> Vec<Event> {
    let begun = Instant::now();
    let mut happened = Vec::new();
    loop {
        happened.extend(fleet.happened());
        let ends = |event: &Event| matches!(event, Event::LeaseLost { shard } | Event::LeaseReleased { shard } if shard.shard_id.as_str().ends_with("000"));
        if happened.iter().any(ends) {
            return happened;
        }
        assert!(begun.elapsed() < patience, "nobody noticed: {happened:?}");
        sleep(SECOND / 10).await;
    }
}

/// Takes a lease from its owner and gives it back, before the owner can look.
async fn regain(table: &LeaseTable, lease: &Lease) {
    assert!(table.release(lease).await.unwrap().is_applied());
    let released = table.get(&lease.key).await.unwrap().expect("lease exists");
    let owner = lease.owner.clone().expect("it is owned");
    assert!(table.assign(&released, &owner).await.unwrap().is_applied());
}

#[tokio::test(start_paused = true)]
async fn an_owner_notices_whatever_others_do_to_its_lease() {
    for what in ["handed over", "lost", "reset", "released", "deleted", "lost and regained"] {
        let fleet = fleet(2, 1).await;
        let table: LeaseTable = fleet.table.clone().into();
        let lease = table.get(&shard().key).await.unwrap().expect("lease exists");
        let other = "other".into();

        match what {
            "handed over" => assert!(table.begin_handoff(&lease, &other).await.unwrap().is_applied()),
            "lost" => assert!(table.assign(&lease, &other).await.unwrap().is_applied()),
            "reset" => {
                let write =
                    CheckpointWrite::Reset { checkpoint: Checkpoint::TrimHorizon, children: Vec::new(), epoch: 1 };
                assert!(table.checkpoint(&lease, &write).await.unwrap().is_applied());
            }
            "released" => assert!(table.release(&lease).await.unwrap().is_applied()),
            "deleted" => table.delete(&lease.key).await.unwrap(),
            _ => {
                regain(&table, &lease).await;
                // As the leader does that assigned it.
                let item = table.get_worker(&"worker-000".into()).await.unwrap().expect("it reports");
                assert!(table.mark_worker(&item, Mark::Look).await.unwrap());
            }
        }

        let happened = lost_within(&fleet, NOTICE).await;
        println!("{what}: {happened:?}");
        assert!(!happened.contains(&Event::HeartbeatRefused), "{what}: only this lease");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_a_heartbeat_without_answer_has_removed_is_looked_at() {
    let fleet = fleet(2, 1).await;
    let table: LeaseTable = fleet.table.clone().into();
    let lease = table.get(&shard().key).await.unwrap().expect("lease exists");
    regain(&table, &lease).await;

    // As the heartbeat leaves it.
    let item = table.get_worker(&"worker-000".into()).await.unwrap().expect("it reports");
    let beaten = WorkerItem { beat: item.beat.map(|beat| beat + 1), ..item };
    assert!(table.put_worker(&beaten).await.unwrap().is_some());

    let happened = lost_within(&fleet, NOTICE).await;
    assert!(!happened.contains(&Event::HeartbeatRefused));
}

#[tokio::test(start_paused = true)]
async fn a_lease_changed_and_changed_back_without_a_mark_is_found_within_a_minute() {
    let fleet = fleet(2, 1).await;
    let table: LeaseTable = fleet.table.clone().into();
    let lease = table.get(&shard().key).await.unwrap().expect("lease exists");
    regain(&table, &lease).await;

    lost_within(&fleet, 70 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_heartbeat_drops_every_lease_and_takes_again_what_still_names_the_worker() {
    let fleet = fleet(10, 1).await;
    let table: LeaseTable = fleet.table.clone().into();
    let item = table.get_worker(&"worker-000".into()).await.unwrap().expect("it reports");

    assert!(table.mark_worker(&item, Mark::Fenced).await.unwrap());
    sleep(NOTICE).await;

    let happened = fleet.happened();
    let count = |wanted: fn(&Event) -> bool| happened.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| *event == Event::HeartbeatRefused), 1);
    assert_eq!(count(|event| matches!(event, Event::LeaseLost { .. })), 10);
    assert_eq!(count(|event| matches!(event, Event::LeaseTaken { .. })), 10);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_worker_item_drops_every_lease_and_is_written_again() {
    let fleet = fleet(3, 1).await;
    let table: LeaseTable = fleet.table.clone().into();
    let item = table.get_worker(&"worker-000".into()).await.unwrap().expect("it reports");

    assert!(table.delete_worker(&item).await.unwrap());
    sleep(NOTICE).await;

    assert!(table.get_worker(&"worker-000".into()).await.unwrap().is_some());
    assert_eq!(fleet.happened().iter().filter(|event| matches!(event, Event::LeaseLost { .. })).count(), 3);
    assert_eq!(fleet.balance().await, Some((3, 3)));
}

/// Wall clock that runs on while the runtime stands still.
#[derive(Debug, Clone)]
struct Wall {
    began: Instant,
    suspended_seconds: Arc<AtomicU64>,
}

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        let suspended = Duration::from_secs(self.suspended_seconds.load(Ordering::SeqCst));
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.began.elapsed() + suspended
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_suspended_drops_every_lease_by_itself() {
    let wall = Wall { began: Instant::now(), suspended_seconds: Arc::default() };
    let aws = SdkConfig::builder().time_source(wall.clone()).build();
    let mut fleet = Fleet::of(aws, 5);
    fleet.start_renewing(Renewals::Automatic, 0..1);
    settle(&fleet).await;
    wall.suspended_seconds.store(2, Ordering::SeqCst);
    sleep(NOTICE).await;
    assert!(fleet.happened().is_empty(), "for less than a lease lives");

    wall.suspended_seconds.store(30, Ordering::SeqCst);
    sleep(SECOND + SECOND / 10).await;

    let happened = fleet.happened();
    assert_eq!(happened.iter().filter(|event| matches!(event, Event::LeaseLost { .. })).count(), 5);
    assert_eq!(happened.iter().filter(|event| **event == Event::WorkerSuspended).count(), 1);
    sleep(NOTICE).await;
    assert_eq!(fleet.balance().await, Some((5, 5)), "taken again, as nobody had them");
}

#[tokio::test(start_paused = true)]
async fn turns_back_when_an_unmarked_worker_joins_and_again_an_hour_after_it_died() {
    let mut fleet = fleet(30, 2).await;

    fleet.start_renewing(Renewals::EachLease, 2..3);
    until_regime(&fleet, Regime::TurningBack, 5 * SECOND).await;
    until_regime(&fleet, Regime::EachLease, TURN).await;
    fleet.balanced(TURN).await;
    let before = counters(&fleet).await;
    sleep(5 * SECOND).await;
    let still = counters(&fleet).await.iter().zip(&before).filter(|(now, before)| now == before).count();
    assert_eq!(still, 0, "each lease is renewed");

    fleet.kill("worker-002");
    fleet.balanced(TURN).await;
    sleep(3_500 * SECOND).await;
    assert_eq!(regime(&fleet).await, Some(Regime::EachLease));
    until_regime(&fleet, Regime::Heartbeats, 200 * SECOND).await;
    let happened = fleet.happened();
    assert!(!happened.contains(&Event::HeartbeatRefused));
    let changes = happened.iter().filter_map(|event| match event {
        Event::RenewalsChanged { by_heartbeat } => Some(*by_heartbeat),
        _ => None,
    });
    assert_eq!(changes.collect::<Vec<_>>(), [false, true], "each turn is reported once");
}

#[tokio::test(start_paused = true)]
async fn turning_back_takes_no_lease_where_the_table_takes_single_renewals_at_all() {
    let mut fleet = Fleet::new(1_000);
    // 1,000 leases take 290 writes a second; ten times as many take ten times as many.
    fleet.table = fleet.table.limited(400);
    fleet.start_renewing(Renewals::Automatic, 0..4);
    settle(&fleet).await;

    fleet.start_renewing(Renewals::EachLease, 4..5);
    until_regime(&fleet, Regime::EachLease, 2 * TURN).await;

    let lost = |event: &Event| matches!(event, Event::LeaseLost { .. } | Event::WorkerFenced { .. });
    assert!(!fleet.happened().iter().any(lost), "no lease is taken from the living");
}

/// Leases that Java's leader finds expired in two scans of the table: leases whose counter did not move for a lease duration.
async fn expired_for_java(fleet: &Fleet) -> Vec<Lease> {
    let before = fleet.leases().await;
    sleep(LEASE).await;
    let now = fleet.leases().await;
    let still = now.into_iter().zip(before).filter(|(now, before)| now.counter == before.counter).map(|(now, _)| now);
    // A leader of ours may have given it some, before it saw that it leads no more.
    still.filter(|lease| lease.actual_owner() != Some(&"java".into())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_leader_of_java_that_finds_no_lock_finds_no_lease_expired() {
    // Of the many the leader's scans are no looks at the lock.
    for leases in [1_000, 30] {
        lead_by_java(fleet(leases, 3).await).await;
    }
}

/// Java takes the lock, looks at all leases, and dies.
async fn lead_by_java(fleet: Fleet) {
    let table: LeaseTable = fleet.table.clone().into();
    let ours = table.get_lock().await.unwrap().expect("somebody leads");
    let java = |version: &str| LockItem {
        bulletin: None,
        owner: "java".into(),
        version: version.to_owned(),
        duration: Duration::from_secs(120),
        released: false,
        regime: Regime::EachLease,
    };

    // A person deletes the lock, and a worker of Java is the first to come.
    assert!(table.put_lock(&java("1"), Some(&ours)).await.unwrap());
    let item = WorkerItem { last_update_seconds: 1_700_001_000, ..WorkerItem::new("java".into()) };
    assert_eq!(table.put_worker(&item).await.unwrap(), None);

    for beat in 2..6 {
        assert_eq!(expired_for_java(&fleet).await, [], "in look {beat}");
        let held = table.get_lock().await.unwrap().expect("java leads");
        assert!(table.put_lock(&java(&beat.to_string()), Some(&held)).await.unwrap(), "nobody took its lock");
    }
    // It dies: after its two minutes one of ours leads, and lives lease by lease for an hour.
    sleep(200 * SECOND).await;
    assert_ne!(regime(&fleet).await, Some(Regime::Heartbeats));
    assert!(table.get_lock().await.unwrap().expect("one of ours leads").owner.as_str().starts_with("worker"));
    assert!(!fleet.happened().iter().any(|event| matches!(event, Event::LeaseLost { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_leader_passes_the_lock_to_another_that_lives_by_heartbeats() {
    let mut fleet = fleet(10, 3).await;
    for left in [2, 1] {
        let leader = fleet.table.get_lock().await.unwrap().expect("somebody leads").owner;
        let table = fleet.table.clone();
        let watch = tokio::spawn(async move {
            for _ in 0..1_000 {
                let lock = table.get_lock().await.unwrap();
                assert!(lock.is_some_and(|lock| lock.regime == Regime::Heartbeats), "{left}: the lock is never free");
                sleep(Duration::from_millis(10)).await;
            }
        });

        fleet.stop(leader.as_str()).await;
        watch.await.unwrap();

        assert_ne!(fleet.table.get_lock().await.unwrap().expect("somebody leads").owner, leader);
        fleet.balanced(TURN).await;
    }
    let last = fleet.table.get_lock().await.unwrap().expect("somebody leads").owner;
    fleet.stop(last.as_str()).await;
    assert_eq!(fleet.table.get_lock().await.unwrap(), None);
}

async fn leader(fleet: &Fleet) -> String {
    fleet.table.get_lock().await.unwrap().expect("somebody leads").owner.as_str().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_before_it_knows_that_it_leads_passes_the_lock_on_or_deletes_it() {
    let mut fleet = fleet(10, 3).await;
    for left in [2, 1] {
        let first = leader(&fleet).await;
        fleet.stop(&first).await;
        let second = leader(&fleet).await;
        assert_ne!(second, first);
        fleet.stop(&second).await;
        if left == 2 {
            assert_ne!(leader(&fleet).await, second, "passed on by one that has never led");
            fleet.start_renewing(Renewals::Automatic, 3..4);
            settle(&fleet).await;
        }
    }
    assert_eq!(fleet.table.get_lock().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_leader_does_not_pass_the_lock_to_one_that_stops_too() {
    let mut fleet = fleet(10, 2).await;
    let first = leader(&fleet).await;
    let other = if first == "worker-000" { "worker-001" } else { "worker-000" };
    let item = fleet.table.get_worker(&other.into()).await.unwrap().expect("it reports");
    assert!(fleet.table.put_worker(&WorkerItem { leaving: true, ..item }).await.unwrap().is_some());

    fleet.stop(&first).await;

    assert_eq!(fleet.table.get_lock().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_worker_drops_every_lease_even_if_a_heartbeat_is_the_first_thing_it_does() {
    let wall = Wall { began: Instant::now(), suspended_seconds: Arc::default() };
    let aws = SdkConfig::builder().time_source(wall.clone()).build();
    let mut fleet = Fleet::of(aws, 5);
    fleet.start_renewing(Renewals::Automatic, 0..1);
    settle(&fleet).await;
    let mut random = fastrand::Rng::with_seed(7);
    for suspension in 1..=40 {
        sleep(Duration::from_millis(random.u64(0..4_000))).await;
        assert!(fleet.happened().is_empty());

        wall.suspended_seconds.store(suspension * 30, Ordering::SeqCst);
        sleep(SECOND + SECOND / 10).await;

        let lost = fleet.happened().iter().filter(|event| matches!(event, Event::LeaseLost { .. })).count();
        assert_eq!(lost, 5, "in suspension {suspension}");
        sleep(2 * LEASE).await;
        fleet.happened();
    }
}

#[tokio::test(start_paused = true)]
async fn changes_by_other_hands_are_noticed_from_the_turn_on() {
    for _ in 0..5 {
        let fleet = fleet(2, 1).await;
        let table: LeaseTable = fleet.table.clone().into();
        // It keeps the fleet from heartbeats without any lease.
        let item = table.get_worker(&"worker-000".into()).await.unwrap().expect("it reports");
        let java = WorkerItem { id: "java".into(), beat: None, instance: None, leaving: true, ..item };
        assert_eq!(table.put_worker(&java).await.unwrap(), None);
        until_regime(&fleet, Regime::EachLease, TURN).await;
        sleep(300 * SECOND).await;
        assert!(table.delete_worker(&java).await.unwrap());
        until_regime(&fleet, Regime::Heartbeats, TURN).await;
        // Looks, and single renewals, the last for now.
        sleep(NOTICE).await;
        fleet.happened();

        let lease = table.get(&shard().key).await.unwrap().expect("lease exists");
        assert!(table.assign(&lease, &"other".into()).await.unwrap().is_applied());

        lost_within(&fleet, NOTICE).await;
    }
}
