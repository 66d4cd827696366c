//! Fleets whose workers renew all their leases by one heartbeat, on the embedded DynamoDB, in virtual time.

use std::time::Duration;

use integration_tests::{Running, SHARD, World, text};
use kcl::{
    BoxError, Checkpointer, Event, FleetStatus, InitialPosition, RecordBatch, RecordProcessor, Renewals, Reset,
    ResetError, ShardContext, WorkerBuilder,
};
use kinesis_local::Fault;
use tokio::time::{Instant, sleep};

const LEASE_DURATION: Duration = Duration::from_secs(10);
const OTHER_SHARD: &str = "shardId-000000000001";

fn worker(world: &World, id: &str, renewals: Renewals) -> WorkerBuilder {
    world.worker(id).renewals(renewals)
}

fn by_heartbeat(world: &World) -> Option<bool> {
    let changes = world.events.all().into_iter().filter_map(|event| match event {
        Event::RenewalsChanged { by_heartbeat, .. } => Some(by_heartbeat),
        _ => None,
    });
    changes.last()
}

/// Workers that share the shards and, unless each lease is renewed, live by heartbeats.
async fn fleet(shards: i32, renewals: Renewals, workers: usize) -> (World, Vec<Running>) {
    let world = World::start(shards).await;
    let start = |number: usize| world.spawn(worker(&world, &format!("w{number}"), renewals));
    let workers = (1..=workers).map(start).collect();
    shared(&world, renewals).await;
    (world, workers)
}

async fn shared(world: &World, renewals: Renewals) {
    world.settled().await;
    if renewals == Renewals::Automatic {
        world.until("it lives by heartbeats", || by_heartbeat(world) == Some(true)).await;
        sleep(2 * LEASE_DURATION).await;
    }
}

/// Write units a minute, without and with a checkpoint a second and lease.
async fn write_units(renewals: Renewals) -> [f64; 2] {
    const LEASES: i32 = 40;
    let world = World::start(LEASES).await;
    let start = |number: u32| {
        let journal = world.journal.clone();
        let factory = move |shard: &ShardContext| journal.processor(shard);
        worker(&world, &format!("w{number}"), renewals).build(factory).expect("settings are right").start()
    };
    let workers = [1, 2, 3, 4].map(start);
    shared(&world, renewals).await;
    let units = || workers.iter().map(|worker| worker.table_usage().write_units).sum::<f64>();
    let in_a_minute = async || {
        let before = units();
        sleep(Duration::from_secs(60)).await;
        units() - before
    };
    let idle = in_a_minute().await;
    let putting = world.keep_putting(1_000, Duration::from_secs(1));
    sleep(LEASE_DURATION).await;
    let busy = in_a_minute().await;
    putting.abort();
    [idle, busy]
}

#[tokio::test(start_paused = true)]
async fn forty_leases_cost_a_seventh_of_the_writes_and_four_fifths_with_checkpoints() {
    let singly = write_units(Renewals::EachLease).await;
    let together = write_units(Renewals::Automatic).await;

    println!("40 leases, 4 workers: {singly:?} write units a minute lease by lease, {together:?} by heartbeats");
    assert!(together[0] * 7.0 <= singly[0], "{together:?} {singly:?}");
    assert!(together[1] <= singly[1] * 0.8, "{together:?} {singly:?}");
}

