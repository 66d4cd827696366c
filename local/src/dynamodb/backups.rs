//! Point-in-time recovery: whether it is on, and since when. Nothing can be restored.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::unreadable;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// Days that changes are kept. docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PointInTimeRecoverySpecification.html
const DEFAULT_DAYS: u32 = 35;

/// The tables for which recovery is on.
#[derive(Debug, Default)]
pub(super) struct Backups {
    // Protects a map for the length of one lookup or change.
    enabled: Mutex<BTreeMap<String, Recovery>>,
}

#[derive(Clone, Copy, Debug)]
struct Recovery {
    since: Millis,
    days: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeRequest {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateRequest {
    table_name: String,
    point_in_time_recovery_specification: Specification,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Specification {
    point_in_time_recovery_enabled: bool,
    recovery_period_in_days: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    continuous_backups_description: Description,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    continuous_backups_status: &'static str,
    point_in_time_recovery_description: RecoveryDescription,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecoveryDescription {
    point_in_time_recovery_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_period_in_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_restorable_date_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_restorable_date_time: Option<Millis>,
}

impl Backups {
    pub(super) fn update(&self, engine: &dyn Engine, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let request: UpdateRequest = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        let specification = request.point_in_time_recovery_specification;
        let days = specification.recovery_period_in_days.unwrap_or(DEFAULT_DAYS);
        if !(1..=DEFAULT_DAYS).contains(&days) {
            return Err(Refusal::new(
                400,
                "com.amazon.coral.validate#ValidationException",
                &format!("RecoveryPeriodInDays must be between 1 and {DEFAULT_DAYS}, but is {days}"),
            ));
        }
        require_table(engine, &request.table_name)?;
        let mut enabled = self.lock();
        if specification.point_in_time_recovery_enabled {
            let since = enabled.get(&request.table_name).map_or(now, |recovery| recovery.since);
            enabled.insert(request.table_name.clone(), Recovery { since, days });
        } else {
            enabled.remove(&request.table_name);
        }
        Ok(answer(enabled.get(&request.table_name), now))
    }

    pub(super) fn describe(&self, engine: &dyn Engine, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        let request: DescribeRequest = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        require_table(engine, &request.table_name)?;
        Ok(answer(self.lock().get(&request.table_name), now))
    }

    /// The table was deleted.
    pub(super) fn forget(&self, table: &str) {
        self.lock().remove(table);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Recovery>> {
        // A map is whole even when a thread panicked between two of its changes.
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn require_table(engine: &dyn Engine, name: &str) -> Result<(), Refusal> {
    match engine.has_table(name)? {
        true => Ok(()),
        false => Err(Refusal::new(
            400,
            "com.amazonaws.dynamodb.v20120810#TableNotFoundException",
            &format!("Table not found: {name}"),
        )),
    }
}

fn answer(recovery: Option<&Recovery>, now: Millis) -> Vec<u8> {
    const DAY: Duration = Duration::from_secs(86_400);
    let description = RecoveryDescription {
        point_in_time_recovery_status: if recovery.is_some() { "ENABLED" } else { "DISABLED" },
        recovery_period_in_days: recovery.map(|recovery| recovery.days),
        earliest_restorable_date_time: recovery.map(|r| r.since.max(now.minus(DAY * r.days))),
        latest_restorable_date_time: recovery.map(|_| now),
    };
    let continuous_backups_description =
        Description { continuous_backups_status: "ENABLED", point_in_time_recovery_description: description };
    serde_json::to_vec(&Answer { continuous_backups_description }).expect("a plain struct always serializes")
}
