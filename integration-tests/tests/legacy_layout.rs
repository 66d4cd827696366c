//! Fleets that keep leader and workers in the tables of KCL 3.0 to 3.4.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use integration_tests::{APPLICATION, EventLog, Journal, Running, TestStream, eventually};
use kcl::{Event, FleetStatus, WorkerBuilder};
use tokio::time::sleep;

type Item = HashMap<String, AttributeValue>;

const COORDINATOR: &str = "StockTradesProcessor-CoordinatorState";
const METRICS: &str = "StockTradesProcessor-WorkerMetricStats";

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A stream whose application a worker of KCL 3.4 has started.
struct Legacy {
    stream: TestStream,
    dynamodb: Client,
    journal: Journal,
    events: EventLog,
}

impl Legacy {
    async fn with(tables: &[(&str, &str)]) -> Self {
        let stream = TestStream::start(4).await;
        let dynamodb = Client::new(&stream.aws);
        let legacy = Self { stream, dynamodb, journal: Journal::default(), events: EventLog::default() };
        for (table, key) in tables {
            legacy.create(table, key).await;
        }
        legacy
    }

    /// As the first worker of KCL 3.4 leaves them.
    async fn start() -> Self {
        let legacy = Self::with(&[(COORDINATOR, "key"), (METRICS, "wid")]).await;
        let state = |version: &str| {
            HashMap::from([
                ("cv".to_owned(), s(version)),
                ("mb".to_owned(), s("java-1")),
                ("mts".to_owned(), n(1_700_000_000_000_u64)),
            ])
        };
        let mut item = state("CLIENT_VERSION_3X");
        item.insert("h".to_owned(), AttributeValue::L(vec![AttributeValue::M(state("CLIENT_VERSION_INIT"))]));
        item.insert("key".to_owned(), s("Migration3.0"));
        legacy.put(COORDINATOR, item).await;
        legacy
    }

    async fn create(&self, table: &str, key: &str) {
        let definition =
            AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S).build();
        let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build();
        let create = self.dynamodb.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        let create = create
            .attribute_definitions(definition.expect("name and type are set"))
            .key_schema(schema.expect("name and type are set"));
        create.send().await.expect("table is new");
    }

    async fn put(&self, table: &str, item: Item) {
        self.dynamodb.put_item().table_name(table).set_item(Some(item)).send().await.expect("table exists");
    }

    async fn migration(&self, status: &str) {
        let item = HashMap::from([
            ("key".to_owned(), s("TableMigration3.5")),
            ("tm".to_owned(), s(format!("TABLE_MIGRATION_STATUS_{status}"))),
            ("mb".to_owned(), s("java-1")),
            ("mts".to_owned(), n(1_700_000_000_000_u64)),
        ]);
        self.put(COORDINATOR, item).await;
    }

    async fn items(&self, table: &str) -> Vec<Item> {
        self.dynamodb.scan().table_name(table).send().await.expect("table exists").items.unwrap_or_default()
    }

    /// Keys of the items of that table.
    async fn keys(&self, table: &str, key: &str) -> Vec<String> {
        let mut keys: Vec<String> =
            self.items(table).await.iter().map(|item| item[key].as_s().expect("keys are text").clone()).collect();
        keys.sort();
        keys
    }

    fn worker(&self, worker_id: &str) -> WorkerBuilder {
        self.stream.worker(worker_id).on_event(self.events.handler())
    }

    fn run(&self, builder: WorkerBuilder) -> Running {
        Running::start(builder, &self.journal, |journal, shard| journal.processor(shard))
    }

    async fn refused(&self, builder: WorkerBuilder) -> String {
        let journal = self.journal.clone();
        let worker =
            builder.build(move |shard: &kcl::ShardContext| journal.processor(shard)).expect("settings are fine");
        let error = worker.run().await.expect_err("it is refused");
        std::error::Error::source(&error).map_or(error.to_string(), |source| format!("{error}: {source}"))
    }
}

