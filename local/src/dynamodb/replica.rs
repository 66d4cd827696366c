//! Eventual consistency: a second engine that lags behind the first by a set time.
//!
//! Every write that succeeded is repeated in order on the replica once it is old enough. Reads that do not ask for
//! consistency, and all reads of indexes, are answered from there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tracing::warn;

use super::READS;
use super::engine::Engine;
use super::statements::Verb;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// Maximum number of pending writes. Beyond it the oldest are repeated early.
const MAX_WAITING: usize = 10_000;

/// An engine that lags behind.
#[derive(Debug)]
pub(super) struct Replica {
    lag: Duration,
    engine: Box<dyn Engine>,
    // Protects the order of the writes: it is held while a write is performed on the first engine.
    waiting: Mutex<VecDeque<Write>>,
}

#[derive(Debug)]
struct Write {
    at: Millis,
    operation: String,
    body: Vec<u8>,
}

/// Consistency that a request asks for. BatchGetItem asks per table.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Consistency {
    consistent_read: bool,
    index_name: Option<serde::de::IgnoredAny>,
    request_items: std::collections::BTreeMap<String, PartConsistency>,
    statement: String,
    statements: Vec<PartConsistency>,
}

/// Consistency that a request asks for, of one table, or of one statement of a batch.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PartConsistency {
    consistent_read: bool,
    statement: String,
}

impl Consistency {
    /// True if the request is a read, none of it consistent.
    fn is_eventual(&self, operation: &str) -> bool {
        let selects = |statement: &str| Verb::of(statement) == Some(Verb::Select);
        match operation {
            "GetItem" | "Query" | "Scan" | "BatchGetItem" => {
                let is_consistent = self.consistent_read && self.index_name.is_none();
                !is_consistent && !self.request_items.values().any(|table| table.consistent_read)
            }
            "ExecuteStatement" => selects(&self.statement) && !self.consistent_read,
            "BatchExecuteStatement" => {
                self.statements.iter().all(|part| selects(&part.statement) && !part.consistent_read)
            }
            _ => false,
        }
    }
}

impl Replica {
    pub(super) fn new(lag: Duration, engine: Box<dyn Engine>) -> Self {
        Self { lag, engine, waiting: Mutex::default() }
    }

    /// Read units that its answers consumed.
    pub(super) fn read_units(&self) -> f64 {
        self.engine.consumed().read_units
    }

    /// Answers a read from the past, when the request allows it.
    pub(super) fn read(&self, operation: &str, body: &[u8], now: Millis) -> Option<Result<Vec<u8>, Refusal>> {
        let consistency: Consistency = serde_json::from_slice(body).unwrap_or_default();
        if !consistency.is_eventual(operation) {
            return None;
        }
        let mut waiting = self.lock();
        while let Some(write) = waiting.pop_front_if(|write| write.at.plus(self.lag) <= now) {
            self.repeat(&write);
        }
        drop(waiting);
        Some(self.engine.perform(operation, body, now))
    }

    /// Performs a write on the first engine, and remembers it for this one if it succeeded.
    pub(super) fn write(
        &self,
        operation: &str,
        body: &[u8],
        now: Millis,
        perform: impl FnOnce() -> Result<Vec<u8>, Refusal>,
    ) -> Result<Vec<u8>, Refusal> {
        let mut waiting = self.lock();
        let answer = perform();
        if answer.is_ok() && !READS.contains(&operation) {
            waiting.push_back(Write { at: now, operation: operation.to_owned(), body: body.to_owned() });
            if waiting.len() > MAX_WAITING
                && let Some(write) = waiting.pop_front()
            {
                self.repeat(&write);
            }
        }
        answer
    }

    /// After this the replica is as the first engine, for a change of tables on both.
    pub(super) fn catch_up(&self) -> &dyn Engine {
        for write in self.lock().drain(..) {
            self.repeat(&write);
        }
        self.engine.as_ref()
    }

    fn repeat(&self, write: &Write) {
        if let Err(refusal) = self.engine.perform(&write.operation, &write.body, write.at) {
            let body = String::from_utf8_lossy(&refusal.body);
            warn!(operation = write.operation, %body, "a write could not be repeated on the lagging replica");
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Write>> {
        // The writes are whole even when a thread panicked between two of their changes.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
