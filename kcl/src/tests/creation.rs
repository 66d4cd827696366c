//! Leases of a stream's shards that are created while the table throttles.

use std::sync::Arc;

use kinesis_local::LocalAws;

use super::simulation::QuietStream;
use crate::{
    clock::ServiceClock,
    context::Context,
    coordination::shard_sync::{SyncError, sync},
    error::TableError,
    model::LegacyTables,
    stream::Catalog,
    table::{LeaseTable, dynamodb::DynamoDbLeaseTable, tests::TABLE},
    worker::Worker,
};

/// Leases after a leader synced a stream of 40 shards, the first `throttled` calls to create one of them throttled.
async fn synced(throttled: u64) -> (Result<bool, SyncError>, usize) {
    let local = LocalAws::start().await;
    let aws = local.sdk_config();
    let table: LeaseTable =
        DynamoDbLeaseTable::new(&aws, ServiceClock::new(&aws), TABLE.to_owned(), LegacyTables::of(TABLE), true).into();
    table.prepare().await.unwrap();
    let builder = Worker::builder(&super::without_services(), "application", "stream");
    let (settings, events, catalog) = builder.into_parts_on(Arc::new(QuietStream::new(40)));
    let context = Context::new(settings, events, catalog, table);
    let Catalog::Single(stream) = &context.catalog else { unreachable!("one stream is configured") };
    stream.describe().await.unwrap();
    local.faults().on("dynamodb:PutItem").times(throttled).throttle();

    let outcome = sync(&context, stream, &[]).await;

    (outcome, context.table.scan().await.unwrap().leases.len())
}

#[tokio::test(start_paused = true)]
async fn creates_all_leases_although_the_table_throttles_many_calls() {
    // Three attempts each.
    let (outcome, leases) = synced(60).await;

    assert!(matches!(outcome, Ok(true)), "{outcome:?}");
    assert_eq!(leases, 40);
}

#[tokio::test(start_paused = true)]
async fn gives_up_for_now_when_the_table_throttles_all_calls() {
    let (outcome, leases) = synced(u64::MAX).await;

    assert!(matches!(outcome, Err(SyncError::Write(TableError::Throttled { .. }))), "{outcome:?}");
    assert_eq!(leases, 0);
}