#[tokio::test(start_paused = true)]
async fn workers_live_in_the_old_tables_and_write_only_leases_into_the_lease_table() {
    let legacy = Legacy::start().await;
    let (first, second) = (legacy.run(legacy.worker("w1")), legacy.run(legacy.worker("w2")));
    legacy.stream.put(0..100).await;
    legacy.journal.processed(100).await;
    eventually("both have shards", || legacy.journal.shards_by_worker().len() == 2).await;

    assert_eq!(legacy.keys(COORDINATOR, "key").await, ["Leader", "Migration3.0"]);
    assert_eq!(legacy.keys(METRICS, "wid").await, ["w1", "w2"]);
    // A reader of KCL 3.4 takes every item for a lease.
    let leases = legacy.items(APPLICATION).await;
    assert_eq!(leases.len(), 4);
    assert!(leases.iter().all(|item| item.contains_key("checkpoint")), "{leases:?}");
    let workers = legacy.items(METRICS).await;
    assert!(workers.iter().all(|item| item["sup"] == n(1) && item.contains_key("slu")), "{workers:?}");

    first.kill();
    legacy.stream.put(100..200).await;
    legacy.journal.processed(200).await;
    let status = FleetStatus::read(&legacy.stream.aws, APPLICATION).await.unwrap();
    assert_eq!(status.leader, Some("w2".into()));
    assert_eq!(status.version.as_deref(), Some("CLIENT_VERSION_3X"));
    second.stop().await.unwrap();
    assert_eq!(legacy.keys(COORDINATOR, "key").await, ["Migration3.0"], "the lock is released");
    assert_eq!(legacy.keys(METRICS, "wid").await, ["w1"], "who leaves takes its item along");
}

#[tokio::test(start_paused = true)]
async fn a_java_worker_of_the_old_layout_is_given_its_share() {
    let legacy = Legacy::start().await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let java = HashMap::from([
        ("wid".to_owned(), s("java-1")),
        ("lut".to_owned(), n(now)),
        ("sts".to_owned(), AttributeValue::M(HashMap::new())),
        ("opr".to_owned(), AttributeValue::M(HashMap::new())),
    ]);
    legacy.put(METRICS, java).await;
    let worker = legacy.run(legacy.worker("w1"));
    sleep(Duration::from_secs(5)).await;

    let owners =
        |leases: Vec<Item>| leases.iter().filter(|lease| lease.get("leaseOwner") == Some(&s("java-1"))).count();
    assert_eq!(owners(legacy.items(APPLICATION).await), 2);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_completes_its_migration_is_followed_to_one_table() {
    let legacy = Legacy::start().await;
    legacy.migration("DEPLOYED").await;
    let worker = legacy.run(legacy.worker("w1").migrate_to_one_table(true));
    legacy.stream.put(0..100).await;
    legacy.journal.processed(100).await;
    assert!(legacy.keys(METRICS, "wid").await.is_empty());
    assert!(legacy.keys(APPLICATION, "leaseKey").await.contains(&"w1".to_owned()));
    assert!(legacy.keys(COORDINATOR, "key").await.contains(&"Leader".to_owned()));

    legacy.migration("COMPLETE").await;
    let migrated = |event: &Event| *event == Event::MigratedToOneTable;
    eventually("it has followed", || legacy.events.count(migrated) == 1).await;
    eventually("it leads again", || legacy.events.count(|event| *event == Event::LeaderGained) == 2).await;
    let keys = legacy.keys(APPLICATION, "leaseKey").await;
    assert!(keys.contains(&"Leader".to_owned()) && keys.contains(&"w1".to_owned()), "{keys:?}");
    legacy.stream.put(100..200).await;
    legacy.journal.processed(200).await;
    assert_eq!(legacy.journal.ids().len(), 200, "no shard changed hands");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_completed_migration_is_seen_at_the_start() {
    let legacy = Legacy::start().await;
    legacy.migration("COMPLETE").await;
    let worker = legacy.run(legacy.worker("w1"));
    legacy.stream.put(0..10).await;
    legacy.journal.processed(10).await;
    assert!(legacy.keys(METRICS, "wid").await.is_empty());
    assert!(legacy.keys(APPLICATION, "leaseKey").await.contains(&"Leader".to_owned()));
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_joined_is_refused_with_the_reason() {
    let legacy = Legacy::start().await;
    let error = legacy.refused(legacy.worker("w1").migrate_to_one_table(true)).await;
    assert!(error.contains(COORDINATOR) && error.contains("not ready to migrate"), "{error}");

    legacy.migration("INVENTED").await;
    let error = legacy.refused(legacy.worker("w1")).await;
    assert!(error.contains("unknown state TABLE_MIGRATION_STATUS_INVENTED"), "{error}");

    let half = Legacy::with(&[(COORDINATOR, "key")]).await;
    let error = half.refused(half.worker("w1")).await;
    assert!(error.contains(METRICS) && error.contains("there is none"), "{error}");
}
