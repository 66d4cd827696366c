//! Effects in DynamoDB, in one transaction with the checkpoint: each record counts once, whatever happens to workers, shards
//! and answers.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use integration_tests::{Running, SHARD, Table, World, id_of, number, seeds, text};
use kcl::{BoxError, Checkpointer, Event, RecordBatch, RecordProcessor, ShardContext, TransactionError};
use kinesis_local::LocalAws;
use tokio::{runtime::Builder, time::sleep};

const TRANSACT: &str = "dynamodb:TransactWriteItems";
const TOTALS: &str = "Totals";
/// Totals, each of the records with one last digits: less than the 99 items of a transaction.
const KEYS: u64 = 20;

/// Count and sum by total.
type Totals = BTreeMap<String, (u64, u64)>;

/// Adds the number of each record to a total.
#[derive(Default)]
struct Adder {
    /// Kept until the shard's end, instead of one transaction for each batch.
    kept: Option<(Vec<u64>, Option<Checkpointer>)>,
}

fn add(ids: &[u64]) -> Vec<TransactWriteItem> {
    let update = |(key, (count, sum)): (String, (u64, u64))| {
        let update = Update::builder().table_name(TOTALS).key("name", text(key));
        let update = update.update_expression("ADD records :count, amount :sum");
        let update = update.expression_attribute_values(":count", number(count));
        let update = update.expression_attribute_values(":sum", number(sum)).build();
        TransactWriteItem::builder().update(update.expect("all is set")).build()
    };
    totals_of(ids.iter().copied()).into_iter().map(update).collect()
}

/// Totals of these numbers, by an independent count.
fn totals_of(ids: impl IntoIterator<Item = u64>) -> Totals {
    let mut totals = Totals::new();
    for id in ids {
        let (count, sum) = totals.entry(format!("total {}", id % KEYS)).or_default();
        (*count, *sum) = (*count + 1, *sum + id);
    }
    totals
}

impl RecordProcessor for Adder {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let ids: Vec<u64> = batch.records.iter().map(id_of).collect();
        match &mut self.kept {
            Some((kept, last)) => {
                kept.extend(ids);
                *last = Some(checkpointer.clone());
            }
            None => checkpointer.checkpoint_with(add(&ids)).await?,
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        if let Some((ids, Some(checkpointer))) = self.kept.take() {
            checkpointer.checkpoint_with(add(&ids)).await?;
        }
        Ok(())
    }
}

async fn world(local: LocalAws, shards: i32) -> World {
    let world = World::on(local, shards).await;
    Table::new(&world.aws, TOTALS).create("name").await;
    world
}

fn run(world: &World, worker_id: &str) -> Running {
    Running::start_factory(world.worker(worker_id), |_: &ShardContext| Adder::default())
}

async fn totals(world: &World) -> Totals {
    let items = Table::new(&world.aws, TOTALS).items().await.expect("table exists");
    let value =
        |value: &aws_sdk_dynamodb::types::AttributeValue| value.as_n().expect("a number").parse().expect("whole");
    let total = |item: integration_tests::Item| {
        (item["name"].as_s().expect("a text").clone(), (value(&item["records"]), value(&item["amount"])))
    };
    items.into_iter().map(total).collect()
}

fn count(totals: &Totals) -> u64 {
    totals.values().map(|(count, _)| count).sum()
}

/// Waits until that many records count, and a while longer for more.
async fn counts_exactly(world: &World, records: u64) {
    world.until_holds("all records count", async || count(&totals(world).await) >= records).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(totals(world).await, totals_of(0..records));
}

fn failures(world: &World) -> usize {
    world.events.count(|event| matches!(event, Event::ProcessorFailed { .. }))
}

