//! Checkpoints in one transaction with items, by a keeper on a lease table in DynamoDB.

use std::{sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType,
        TransactWriteItem,
    },
};
use bytes::Bytes;
use kinesis_local::LocalAws;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::simulation::QuietStream;
use crate::{
    context::Context,
    error::{CheckpointError, TransactionError},
    keeper::{Keeper, LeaseHandle},
    model::{Checkpoint, CheckpointWrite, Conditional, Lease, Position, StreamId},
    table::dynamodb::transactions::Transacted,
    worker::Worker,
};

const TRANSACT: &str = "dynamodb:TransactWriteItems";
const ITEMS: &str = "items";
/// Time within which a transaction ends, a third of the default lease duration, and is settled.
const BOUND: Duration = Duration::from_millis(3_400);

/// A lease that is kept, and a table of the application's.
struct Kept {
    local: LocalAws,
    client: Client,
    context: Arc<Context>,
    /// The lease when it was taken.
    taken: Lease,
    handle: LeaseHandle,
    keeper: JoinHandle<()>,
}

impl Kept {
    async fn start() -> Self {
        let local = LocalAws::start().await;
        let aws = local.sdk_config();
        let client = Client::new(&aws);
        let name = AttributeDefinition::builder().attribute_name("name").attribute_type(ScalarAttributeType::S).build();
        let key = KeySchemaElement::builder().attribute_name("name").key_type(KeyType::Hash).build();
        let create = client.create_table().table_name(ITEMS).billing_mode(BillingMode::PayPerRequest);
        create.attribute_definitions(name.unwrap()).key_schema(key.unwrap()).send().await.unwrap();

        let builder = Worker::builder(&aws, "application", "stream").worker_id("w1");
        let table = builder.table_in_dynamodb(true);
        table.prepare().await.unwrap();
        let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(1)));
        let context = Arc::new(Context::new(settings, events, catalog, table));
        let lease = Lease { owner: Some("w1".into()), ..Lease::unowned("shard".into(), Checkpoint::TrimHorizon) };
        assert!(context.table.create(&lease).await.unwrap().is_applied());
        let (keeper, handle) = Keeper::take(Arc::clone(&context), StreamId::from("stream"), lease).await.unwrap();
        let taken = keeper.lease().clone();
        Self { local, client, context, taken, handle, keeper: tokio::spawn(keeper.run()) }
    }

    async fn transact(&self, number: u32, items: Vec<TransactWriteItem>) -> Result<(), TransactionError> {
        self.handle.transact(commit(number), items).await
    }

    async fn lease(&self) -> Lease {
        self.context.table.get(&self.taken.key).await.unwrap().unwrap()
    }

    /// Number of items in the application's table.
    async fn written(&self) -> usize {
        let items = self.client.scan().table_name(ITEMS).into_paginator().items().send();
        items.collect::<Result<Vec<_>, _>>().await.unwrap().len()
    }

    fn is_lost(&self) -> bool {
        matches!(self.handle.check(), Err(CheckpointError::LeaseLost))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn commit(number: u32) -> CheckpointWrite {
    CheckpointWrite::commit(at(number))
}

fn at(number: u32) -> Checkpoint {
    Checkpoint::At(Position::new(number.to_string().parse().unwrap(), 0))
}

/// An item with a text of this size beside its name.
fn sized(name: &str, bytes: usize) -> TransactWriteItem {
    let text = |text: String| AttributeValue::S(text);
    let put =
        Put::builder().table_name(ITEMS).item("name", text(name.to_owned())).item("text", text("x".repeat(bytes)));
    TransactWriteItem::builder().put(put.build().unwrap()).build()
}

fn items(count: u32) -> Vec<TransactWriteItem> {
    (0..count).map(|index| sized(&index.to_string(), 1)).collect()
}

/// Items the second of which must not be there yet.
fn new_items() -> Vec<TransactWriteItem> {
    let put = Put::builder().table_name(ITEMS).item("name", AttributeValue::S("new".to_owned()));
    let put = put.condition_expression("attribute_not_exists(#n)").expression_attribute_names("#n", "name");
    vec![sized("a", 1), TransactWriteItem::builder().put(put.build().unwrap()).build()]
}

#[tokio::test(start_paused = true)]
async fn stores_checkpoint_and_items_together_and_an_older_checkpoint_never_again() {
    let kept = Kept::start().await;

    kept.transact(5, items(2)).await.unwrap();

    let lease = kept.lease().await;
    assert_eq!((lease.checkpoint, lease.counter, kept.written().await), (at(5), kept.taken.counter + 1, 2));
    assert!(matches!(kept.transact(5, items(3)).await, Err(TransactionError::AlreadyStored)));
    assert!(matches!(kept.transact(4, items(3)).await, Err(TransactionError::AlreadyStored)));
    assert_eq!(kept.written().await, 2);
    kept.handle.checkpoint(commit(6)).await.unwrap();
    kept.transact(7, items(3)).await.unwrap();
    assert_eq!((kept.lease().await.checkpoint, kept.written().await), (at(7), 3));
}

#[tokio::test(start_paused = true)]
async fn stores_the_numbers_of_the_records_delivered_with_the_checkpoint() {
    let kept = Kept::start().await;
    let numbers = Some(Bytes::from_static(b"numbers"));
    let write = CheckpointWrite::Commit { checkpoint: at(5), children: Vec::new(), numbers: numbers.clone() };

    kept.handle.transact(write, items(1)).await.unwrap();

    let lease = kept.lease().await;
    assert_eq!((lease.checkpoint, lease.numbers, kept.written().await), (at(5), numbers, 1));
}

#[tokio::test(start_paused = true)]
async fn takes_99_items_and_4_mb_and_says_what_is_too_much_before_it_sends_anything() {
    let kept = Kept::start().await;
    let sent = kept.local.faults().on(TRANSACT).delay(Duration::ZERO);
    let lease = Put::builder().table_name("application").item("leaseKey", AttributeValue::S("shard".to_owned()));
    let lease = TransactWriteItem::builder().put(lease.build().unwrap()).build();
    let large = || (0..11).map(|index| sized(&format!("large {index}"), 390_000)).collect::<Vec<_>>();

    let many = kept.transact(5, items(100)).await.unwrap_err();
    let own = kept.transact(5, [items(1), vec![lease]].concat()).await.unwrap_err();
    let too_large = kept.transact(5, large()).await.unwrap_err();

    assert_eq!(many.to_string(), "100 items are more than the 99 that a transaction takes beside the lease");
    assert_eq!(own.to_string(), "item 1 is the lease of the shard");
    assert!(matches!(too_large, TransactionError::TooLarge { bytes } if bytes > 4_290_000), "{too_large}");
    assert_eq!((sent.count(), kept.written().await), (0, 0));
    kept.transact(5, items(99)).await.unwrap();
    kept.transact(6, large()[..10].to_vec()).await.unwrap();
    assert_eq!(kept.written().await, 109);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_whose_answers_are_all_lost_is_found_to_be_stored() {
    let kept = Kept::start().await;
    let lost = kept.local.faults().on(TRANSACT).lose_response();
    let begun = Instant::now();

    kept.transact(5, items(2)).await.unwrap();

    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    assert!(lost.count() > 2 && !kept.is_lost());
    lost.remove();
    assert_eq!((kept.lease().await.checkpoint, kept.written().await), (at(5), 2));
    kept.transact(6, items(3)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_never_answered_cannot_take_effect_later() {
    let kept = Kept::start().await;
    let known = kept.handle.lease().await.unwrap();
    let late = kept.context.table.transaction(&known, &commit(5), items(2)).unwrap();
    let silent = kept.local.faults().on(TRANSACT).drop_connection();

    let error = kept.transact(5, items(2)).await.unwrap_err();
    silent.remove();
    let found = kept.context.table.transact(&late, (Instant::now() + BOUND).into()).await.unwrap();

    assert!(matches!(error, TransactionError::Checkpoint(CheckpointError::Table(_))), "{error}");
    assert!(matches!(found, Transacted::Canceled(_)), "{found:?}");
    assert_eq!((kept.lease().await.checkpoint, kept.written().await), (Checkpoint::TrimHorizon, 0));
    assert!(!kept.is_lost());
    kept.transact(5, items(2)).await.unwrap();
    assert_eq!(kept.written().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_refused_for_the_applications_reason_is_handed_back_and_the_lease_renewed_at_once() {
    let kept = Kept::start().await;
    kept.transact(5, new_items()).await.unwrap();
    let before = kept.lease().await.counter;
    let begun = Instant::now();

    let error = kept.transact(6, [new_items(), items(1)].concat()).await.unwrap_err();

    let TransactionError::Canceled { reasons } = &error else { panic!("{error}") };
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, [Some("None"), Some("ConditionalCheckFailed"), Some("None")]);
    assert!(begun.elapsed() < Duration::from_millis(100) && !kept.is_lost());
    let lease = kept.lease().await;
    assert_eq!((lease.checkpoint, lease.counter), (at(5), before + 1));
    kept.transact(6, items(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_as_it_is_is_not_tried_again() {
    let kept = Kept::start().await;
    let sent = kept.local.faults().on(TRANSACT).delay(Duration::ZERO);

    let twice = kept.transact(5, [items(1), items(1)].concat()).await.unwrap_err();

    assert!(matches!(&twice, TransactionError::Refused { code, .. } if code == "ValidationException"), "{twice}");
    assert_eq!(sent.count(), 1);
    kept.transact(5, items(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_another_transaction_passes() {
    let kept = Kept::start().await;
    let conflicts = kept.local.faults().on(TRANSACT).times(3).conflict();
    let throttled = kept.local.faults().on(TRANSACT).times(3).throttle();

    kept.transact(5, items(2)).await.unwrap();

    assert_eq!((conflicts.count(), throttled.count(), kept.written().await), (3, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_renews_the_lease_while_the_outcome_is_unknown() {
    let kept = Kept::start().await;
    kept.local.faults().on(TRANSACT).times(1).delay(Duration::from_millis(1_500));
    let doubting = tokio::spawn({
        let context = Arc::clone(&kept.context);
        async move {
            loop {
                sleep(Duration::from_millis(200)).await;
                context.doubts.compare_keys(&[]); // an index that does not show the lease
            }
        }
    });

    kept.transact(5, items(2)).await.unwrap();

    assert_eq!((kept.lease().await.counter, kept.written().await), (kept.taken.counter + 1, 2));
    doubting.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_while_the_outcome_is_unknown_takes_its_items_with_it() {
    let kept = Kept::start().await;
    kept.local.faults().on(TRANSACT).times(1).delay(Duration::from_millis(1_500));
    let transaction = kept.transact(5, items(2));
    let taking = async {
        sleep(Duration::from_millis(500)).await;
        // As a leader does, Java's too, for the owner's silence or death.
        kept.context.table.assign(&kept.lease().await, &"java".into()).await.unwrap()
    };

    let (outcome, taken) = tokio::join!(transaction, taking);

    assert_eq!(taken, Conditional::Applied);
    assert!(matches!(outcome, Err(TransactionError::Checkpoint(CheckpointError::LeaseLost))), "{outcome:?}");
    assert_eq!((kept.lease().await.checkpoint, kept.written().await), (Checkpoint::TrimHorizon, 0));
    assert!(kept.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_handoff_waits_for_the_outcome() {
    let kept = Kept::start().await;
    kept.local.faults().on(TRANSACT).times(1).delay(Duration::from_millis(1_500));
    let transaction = kept.transact(5, items(2));
    let handing_over = async {
        sleep(Duration::from_millis(500)).await;
        assert!(kept.context.table.begin_handoff(&kept.lease().await, &"w2".into()).await.unwrap().is_applied());
        kept.handle.give_up().await
    };

    let (outcome, given_up) = tokio::join!(transaction, handing_over);

    outcome.unwrap();
    assert!(given_up);
    let lease = kept.lease().await;
    assert_eq!((lease.checkpoint, lease.owner, kept.written().await), (at(5), Some("w2".into()), 2));
}
