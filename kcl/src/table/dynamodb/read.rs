//! Reads of the lease table that take more than one call.

use std::{
    mem,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;
use tracing::{info, warn};

use super::{Call, DynamoDbLeaseStore, INDEX, item, s};
use crate::{error::StoreError, event::chain, model::lease::WorkerId, table::item::Item, time::now};

/// Pause before an index that could not be queried is queried again.
const QUERY_RETRY: Duration = Duration::from_secs(10);
/// Minimum time between two scans in place of a query: each reads the whole table.
const SCAN_INTERVAL: Duration = Duration::from_secs(2);

/// The owner index.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// When it may be queried again; None unless it could not be queried.
    query_at: Option<Instant>,
    /// When the table may be scanned in its place.
    scan_at: Option<Instant>,
}

impl DynamoDbLeaseStore {
    /// A scan of the table or of one segment, page by page, optionally only of the leases of one owner.
    pub(super) async fn scan_items(
        &self,
        segment: Option<(i32, i32)>,
        owner: Option<&WorkerId>,
    ) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let mut scan = self.client.scan().table_name(&self.table).set_exclusive_start_key(start);
            if let Some((segment, total)) = segment {
                scan = scan.segment(segment).total_segments(total);
            }
            if let Some(owner) = owner {
                scan = scan.filter_expression("#o = :o").expression_attribute_names("#o", item::LEASE_OWNER);
                scan = scan.expression_attribute_values(":o", s(owner.as_str()));
            }
            let page = scan.send().await.map_err(|error| self.call("dynamodb:Scan").failed(error))?;
            items.extend(page.items.unwrap_or_default());
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => start = Some(key),
                _ => return Ok(items),
            }
        }
    }

    /// A whole other table, which is small.
    pub(super) async fn scan_table(&self, table: &str) -> Result<Vec<Item>, StoreError> {
        let scan = self.client.scan().table_name(table).into_paginator().items().send();
        let items: Result<Vec<Item>, _> = scan.collect().await;
        items.map_err(|error| Call { action: "dynamodb:Scan", table }.failed(error))
    }

    /// One page of the table, of 100 items at most.
    pub(super) async fn first_items(&self) -> Result<Vec<Item>, StoreError> {
        let scan = self.client.scan().table_name(&self.table).limit(100);
        let page = scan.send().await.map_err(|error| self.call("dynamodb:Scan").failed(error))?;
        Ok(page.items.unwrap_or_default())
    }

    /// From the index, or from the table while the index cannot be queried, for whatever reason: slower and dearer, but a
    /// worker that cannot find its leases is of no use. Waits if it has scanned a moment ago.
    pub(super) async fn items_owned_by(&self, owner: &WorkerId) -> Result<Vec<Item>, StoreError> {
        if self.index().query_at.is_none_or(|at| at <= now()) {
            match self.query_index(owner).await {
                Ok(items) => {
                    if mem::take(&mut *self.index()).query_at.is_some() {
                        info!(table = self.table, index = INDEX, "the index can be queried again");
                    }
                    return Ok(items);
                }
                Err(error) => {
                    // Throttling may be over at once.
                    let pause = if let StoreError::Throttled { .. } = error { Duration::ZERO } else { QUERY_RETRY };
                    if self.index().query_at.replace(now() + pause).is_none() {
                        let error = chain(&error);
                        warn!(table = self.table, index = INDEX, error, "cannot query the index, scanning the table");
                    }
                }
            }
        }
        let now = now();
        let scan_at = self.index().scan_at.unwrap_or(now).max(now);
        self.index().scan_at = Some(scan_at + SCAN_INTERVAL);
        sleep_until(scan_at.into()).await;
        self.scan_items(None, Some(owner)).await
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn query_index(&self, owner: &WorkerId) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let query = self.client.query().table_name(&self.table).index_name(INDEX).set_exclusive_start_key(start);
            let query = query
                .key_condition_expression("#o = :o")
                .expression_attribute_names("#o", item::LEASE_OWNER)
                .expression_attribute_values(":o", s(owner.as_str()));
            let page = query.send().await.map_err(|error| self.call("dynamodb:Query").failed(error))?;
            items.extend(page.items.unwrap_or_default());
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => start = Some(key),
                _ => return Ok(items),
            }
        }
    }
}
