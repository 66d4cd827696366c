//! Reads of the lease table that take more than one call.

use std::{
    mem,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::{Call, DynamoDbLeaseTable, INDEX, item, s};
use crate::{error::TableError, event::chain, locked::locked, model::WorkerId, table::item::Item, time::now};

/// Pause before an index that could not be queried is queried again.
const QUERY_RETRY: Duration = Duration::from_secs(10);
/// Minimum time between two scans in place of a query: each reads the whole table.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Time of the next query; None unless the last one failed.
    query_at: Option<Instant>,
    /// Time of the next scan of the table in its place.
    scan_at: Option<Instant>,
}

impl DynamoDbLeaseTable {
    /// All items of a scan of a table.
    pub(super) async fn scan_all(&self, table: &str, scan: ScanFluentBuilder) -> Result<Vec<Item>, TableError> {
        let items: Result<Vec<Item>, _> = scan.table_name(table).into_paginator().items().send().collect().await;
        items.map_err(|error| Call { action: "dynamodb:Scan", table }.failed(error))
    }

    /// From the index, or by a scan while the index cannot be queried: slower and dearer, but a worker must find its
    /// leases. Waits if it scanned a moment ago.
    pub(super) async fn items_owned_by(&self, owner: &WorkerId) -> Result<Vec<Item>, TableError> {
        if locked(&self.index).query_at.is_none_or(|at| at <= now()) {
            match self.query_index(owner).await {
                Ok(items) => {
                    if mem::take(&mut *locked(&self.index)).query_at.is_some() {
                        info!(table = self.table, index = INDEX, "the index can be queried again");
                    }
                    return Ok(items);
                }
                Err(error) => {
                    // Throttling may be over at once.
                    let pause = if let TableError::Throttled { .. } = error { Duration::ZERO } else { QUERY_RETRY };
                    if locked(&self.index).query_at.replace(now() + pause).is_none() {
                        let error = chain(&error);
                        warn!(table = self.table, index = INDEX, error, "cannot query the index, scanning the table");
                    }
                }
            }
        }
        let now = now();
        let scan_at = locked(&self.index).scan_at.unwrap_or(now).max(now);
        locked(&self.index).scan_at = Some(scan_at + SCAN_INTERVAL);
        sleep_until(scan_at.into()).await;
        let scan = self.client.scan().filter_expression("#o = :o").expression_attribute_names("#o", item::LEASE_OWNER);
        self.scan_all(&self.table, scan.expression_attribute_values(":o", s(owner.as_str()))).await
    }

    async fn query_index(&self, owner: &WorkerId) -> Result<Vec<Item>, TableError> {
        let query = self.client.query().table_name(&self.table).index_name(INDEX);
        let query = query
            .key_condition_expression("#o = :o")
            .expression_attribute_names("#o", item::LEASE_OWNER)
            .expression_attribute_values(":o", s(owner.as_str()));
        let items: Result<Vec<Item>, _> = query.into_paginator().items().send().collect().await;
        items.map_err(|error| self.call("dynamodb:Query").failed(error))
    }
}
