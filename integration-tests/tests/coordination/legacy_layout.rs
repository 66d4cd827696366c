//! Fleets that keep leader and workers in the tables of KCL 3.0 to 3.4.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::AttributeValue;
use integration_tests::{APPLICATION, Item, Table, World, number, text};
use kcl::{Event, Fleet, WorkerBuilder};
use tokio::time::{Instant, sleep};

const COORDINATOR: &str = "StockTradesProcessor-CoordinatorState";
const METRICS: &str = "StockTradesProcessor-WorkerMetricStats";

/// A world whose application a worker of KCL 3.4 has started.
struct Legacy {
    world: World,
}

impl Legacy {
    async fn with(tables: &[(&str, &str)]) -> Self {
        let legacy = Self { world: World::start(4).await };
        for (table, key) in tables {
            legacy.table(table).create(key).await;
        }
        legacy
    }

    /// As the first worker of KCL 3.4 leaves them.
    async fn start() -> Self {
        let legacy = Self::with(&[(COORDINATOR, "key"), (METRICS, "wid")]).await;
        let state = |version: &str| {
            HashMap::from([
                ("cv".to_owned(), text(version)),
                ("mb".to_owned(), text("java-1")),
                ("mts".to_owned(), number(1_700_000_000_000_u64)),
            ])
        };
        let mut item = state("CLIENT_VERSION_3X");
        item.insert("h".to_owned(), AttributeValue::L(vec![AttributeValue::M(state("CLIENT_VERSION_INIT"))]));
        item.insert("key".to_owned(), text("Migration3.0"));
        legacy.table(COORDINATOR).put(item).await;
        legacy
    }

    fn table(&self, name: &str) -> Table {
        Table::new(&self.world.aws, name)
    }

    async fn migration(&self, status: &str) {
        let item = HashMap::from([
            ("key".to_owned(), text("TableMigration3.5")),
            ("tm".to_owned(), text(format!("TABLE_MIGRATION_STATUS_{status}"))),
            ("mb".to_owned(), text("java-1")),
            ("mts".to_owned(), number(1_700_000_000_000_u64)),
        ]);
        self.table(COORDINATOR).put(item).await;
    }

    /// A report of a worker of KCL 3.4 that holds no lease yet.
    async fn report_of_java(&self, at: SystemTime) {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_secs();
        let java = HashMap::from([
            ("wid".to_owned(), text("java-1")),
            ("lut".to_owned(), number(seconds)),
            ("sts".to_owned(), AttributeValue::M(HashMap::new())),
            ("opr".to_owned(), AttributeValue::M(HashMap::new())),
        ]);
        self.table(METRICS).put(java).await;
    }

    async fn items(&self, table: &str) -> Vec<Item> {
        self.table(table).items().await.expect("table exists")
    }

    /// Keys of the items of that table.
    async fn keys(&self, table: &str, key: &str) -> Vec<String> {
        let mut keys: Vec<String> =
            self.items(table).await.iter().map(|item| item[key].as_s().expect("keys are text").clone()).collect();
        keys.sort();
        keys
    }

