//! Indexes that take time to build: CREATING in descriptions, not to be read, until then.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// The indexes that are being built.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    takes: Duration,
    // Protects a map for the length of one lookup or change. Table and index to the time when the index is built.
    building: Mutex<BTreeMap<(String, String), Millis>>,
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
    pub(super) fn new(takes: Duration) -> Self {
        Self { takes, building: Mutex::default() }
    }

    /// Whether indexes take time at all.
    pub(super) fn take_time(&self) -> bool {
        !self.takes.is_zero()
    }

    /// Passes unless the request reads an index that is being built.
    pub(super) fn require_built(&self, body: &[u8], now: Millis) -> Result<(), Refusal> {
        let request: Request = serde_json::from_slice(body).unwrap_or_default();
        let message = format!("Cannot read from backfilling global secondary index: {}", request.index_name);
        match self.lock(now).get(&(request.table_name, request.index_name)) {
            Some(_) => Err(Refusal::new(400, "com.amazon.coral.validate#ValidationException", &message)),
            None => Ok(()),
        }
    }

    /// An UpdateTable succeeded; the indexes that it adds begin to be built.
    pub(super) fn begin(&self, body: &[u8], now: Millis) {
        let request: Request = serde_json::from_slice(body).unwrap_or_default();
        let mut building = self.lock(now);
        for create in request.global_secondary_index_updates.into_iter().filter_map(|update| update.create) {
            building.insert((request.table_name.clone(), create.index_name), now.plus(self.takes));
        }
    }

    /// Shows in a description of a table what is being built.
    pub(super) fn show(&self, answer: Vec<u8>, now: Millis) -> Vec<u8> {
        let building = self.lock(now);
        if building.is_empty() {
            return answer;
        }
        let Ok(mut described) = serde_json::from_slice::<Value>(&answer) else { return answer };
        let key = if described.get("Table").is_some() { "Table" } else { "TableDescription" };
        let table = &mut described[key];
        let name = table["TableName"].as_str().unwrap_or_default().to_owned();
        let mut is_building = false;
        for index in table["GlobalSecondaryIndexes"].as_array_mut().into_iter().flatten() {
            let index_name = index["IndexName"].as_str().unwrap_or_default().to_owned();
            if building.contains_key(&(name.clone(), index_name)) {
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

    fn lock(&self, now: Millis) -> MutexGuard<'_, BTreeMap<(String, String), Millis>> {
        // A map is whole even when a thread panicked between two of its changes.
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        building.retain(|_, until| *until > now);
        building
    }
}
