//! Indexes that take time to build: CREATING in descriptions, and unreadable until then, or for longer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::Lags;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// The indexes that are being built, or are built but cannot be read yet.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    lags: Lags,
    // Protects a map for the length of one lookup or change. By table and index.
    young: Mutex<BTreeMap<(String, String), Young>>,
}

#[derive(Clone, Copy, Debug)]
struct Young {
    built_at: Millis,
    readable_at: Millis,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    table_name: String,
    index_name: String,
    global_secondary_index_updates: Vec<Update>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    create: Option<Create>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Create {
    index_name: String,
}

impl Indexes {
    pub(super) fn new(lags: Lags) -> Self {
        Self { lags, young: Mutex::default() }
    }

    /// True if indexes take time.
    pub(super) fn take_time(&self) -> bool {
        !(self.lags.indexes.is_zero() && self.lags.active_indexes.is_zero())
    }

    /// Passes unless the request reads an index that cannot be read yet.
    pub(super) fn require_readable(&self, body: &[u8], now: Millis) -> Result<(), Refusal> {
        let request: Request = serde_json::from_slice(body).unwrap_or_default();
        let index = request.index_name.clone();
        let Some(young) = self.lock(now).get(&(request.table_name, request.index_name)).copied() else { return Ok(()) };
        let message = if young.built_at > now {
            format!("Cannot read from backfilling global secondary index: {index}")
        } else {
            format!("The table does not have the specified index: {index}")
        };
        Err(Refusal::new(400, "com.amazon.coral.validate#ValidationException", &message))
    }

    /// An UpdateTable succeeded; the indexes that it adds begin to be built.
    pub(super) fn begin(&self, body: &[u8], now: Millis) {
        let request: Request = serde_json::from_slice(body).unwrap_or_default();
        let built_at = now.plus(self.lags.indexes);
        let young = Young { built_at, readable_at: built_at.plus(self.lags.active_indexes) };
        let mut indexes = self.lock(now);
        for create in request.global_secondary_index_updates.into_iter().filter_map(|update| update.create) {
            indexes.insert((request.table_name.clone(), create.index_name), young);
        }
    }

    /// Shows in a description of a table what is being built.
    pub(super) fn show(&self, answer: Vec<u8>, now: Millis) -> Vec<u8> {
        let young = self.lock(now);
        if young.is_empty() {
            return answer;
        }
        let Ok(mut described) = serde_json::from_slice::<Value>(&answer) else { return answer };
        let key = if described.get("Table").is_some() { "Table" } else { "TableDescription" };
        let table = &mut described[key];
        let name = table["TableName"].as_str().unwrap_or_default().to_owned();
        let mut is_building = false;
        for index in table["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
            let index_name = index["IndexName"].as_str().unwrap_or_default().to_owned();
            if young.get(&(name.clone(), index_name)).is_some_and(|young| young.built_at > now) {
                index["IndexStatus"] = "CREATING".into();
                index["Backfilling"] = true.into();
                is_building = true;
            }
        }
        if is_building {
            table["TableStatus"] = "UPDATING".into();
        }
        described.to_string().into_bytes()
    }

    /// The table was deleted.
    pub(super) fn forget(&self, table: &str, now: Millis) {
        self.lock(now).retain(|(name, _), _| name != table);
    }

    fn lock(&self, now: Millis) -> MutexGuard<'_, BTreeMap<(String, String), Young>> {
        // A map is whole even when a thread panicked between two of its changes.
        let mut young = self.young.lock().unwrap_or_else(PoisonError::into_inner);
        young.retain(|_, index| index.readable_at > now);
        young
    }
}
