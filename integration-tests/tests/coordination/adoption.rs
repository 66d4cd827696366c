//! Applications of KCL 1.x and 2.x that are taken over: their tables and their workers written by hand, in virtual time.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
};
use integration_tests::{APPLICATION, Call, Item, SHARD, World, number, text};
use kcl::{Adoption, Event, InitialPosition, WorkerBuilder, WorkerError};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

const SECOND_SHARD: &str = "shardId-000000000001";
/// Wait for the end of a fleet whose failover time is not stated.
const WAIT: Duration = Duration::from_secs(180);
const FAILOVER: Duration = Duration::from_secs(10);
/// Pause of KCL 1.x and 2.x between two renewals of a lease, for a failover time of 10 s.
const RENEWAL: Duration = Duration::from_millis(3_308);

/// A world with an application of KCL 1.x or 2.x.
struct Old {
    world: World,
}

impl Old {
    async fn start(shards: i32) -> Self {
        let old = Self { world: World::start(shards).await };
        old.create_table().await;
        old
    }

    /// As KCL 1.x and early 2.x create it: with provisioned throughput, and without an index.
    async fn create_table(&self) {
        let text = AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(ScalarAttributeType::S);
        let schema = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash);
        let throughput = ProvisionedThroughput::builder().read_capacity_units(10).write_capacity_units(10);
        let create = self.world.table().dynamodb.create_table().table_name(APPLICATION);
        let create = create.attribute_definitions(text.build().unwrap()).key_schema(schema.build().unwrap());
        create.provisioned_throughput(throughput.build().unwrap()).send().await.unwrap();
    }

    /// A lease as KCL 1.x writes it; KCL 2.3 adds hash keys and children.
    async fn lease(&self, shard: &str, owner: Option<&str>, (checkpoint, sub): (&str, u64), parents: &[&str]) {
        let texts = [("leaseKey", Some(shard)), ("leaseOwner", owner), ("checkpoint", Some(checkpoint))];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, text(value?))));
        let numbers = [("leaseCounter", 40), ("ownerSwitchesSinceCheckpoint", 1), ("checkpointSubSequenceNumber", sub)];
        let numbers = numbers.into_iter().map(|(name, value)| (name, number(value)));
        let parents = AttributeValue::Ss(parents.iter().map(ToString::to_string).collect());
        let parents = Some(("parentShardId", parents)).filter(|(_, set)| !set.as_ss().unwrap().is_empty());
        let item = texts.chain(numbers).chain(parents).map(|(name, value)| (name.to_owned(), value)).collect();
        self.world.table().put(item).await;
    }

    /// Leases of an owner for the first shards, each in the middle of its records. Returns the number of records behind them.
    async fn half_processed(&self, shards: &[&str], owner: &str) -> usize {
        let mut left = 0;
        for shard in shards {
            let numbers = self.sequence_numbers(shard).await;
            let middle = numbers.len() / 2;
            self.lease(shard, Some(owner), (&numbers[middle], 0), &[]).await;
            left += numbers.len() - middle - 1;
        }
        left
    }

    async fn sequence_numbers(&self, shard: &str) -> Vec<String> {
        let iterator = self.world.kinesis.get_shard_iterator().stream_name(integration_tests::STREAM).shard_id(shard);
        let iterator = iterator.shard_iterator_type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon);
        let iterator = iterator.send().await.unwrap().shard_iterator;
        let read = self.world.kinesis.get_records().set_shard_iterator(iterator).send().await.unwrap();
        read.records().iter().map(|record| record.sequence_number().to_owned()).collect()
    }

    /// A worker of KCL 2.x: renews the leases that name it by their counters, and takes no others.
    fn live(&self, owner: &'static str) -> JoinHandle<()> {
        let table = self.world.table();
        tokio::spawn(async move {
            loop {
                sleep(RENEWAL).await;
                for lease in table.leases().await {
                    if lease.get("leaseOwner") == Some(&text(owner)) {
                        renew(&table.dynamodb, &lease).await;
                    }
                }
            }
        })
    }

    /// A worker that takes the application over, of a fleet whose failover time is not stated.
    fn adopter(&self, worker: &str) -> WorkerBuilder {
        self.world.worker(worker).adopt_2x(None)
    }

    fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.world.events.count(like)
    }

    async fn has_index(&self) -> bool {
        let described = self.world.table().dynamodb.describe_table().table_name(APPLICATION).send().await.unwrap();
        !described.table.unwrap().global_secondary_indexes().is_empty()
    }

    /// The items by key, without their counters.
    async fn items(&self) -> Vec<(String, BTreeSet<(String, String)>)> {
        let items = self.world.table().items().await.unwrap();
        let plain = |item: Item| {
            let key = item["leaseKey"].as_s().unwrap().clone();
            let attributes = item.into_iter().filter(|(name, _)| name != "leaseCounter");
            (key, attributes.map(|(name, value)| (name, format!("{value:?}"))).collect())
        };
        let mut items: Vec<_> = items.into_iter().map(plain).collect();
        items.sort();
        items
    }

    /// Asserts that the application is one of KCL 3.x, with whole leases of these shards.
    async fn is_whole(&self, shards: &[&str]) {
        let table = self.world.table();
        for shard in shards {
            let lease = table.get(shard).await.unwrap();
            assert_eq!(lease.get("entityType"), Some(&text("LEASE")), "{lease:?}");
            assert!(lease.contains_key("startingHashKey") && lease.contains_key("endingHashKey"), "{lease:?}");
            assert!(!lease.contains_key("adoptedBy"), "{lease:?}");
        }
        let state = table.get("Migration3.0").await.expect("the application is declared");
        assert_eq!(state["cv"], text("CLIENT_VERSION_3X"));
        assert_eq!(state["entityType"], text("CLIENT_VERSION_MIGRATION"));
        let before = state["h"].as_l().unwrap();
        assert_eq!(before.len(), 1);
        assert_eq!(before[0].as_m().unwrap()["cv"], text("CLIENT_VERSION_INIT"));
        assert!(self.has_index().await);
    }

    async fn refused(&self, builder: WorkerBuilder) -> String {
        let before = self.items().await;
        let error = self.world.spawn(builder).ended().await.unwrap_err();
        assert!(matches!(error, WorkerError::ForeignFleet { .. }), "{error:?}");
        assert_eq!((self.items().await, self.has_index().await), (before, false), "nothing is written");
        error.to_string()
    }
}