#[tokio::test(start_paused = true)]
async fn every_record_is_processed_whoever_dies() {
    for killed in 0..3 {
        let (world, mut workers) = fleet(6, Renewals::Automatic, 3).await;
        let putting = world.keep_putting(100, Duration::from_millis(500));
        sleep(LEASE_DURATION).await;
        let since = Instant::now();
        workers.remove(killed).kill();
        sleep(LEASE_DURATION * 3).await;
        putting.abort();
        world.settled().await;

        let first_after = |shard: &str| {
            let entries = world.journal.entries().into_iter();
            entries
                .filter(|entry| entry.at > since + LEASE_DURATION && entry.shard_id.as_str() == shard)
                .map(|entry| entry.at)
                .min()
        };
        for shard in world.open_shards().await {
            let pause = first_after(&shard).expect("every shard is processed again") - since;
            // Beside the taking over, a shard may have waited for its next read.
            assert!(pause <= LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1), "{shard} of {killed}: {pause:?}");
        }
        let ids = world.journal.ids();
        let (distinct, last) = (world.journal.distinct(), ids.iter().max().copied().unwrap_or_default());
        assert_eq!(distinct as u64, last + 1, "none is lost");
        assert_eq!(by_heartbeat(&world), Some(true));
        assert_eq!(world.events.count(|event| matches!(event, Event::WorkerFenced { .. })), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn some_of_many_workers_read_the_table_when_the_leader_falls_silent() {
    const WORKERS: usize = 120;
    let (world, mut workers) = fleet(120, Renewals::Automatic, WORKERS).await;
    let leader = world.status().await.leader.expect("somebody leads").to_string();
    let number: usize = leader.trim_start_matches('w').parse().expect("ids have a number");
    let scans = world.calls("dynamodb:Scan");

    workers.remove(number - 1).kill();
    sleep(LEASE_DURATION * 3).await;

    println!("{} scans after the leader's death", scans.count());
    assert!(scans.count() < WORKERS as u64 * 3 / 5, "{} scans", scans.count());
    let gone =
        |status: &FleetStatus| status.workers.iter().all(|worker| worker.id.as_str() != leader || worker.leases == 0);
    world.until_status("another leads, and its leases have owners", gone).await;
}

#[tokio::test(start_paused = true)]
async fn turns_back_for_a_worker_that_renews_each_lease_and_loses_nothing() {
    let (world, mut workers) = fleet(6, Renewals::Automatic, 2).await;
    let putting = world.keep_putting(100, Duration::from_millis(500));

    workers.push(world.spawn(worker(&world, "w3", Renewals::EachLease)));
    world.until("it turns back", || by_heartbeat(&world) == Some(false)).await;
    world
        .until_status("the new worker has its share", |status| {
            status.workers.iter().all(|worker| worker.leases == 2) && status.workers.len() == 3
        })
        .await;
    // It dies as Java's worker does: without a word.
    workers.pop().expect("it runs").kill();
    sleep(LEASE_DURATION * 3).await;
    putting.abort();
    world.settled().await;

    let last = world.journal.ids().iter().max().copied().unwrap_or_default();
    assert_eq!(world.journal.distinct() as u64, last + 1, "none is lost");
    assert_eq!(
        world.events.count(|event| matches!(event, Event::LeaseLost { .. })),
        0,
        "none is taken from the living"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_lives_by_heartbeats_is_not_reset() {
    let (world, workers) = fleet(2, Renewals::Automatic, 1).await;
    let operator = world.worker("operator");
    let reset = || operator.reset(Reset::to(InitialPosition::TrimHorizon));

    let refused = reset().await;

    assert!(matches!(refused, Err(ResetError::WorkersLive { .. })), "{refused:?}");
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
    reset().await.expect("nobody lives");
}

/// Never checkpoints.
struct Silent;

impl RecordProcessor for Silent {
    type Error = BoxError;

    async fn process_records(&mut self, _batch: RecordBatch, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Something done to a lease behind its owner's back.
type Deed = for<'a> fn(&'a World, &'static str) -> futures::future::BoxFuture<'a, ()>;
const DEEDS: [(&str, Deed); 3] = [
    ("given away", |world, shard| Box::pin(world.take_lease_away(shard))),
    ("deleted", |world, shard| Box::pin(async move { world.table().delete(shard).await })),
    ("handed over", |world, shard| {
        Box::pin(async move {
            let table = world.table();
            let owner = table.get(shard).await.expect("the lease exists")["leaseOwner"].clone();
            table.set(shard, "checkpointOwner", owner).await;
            table.set(shard, "leaseOwner", text("other")).await;
        })
    }),
];

/// The leader notices by its scans, another by its looks at the index.
#[tokio::test(start_paused = true)]
async fn an_owner_that_never_checkpoints_notices_what_a_person_does_to_its_item() {
    for ((what, deed), workers) in DEEDS.into_iter().flat_map(|deed| [(deed, 1), (deed, 2)]) {
        let world = World::start(workers).await;
        let start = |number| worker(&world, &format!("w{number}"), Renewals::Automatic);
        let start = |number| Running::start_factory(start(number), |_: &ShardContext| Silent);
        let _workers: Vec<Running> = (1..=workers).map(start).collect();
        shared(&world, Renewals::Automatic).await;
        let ends =
            || world.events.count(|event| matches!(event, Event::LeaseLost { .. } | Event::LeaseReleased { .. }));

        for (shard, done) in [SHARD, OTHER_SHARD].into_iter().zip(1..=workers) {
            let before = ends();
            deed(&world, shard).await;
            sleep(LEASE_DURATION / 2).await;

            assert_eq!(ends(), before + 1, "{what}, the lease {done} of {workers}");
        }
    }
}

/// A person gives a lease of the worker that has two to the other, which has one, and another one back: the leader has no
/// reason to move any.
#[tokio::test(start_paused = true)]
async fn a_lease_given_by_hand_is_taken_within_a_renewal_interval_by_whomever() {
    let (world, _workers) = fleet(3, Renewals::Automatic, 2).await;
    let taken = || world.events.count(|event| matches!(event, Event::LeaseTaken { .. }));
    for given in ["first", "second"] {
        let leases = world.table().leases().await;
        let of = |owner: &'static str| leases.iter().filter(move |lease| lease["leaseOwner"] == text(owner));
        let (from, to) = if of("w1").count() == 2 { ("w1", "w2") } else { ("w2", "w1") };
        let shard = of(from).next().expect("it has two")["leaseKey"].as_s().expect("keys are text");
        let before = taken();

        world.give_lease(shard, to).await;
        sleep(LEASE_DURATION * 2 / 5).await;

        assert_eq!(taken(), before + 1, "the {given} lease, given to {to}");
        world.settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_cut_off_from_the_table_stops_by_itself_before_others_go_on() {
    let (world, workers) = fleet(2, Renewals::Automatic, 1).await;
    let faults = ["UpdateItem", "BatchExecuteStatement"]
        .map(|operation| world.local.faults().on(&format!("dynamodb:{operation}")).fail());
    sleep(LEASE_DURATION + Duration::from_secs(1)).await;

    assert_eq!(world.events.count(|event| matches!(event, Event::LeaseLost { .. })), 2);
    faults.into_iter().for_each(Fault::remove);
    world.until_status("it goes on", |status| status.workers.iter().any(|worker| worker.leases == 2)).await;
    drop(workers);
}
