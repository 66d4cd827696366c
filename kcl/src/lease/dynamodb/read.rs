//! Reads of the lease table that take more than one call.

use std::sync::atomic::Ordering;

use tracing::warn;

use super::{Call, DynamoDbLeaseStore, INDEX, item, s, table};
use crate::lease::{WorkerId, item::Item, store::StoreError};

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

    /// From the index if it can be used, else from the table.
    pub(super) async fn items_owned_by(&self, owner: &WorkerId) -> Result<Vec<Item>, StoreError> {
        if !self.query_denied.load(Ordering::Relaxed) && self.index_ready().await? {
            match self.query_index(owner).await {
                Err(StoreError::AccessDenied { action, .. }) => {
                    // Slower and dearer, but a worker that cannot find its leases is of no use.
                    warn!(
                        table = self.table,
                        index = INDEX,
                        action,
                        "permission is missing, scanning the table instead"
                    );
                    self.query_denied.store(true, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        self.scan_items(None, Some(owner)).await
    }

    pub(super) async fn query_index(&self, owner: &WorkerId) -> Result<Vec<Item>, StoreError> {
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

    pub(super) async fn index_ready(&self) -> Result<bool, StoreError> {
        if !self.index_ready.load(Ordering::Relaxed) {
            let ready = table::index_is_ready(&self.client, &self.table).await?;
            self.index_ready.store(ready, Ordering::Relaxed);
        }
        Ok(self.index_ready.load(Ordering::Relaxed))
    }
}