#[tokio::test(start_paused = true)]
async fn counts_each_record_once_across_a_handoff_in_mid_transaction() {
    let world = world(LocalAws::start().await, 4).await;
    world.local.faults().on(TRANSACT).delay(Duration::from_millis(1_500));
    let first = run(&world, "w1");
    let putting = world.keep_putting(20, Duration::from_millis(250));
    sleep(Duration::from_secs(20)).await;

    let second = run(&world, "w2");
    let handed_over = || world.events.count(|event| matches!(event, Event::HandoffRequested { .. }));
    world.until("two leases are handed over", || handed_over() >= 2).await;
    sleep(Duration::from_secs(20)).await;
    putting.abort();
    sleep(Duration::from_secs(30)).await;

    let found = totals(&world).await;
    assert_eq!(found, totals_of(0..count(&found)));
    assert!(count(&found) > 1_000 && failures(&world) == 0, "{} failures", failures(&world));
    for worker in [first, second] {
        worker.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_a_java_leader_in_mid_transaction_takes_the_items_with_it() {
    let world = world(LocalAws::start().await, 1).await;
    let worker = run(&world, "w1");
    world.put(0..100).await;
    counts_exactly(&world, 100).await;
    let delayed = world.local.faults().on(TRANSACT).times(1).delay(Duration::from_millis(1_500));
    world.put(100..200).await;
    world.until("a transaction is under way", || delayed.count() == 1).await;

    world.take_lease_away(SHARD).await;
    world
        .until("the lease is lost", || world.events.count(|event| matches!(event, Event::LeaseLost { .. })) == 1)
        .await;
    assert_eq!(totals(&world).await, totals_of(0..100));

    // That worker never was there: its lease expires.
    counts_exactly(&world, 200).await;
    worker.kill();
}

#[tokio::test(start_paused = true)]
async fn lost_answers_in_mid_transaction_are_no_failures() {
    let world = world(LocalAws::start().await, 2).await;
    let lost = world.local.faults().on(TRANSACT).lose_response();
    let worker = run(&world, "w1");
    world.put(0..500).await;

    counts_exactly(&world, 500).await;

    assert!(lost.count() > 4 && failures(&world) == 0, "{} failures", failures(&world));
    worker.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_the_children_are_there_before_the_last_transaction_of_a_shard() {
    let world = world(LocalAws::start().await, 1).await;
    world.put(0..100).await;
    world.split(SHARD).await;
    world.put(100..200).await;
    let delayed = world.local.faults().on(TRANSACT).delay(Duration::from_millis(1_500));
    let worker = Running::start_factory(world.worker("w1"), |shard: &ShardContext| Adder {
        kept: (shard.shard_id.as_str() == SHARD).then(Default::default),
    });

    world.until("the last transaction is under way", || delayed.count() == 1).await;
    let leases = world.status().await.leases;
    assert_eq!(leases.len(), 3);
    assert!(leases.iter().all(|lease| lease.checkpoint == kcl::Checkpoint::TrimHorizon), "none is processed");
    counts_exactly(&world, 200).await;
    worker.stop().await.unwrap();
}

/// Refuses its items until told otherwise.
struct Refused(integration_tests::Log<String>);

impl RecordProcessor for Refused {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let ids: Vec<u64> = batch.records.iter().map(id_of).collect();
        let update = Update::builder().table_name(TOTALS).key("name", text("guard")).update_expression("SET held = :v");
        let update = update.condition_expression("attribute_exists(held)");
        let update = update.expression_attribute_values(":v", text("yes")).build()?;
        let guard = TransactWriteItem::builder().update(update).build();
        let refused = checkpointer.checkpoint_with([add(&ids), vec![guard]].concat()).await.expect_err("not held");
        assert!(matches!(refused, TransactionError::Canceled { .. }), "{refused}");
        self.0.push(refused.to_string());
        Ok(checkpointer.checkpoint_with(add(&ids)).await?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_refused_for_the_applications_reason_can_be_made_otherwise() {
    let world = world(LocalAws::start().await, 1).await;
    world.put(0..10).await;
    let texts = integration_tests::Log::default();
    let worker = Running::start_factory(world.worker("w1"), {
        let texts = texts.clone();
        move |_: &ShardContext| Refused(texts.clone())
    });

    counts_exactly(&world, 10).await;

    assert_eq!(texts.all()[0], "DynamoDB canceled the transaction: item 10 ConditionalCheckFailed");
    assert_eq!(world.events.count(|event| matches!(event, Event::LeaseLost { .. })), 0);
    worker.stop().await.unwrap();
}

/// Workers die at random, shards are split and merged, and the lease table fails, for that many virtual seconds.
async fn chaos(seed: u64, seconds: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(LocalAws::start().await, 3).await;
    let faults = world.local.faults();
    faults.seed(seed);
    faults.on(TRANSACT).with_probability(0.1).lose_response();
    faults.on(TRANSACT).with_probability(0.1).drop_connection();
    faults.on(TRANSACT).with_probability(0.1).conflict();
    faults.on(TRANSACT).with_probability(0.05).throttle();
    faults.on("dynamodb:*").with_probability(0.02).delay(Duration::from_secs(4));
    faults.on("dynamodb:UpdateItem").with_probability(0.1).conflict();
    let mut workers: Vec<Running> = (0..3).map(|slot| run(&world, &format!("w{slot}"))).collect();
    let (mut records, mut started) = (0, workers.len());
    for second in 0..seconds {
        world.put(records..records + 30).await;
        records += 30;
        sleep(Duration::from_millis(random.u64(500..1_500))).await;
        if second % 5 == 4 {
            let slot = random.usize(0..workers.len());
            let next = run(&world, &format!("w{started}"));
            std::mem::replace(&mut workers[slot], next).kill();
            started += 1;
        }
        if second % 20 == 10 {
            let open = world.open_shards().await;
            if open.len() > 3 {
                world.merge_neighbours().await
            } else {
                world.split(&open[random.usize(0..open.len())]).await
            }
        }
    }
    faults.clear();
    counts_exactly(&world, records).await;
    for worker in workers {
        worker.stop().await.expect("worker stops");
    }
}

#[test]
fn counts_each_record_once_while_workers_die_shards_change_and_the_table_fails() {
    let seconds = std::env::var("KCL_EXACTLY_ONCE_SECONDS").map_or(60, |text| text.parse().expect("is a number"));
    let simulate = |seed| {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(chaos(seed, seconds));
    };

    assert_eq!(seeds::failing("KCL_EXACTLY_ONCE_SEED", 2, simulate), Vec::<u64>::new());
}