/// Renews a lease as it was read. False: it has changed.
async fn renew(dynamodb: &aws_sdk_dynamodb::Client, lease: &Item) -> bool {
    let counter: u64 = lease["leaseCounter"].as_n().unwrap().parse().unwrap();
    let update = dynamodb.update_item().table_name(APPLICATION).key("leaseKey", lease["leaseKey"].clone());
    let update = update.update_expression("SET leaseCounter = :next").condition_expression("leaseCounter = :c");
    let update = update.expression_attribute_values(":next", number(counter + 1));
    update.expression_attribute_values(":c", number(counter)).send().await.is_ok()
}

fn is_adopted(event: &Event) -> bool {
    matches!(event, Event::Adopted { .. })
}

fn is_stopped(event: &Event) -> bool {
    matches!(event, Event::AdoptionStopped { .. })
}

#[tokio::test(start_paused = true)]
async fn a_stopped_fleet_is_taken_over_where_it_stopped() {
    let old = Old::start(2).await;
    old.world.put(0..100).await;
    let left = old.half_processed(&[SHARD, SECOND_SHARD], "java-1").await;
    let begun = Instant::now();

    let worker = old.world.spawn(old.adopter("w1"));
    sleep(WAIT).await;
    old.world.until("it is taken over", || old.count(is_adopted) == 1).await;
    assert!((WAIT..WAIT + Duration::from_secs(15)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    old.world.journal.processed(left).await;
    old.world.put(100..200).await;
    old.world.journal.processed(left + 100).await;

    assert_eq!(old.world.journal.ids().len(), left + 100, "nothing before the checkpoints, and nothing twice");
    old.is_whole(&[SHARD, SECOND_SHARD]).await;
    assert_eq!(old.count(|event| matches!(event, Event::AdoptionWaits { .. })), 1);
    worker.stop().await.unwrap();

    // The setting stays: there is nothing to take over, and nothing to wait for.
    let again = old.world.spawn(old.adopter("w1"));
    old.world.put(200..300).await;
    old.world.journal.processed(left + 200).await;
    again.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_application_starts_at_once_although_it_may_adopt() {
    let world = World::start(1).await;
    world.put(0..10).await;
    let begun = Instant::now();

    let worker = world.spawn(world.worker("w1").adopt_2x(None));
    world.journal.processed(10).await;

    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_lives_on_is_refused_and_nothing_written() {
    let old = Old::start(1).await;
    old.lease(SHARD, Some("java-1"), ("TRIM_HORIZON", 0), &[]).await;
    let java = old.live("java-1");

    let error = old.refused(old.world.worker("w1")).await;
    assert!(error.contains("adopt_2x") && error.contains("kds migrate"), "{error}");
    let begun = Instant::now();
    let error = old.refused(old.adopter("w1")).await;

    assert!(error.contains("worker java-1 wrote lease shardId-000000000000"), "{error}");
    assert!(begun.elapsed() >= Duration::from_secs(3_600), "{:?}", begun.elapsed());
    java.abort();
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_begins_the_wait_anew() {
    let old = Old::start(1).await;
    old.world.put(0..10).await;
    let left = old.half_processed(&[SHARD], "java-1").await;

    let worker = old.world.spawn(old.world.worker("w1").adopt_2x(Some(FAILOVER)));
    sleep(FAILOVER * 2 - Duration::from_secs(2)).await;
    assert!(renew(&old.world.table().dynamodb, &old.world.table().get(SHARD).await.unwrap()).await);
    let renewed = Instant::now();
    old.world.until("it is taken over", || old.count(is_adopted) == 1).await;

    assert!(renewed.elapsed() >= FAILOVER * 2, "{:?}", renewed.elapsed());
    assert!(renewed.elapsed() < FAILOVER * 3, "{:?}", renewed.elapsed());
    old.world.journal.processed(left).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_old_worker_that_comes_back_keeps_its_leases() {
    let old = Old::start(2).await;
    old.world.put(0..100).await;
    let left = old.half_processed(&[SHARD, SECOND_SHARD], "java-1").await;
    let paused = old.world.table().get(SHARD).await.unwrap();
    let slow = old.world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(1));

    let worker = old.world.spawn(old.world.worker("w1").adopt_2x(Some(FAILOVER)));
    let table = old.world.table();
    let is_claimed = async || table.get(SHARD).await.unwrap().contains_key("adoptedBy");
    old.world.until_holds("a lease is claimed", is_claimed).await;
    assert!(!renew(&table.dynamodb, &paused).await, "a worker that only paused has lost its lease");
    old.world.give_lease(SHARD, "java-1").await;
    let java = old.live("java-1");
    old.world.until("the takeover is stopped", || old.count(is_stopped) == 1).await;
    let stopped = old.world.events.all().into_iter().find(is_stopped);
    assert_eq!(
        format!("{stopped:?}"),
        "Some(AdoptionStopped { sign: \"worker java-1 took lease shardId-000000000000\" })"
    );
    sleep(FAILOVER * 6).await;

    assert_eq!(table.get(SHARD).await.unwrap()["leaseOwner"], text("java-1"));
    assert_eq!(table.get("Migration3.0").await, None, "the table is still one of KCL 2.x");
    assert!(old.world.journal.is_empty());
    java.abort();
    old.world.until("it is taken over", || old.count(is_adopted) == 1).await;
    old.world.journal.processed(left).await;
    assert_eq!(old.world.journal.ids().len(), left);
    old.is_whole(&[SHARD, SECOND_SHARD]).await;
    assert!(slow.count() > 0);
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_next_worker_completes_what_one_that_died_began() {
    let old = Old::start(2).await;
    old.world.put(0..100).await;
    let left = old.half_processed(&[SHARD, SECOND_SHARD], "java-1").await;
    old.world.local.faults().on("dynamodb:UpdateItem").delay(Duration::from_secs(1));
    let stated = |worker: &str| old.world.worker(worker).adopt_2x(Some(FAILOVER));
    let table = old.world.table();

    let first = old.world.spawn(stated("w1"));
    let is_claimed = async || table.get(SHARD).await.unwrap().contains_key("adoptedBy");
    old.world.until_holds("a lease is claimed", is_claimed).await;
    first.kill();
    assert_eq!(table.get("Migration3.0").await, None);
    let owners: Vec<_> = table.leases().await.iter().map(|lease| lease.get("leaseOwner").cloned()).collect();
    assert!(owners.contains(&None), "it died in the middle: {owners:?}");

    // The last write of all is refused to the second.
    old.world.local.deny("dynamodb:PutItem");
    let error = old.world.spawn(stated("w2")).ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::LeaseTable(_)), "{error:?}");
    assert_eq!(table.get("Migration3.0").await, None);
    old.world.local.allow("dynamodb:PutItem");
    let third = old.world.spawn(stated("w3"));
    old.world.until("it is taken over", || old.count(is_adopted) == 1).await;

    old.world.journal.processed(left).await;
    assert_eq!(old.world.journal.ids().len(), left);
    old.is_whole(&[SHARD, SECOND_SHARD]).await;
    third.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_of_several_workers_takes_over_and_all_share() {
    let old = Old::start(3).await;
    old.world.put(0..300).await;
    let left = old.half_processed(&[SHARD, SECOND_SHARD, "shardId-000000000002"], "java-1").await;

    let workers = ["w1", "w2", "w3"].map(|id| old.world.spawn(old.adopter(id)));
    sleep(WAIT).await;
    old.world.journal.processed(left).await;
    old.world.until("all have a shard", || old.world.journal.shards_by_worker().len() == 3).await;

    assert_eq!(old.count(is_adopted), 1);
    assert_eq!(old.count(|event| matches!(event, Event::Started { .. })), 3);
    old.is_whole(&[SHARD, SECOND_SHARD, "shardId-000000000002"]).await;
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn splits_under_way_are_followed_and_ended_shards_not_read_again() {
    let old = Old::start(2).await;
    old.world.put(0..100).await;
    // The first shard is processed to its end, and nobody has created the leases of its children.
    old.world.split(SHARD).await;
    old.lease(SHARD, Some("java-1"), ("SHARD_END", 0), &[]).await;
    // The second is closed and half processed, and its children have leases.
    let behind = old.half_processed(&[SECOND_SHARD], "java-2").await;
    old.world.split(SECOND_SHARD).await;
    let children = ["shardId-000000000004", "shardId-000000000005"];
    for child in children {
        old.lease(child, None, ("TRIM_HORIZON", 0), &[SECOND_SHARD]).await;
    }
    old.world.put(100..200).await;

    // At LATEST: what is read from its beginning is so because it follows what was read.
    let worker = old.world.spawn(old.adopter("w1").initial_position(InitialPosition::Latest));
    sleep(WAIT).await;
    old.world.journal.processed(behind + 100).await;

    assert_eq!(old.world.journal.ids().len(), behind + 100);
    assert_eq!(old.world.journal.keys_out_of_order(), BTreeSet::new());
    assert_eq!(old.world.journal.calls(SHARD), [], "it is at its end");
    let entries = old.world.journal.entries();
    let ended = entries.iter().position(|entry| entry.call == Call::ShardEnded).expect("the second shard has ended");
    let child = entries.iter().position(|entry| children.contains(&entry.shard_id.as_str()));
    assert!(child.is_some_and(|child| ended < child), "children come after their parents");
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn goes_on_within_the_aggregate_in_which_java_stopped() {
    let old = Old::start(1).await;
    old.world.put_aggregate(0..10).await;
    old.world.put_aggregate(10..20).await;
    let numbers = old.sequence_numbers(SHARD).await;
    old.lease(SHARD, Some("java-1"), (&numbers[0], 6), &[]).await;

    let worker = old.world.spawn(old.adopter("w1"));
    sleep(WAIT).await;
    old.world.journal.processed(13).await;

    assert_eq!(old.world.journal.ids(), (7..20).collect::<Vec<_>>());
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn takes_over_without_a_worker_and_says_before_what_it_finds() {
    let old = Old::start(2).await;
    old.world.put(0..100).await;
    let left = old.half_processed(&[SHARD], "java-1").await;
    let right = old.half_processed(&[SECOND_SHARD], "java-2").await;
    let builder = old.world.worker("operator").adopt_2x(Some(FAILOVER));
    let before = old.items().await;

    let found = builder.look_at_2x(FAILOVER).await.unwrap().expect("there is such a fleet");
    assert_eq!((found.leases, found.ended, found.without_range, found.claimed), (2, 0, 2, 0));
    assert_eq!((found.owners, found.wait), (vec!["java-1".into(), "java-2".into()], FAILOVER * 2));
    assert_eq!(found.sign, None);
    let java = old.live("java-2");
    let found = builder.look_at_2x(FAILOVER).await.unwrap().expect("there is such a fleet");
    assert_eq!(found.sign.as_deref(), Some("worker java-2 wrote lease shardId-000000000001"));
    java.abort();
    assert_eq!(old.items().await, before, "nothing is written");

    assert_eq!(builder.adopt().await.unwrap(), Adoption::Adopted(2));
    old.is_whole(&[SHARD, SECOND_SHARD]).await;
    assert_eq!(builder.look_at_2x(FAILOVER).await.unwrap(), None);
    assert_eq!(builder.adopt().await.unwrap(), Adoption::Nothing);
    let worker = old.world.run("w1");
    old.world.journal.processed(left + right).await;
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fleets_half_way_to_3_x_are_refused_by_name() {
    let old = Old::start(1).await;
    old.lease(SHARD, None, ("TRIM_HORIZON", 0), &[]).await;
    let states = [
        ("CLIENT_VERSION_UPGRADE_FROM_2X", "COMPATIBLE_WITH_2X"),
        ("CLIENT_VERSION_2X", "rolled back"),
        ("CLIENT_VERSION_4X", "only KCL 3.x is supported"),
    ];
    for (state, advice) in states {
        let item = [("leaseKey", "Migration3.0"), ("cv", state), ("entityType", "CLIENT_VERSION_MIGRATION")];
        old.world.table().put(item.map(|(name, value)| (name.to_owned(), text(value))).into()).await;
        let error = old.refused(old.adopter("w1")).await;
        assert!(error.contains(state) && error.contains(advice), "{error}");
    }
    old.world.table().delete("Migration3.0").await;

    let worker = [("leaseKey", text("java-3")), ("entityType", text("WORKER_METRIC_STATS")), ("lut", number(1))];
    old.world.table().put(worker.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let error = old.refused(old.adopter("w1")).await;
    assert!(error.contains("java-3") && error.contains("no migration state"), "{error}");
    old.world.table().delete("java-3").await;
}

#[tokio::test(start_paused = true)]
async fn leases_of_another_stream_are_refused() {
    let old = Old::start(1).await;
    old.lease(SHARD, Some("java-1"), ("TRIM_HORIZON", 0), &[]).await;
    old.world.table().set(SHARD, "startingHashKey", text("0")).await;
    old.world.table().set(SHARD, "endingHashKey", text("5")).await;

    let error = old.refused(old.adopter("w1")).await;

    assert!(error.contains("its leases are of another stream"), "{error}");
}