    async fn refused(&self, builder: WorkerBuilder) -> String {
        let journal = self.world.journal.clone();
        let worker =
            builder.build(move |shard: &kcl::ShardContext| journal.processor(shard)).expect("settings are fine");
        let error = worker.run().await.expect_err("it is refused");
        std::error::Error::source(&error).map_or(error.to_string(), |source| format!("{error}: {source}"))
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_workers_in_the_old_tables_and_leases_in_the_lease_table() {
    let legacy = Legacy::start().await;
    let (first, second) = (legacy.world.run("w1"), legacy.world.run("w2"));
    legacy.world.put(0..100).await;
    legacy.world.journal.processed(100).await;
    legacy.world.until("both have shards", || legacy.world.journal.shards_by_worker().len() == 2).await;

    // Its leader may have begun to migrate.
    let state = async || {
        let keys = legacy.keys(COORDINATOR, "key").await;
        keys.into_iter().filter(|key| key != "TableMigration3.5").collect::<Vec<_>>()
    };
    assert_eq!(state().await, ["Leader", "Migration3.0"]);
    assert_eq!(legacy.keys(METRICS, "wid").await, ["w1", "w2"]);
    // A reader of KCL 3.4 takes every item for a lease.
    let leases = legacy.items(APPLICATION).await;
    assert_eq!(leases.len(), 4);
    assert!(leases.iter().all(|item| item.contains_key("checkpoint")), "{leases:?}");
    let workers = legacy.items(METRICS).await;
    assert!(workers.iter().all(|item| item["sup"] == number(1) && item.contains_key("slu")), "{workers:?}");

    first.kill();
    legacy.world.put(100..200).await;
    legacy.world.journal.processed(200).await;
    let status = legacy.world.status().await;
    assert_eq!(status.leader, Some("w2".into()));
    assert_eq!(status.version.as_deref(), Some("CLIENT_VERSION_3X"));
    second.stop().await.unwrap();
    assert_eq!(state().await, ["Migration3.0"], "the lock is released");
    assert_eq!(legacy.keys(METRICS, "wid").await, ["w1"], "who leaves takes its item along");
}

#[tokio::test(start_paused = true)]
async fn a_java_worker_of_the_old_layout_is_given_its_share() {
    let legacy = Legacy::start().await;
    legacy.report_of_java(SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap()).await;
    let worker = legacy.world.run("w1");
    let its = |lease: &&Item| lease.get("leaseOwner") == Some(&text("java-1"));
    let has_two = async || legacy.world.table().leases().await.iter().filter(its).count() == 2;
    legacy.world.until_holds("it has two of four leases", has_two).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_completes_its_migration_is_followed_to_one_table() {
    let legacy = Legacy::start().await;
    legacy.migration("DEPLOYED").await;
    let worker = legacy.world.spawn(legacy.world.worker("w1").migrate_to_one_table(true));
    legacy.world.put(0..100).await;
    legacy.world.journal.processed(100).await;
    assert!(legacy.keys(METRICS, "wid").await.is_empty());
    assert!(legacy.keys(APPLICATION, "leaseKey").await.contains(&"w1".to_owned()));
    assert!(legacy.keys(COORDINATOR, "key").await.contains(&"Leader".to_owned()));

    legacy.migration("COMPLETE").await;
    let migrated = |event: &Event| *event == Event::MigratedToOneTable;
    legacy.world.until("it has followed", || legacy.world.events.count(migrated) == 1).await;
    legacy
        .world
        .until("it leads again", || legacy.world.events.count(|event| *event == Event::LeaderGained) == 2)
        .await;
    let keys = legacy.keys(APPLICATION, "leaseKey").await;
    assert!(keys.contains(&"Leader".to_owned()) && keys.contains(&"w1".to_owned()), "{keys:?}");
    legacy.world.put(100..200).await;
    legacy.world.journal.processed(200).await;
    assert_eq!(legacy.world.journal.ids().len(), 200, "no shard changed hands");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_completed_migration_is_seen_at_the_start() {
    let legacy = Legacy::start().await;
    legacy.migration("COMPLETE").await;
    let worker = legacy.world.run("w1");
    legacy.world.put(0..10).await;
    legacy.world.journal.processed(10).await;
    assert!(legacy.keys(METRICS, "wid").await.is_empty());
    assert!(legacy.keys(APPLICATION, "leaseKey").await.contains(&"Leader".to_owned()));
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn refuses_with_the_reason_fleets_that_cannot_be_joined() {
    let legacy = Legacy::start().await;
    let error = legacy.refused(legacy.world.worker("w1").migrate_to_one_table(true)).await;
    assert!(error.contains(COORDINATOR) && error.contains("not ready to migrate"), "{error}");

    legacy.migration("INVENTED").await;
    let error = legacy.refused(legacy.world.worker("w1")).await;
    assert!(error.contains("unknown state TABLE_MIGRATION_STATUS_INVENTED"), "{error}");

    let half = Legacy::with(&[(COORDINATOR, "key")]).await;
    let error = half.refused(half.world.worker("w1")).await;
    assert!(error.contains(METRICS) && error.contains("there is none"), "{error}");
}

/// Statuses that leaders have brought the migration to, in order.
fn statuses(legacy: &Legacy) -> Vec<String> {
    let status = |event: Event| match event {
        Event::TableMigrationChanged { status, .. } => Some(status.replace("TABLE_MIGRATION_STATUS_", "")),
        _ => None,
    };
    legacy.world.events.all().into_iter().filter_map(status).collect()
}

async fn brought_to(legacy: &Legacy, wanted: &[&str]) {
    legacy.world.until("the migration went on", || statuses(legacy) == wanted).await;
}

#[tokio::test(start_paused = true)]
async fn its_leader_drives_the_migration_where_no_java_worker_does() {
    let legacy = Legacy::start().await;
    let fleet = Fleet::open(&legacy.table(COORDINATOR).dynamodb, APPLICATION).await.unwrap();
    let (began, at) = (SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap(), Instant::now());
    let state = async |migrate| fleet.table_migration(migrate, began + at.elapsed()).await.unwrap().unwrap();
    let first = legacy.world.run("w1");
    legacy.world.put(0..100).await;
    legacy.world.journal.processed(100).await;
    brought_to(&legacy, &["INIT"]).await;
    let begun = Instant::now();
    assert!(state(false).await.until.is_some() && state(false).await.waits_for.is_empty());
    sleep(Duration::from_secs(3_560)).await;
    assert_eq!(statuses(&legacy), ["INIT"]);
    brought_to(&legacy, &["INIT", "DEPLOYED"]).await;
    assert!(begun.elapsed() >= Duration::from_secs(3_590), "{:?}", begun.elapsed());
    assert_eq!(state(false).await.waits_for, ["no leader asks for the migration by migrate_to_one_table"]);

    // While one worker reports to the old table, everything stays.
    let second = legacy.world.spawn(legacy.world.worker("w2").migrate_to_one_table(true));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(statuses(&legacy), ["INIT", "DEPLOYED"]);
    assert!(state(true).await.waits_for.contains(&"worker w1 reports to the old table".to_owned()));
    first.stop().await.unwrap();
    brought_to(&legacy, &["INIT", "DEPLOYED", "PENDING"]).await;
    assert_eq!(legacy.keys(COORDINATOR, "key").await, ["Leader", "TableMigration3.5"]);
    let moved = legacy.table(APPLICATION).get("Migration3.0").await.expect("it was moved");
    assert_eq!((&moved["cv"], &moved["entityType"]), (&text("CLIENT_VERSION_3X"), &text("CLIENT_VERSION_MIGRATION")));
    legacy.world.put(100..200).await;
    legacy.world.journal.processed(200).await;

    // Nobody runs for most of the day.
    second.stop().await.unwrap();
    sleep(Duration::from_secs(86_400 - 300)).await;
    let third = legacy.world.spawn(legacy.world.worker("w3").migrate_to_one_table(true));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(statuses(&legacy), ["INIT", "DEPLOYED", "PENDING"]);
    sleep(Duration::from_secs(150)).await;
    brought_to(&legacy, &["INIT", "DEPLOYED", "PENDING", "COMPLETE"]).await;
    let migrated = |event: &Event| *event == Event::MigratedToOneTable;
    legacy.world.until("it has followed", || legacy.world.events.count(migrated) == 1).await;
    for (table, key) in [(APPLICATION, "leaseKey"), (COORDINATOR, "key")] {
        let items = legacy.items(table).await;
        let item = items.iter().find(|item| item[key] == text("TableMigration3.5")).expect("it is in both tables");
        assert_eq!(item["tm"], text("TABLE_MIGRATION_STATUS_COMPLETE"));
        let history: Vec<_> =
            item["h"].as_l().unwrap().iter().map(|state| state.as_m().unwrap()["tm"].clone()).collect();
        let before = ["PENDING", "DEPLOYED", "INIT", "INIT"].map(|it| text(format!("TABLE_MIGRATION_STATUS_{it}")));
        assert_eq!(history, before);
    }
    legacy.world.put(200..300).await;
    legacy.world.journal.processed(300).await;
    assert_eq!(legacy.world.journal.ids().len(), 300);
    third.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_understand_the_migration_holds_it_up() {
    let legacy = Legacy::start().await;
    let (began, at) = (SystemTime::UNIX_EPOCH + SystemTime::UNIX_EPOCH.elapsed().unwrap(), Instant::now());
    let worker = legacy.world.run("w1");
    brought_to(&legacy, &["INIT"]).await;
    // One of Java 3.4, which is given leases, and renews them.
    let java = async {
        for beat in 1_000_u64.. {
            legacy.report_of_java(began + at.elapsed()).await;
            let leases = legacy.items(APPLICATION).await;
            for lease in leases.iter().filter(|lease| lease.get("leaseOwner") == Some(&text("java-1"))) {
                let key = lease["leaseKey"].as_s().expect("keys are text");
                legacy.world.table().set(key, "leaseCounter", number(beat)).await;
            }
            sleep(Duration::from_secs(3)).await;
        }
    };
    tokio::select! {
        () = java => {}
        () = brought_to(&legacy, &["INIT", "none"]) => {}
    }
    assert_eq!(legacy.keys(COORDINATOR, "key").await, ["Leader", "Migration3.0"]);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_goes_back_to_the_old_tables_takes_the_fleet_along() {
    let legacy = Legacy::start().await;
    legacy.migration("DEPLOYED").await;
    let worker = legacy.world.spawn(legacy.world.worker("w1").migrate_to_one_table(true));
    brought_to(&legacy, &["PENDING"]).await;

    let back = legacy.world.run("w2");
    brought_to(&legacy, &["PENDING", "DEPLOYED"]).await;
    back.stop().await.unwrap();
    brought_to(&legacy, &["PENDING", "DEPLOYED", "PENDING"]).await;

    worker.stop().await.unwrap();
}
