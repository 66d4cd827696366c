//! The seam to what keeps tables and items: our own core, or dynoxide with the feature of that name.

use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::consumed::ConsumedCapacity;
use super::core::Core;
use crate::clock::ServiceClock;
use crate::refusal::Refusal;
use crate::timestamp::Millis;

/// Tables and items.
pub(crate) trait Engine: Debug + Send + Sync {
    /// Performs one operation, in one step.
    fn perform(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal>;

    /// True if there is such a table.
    fn has_table(&self, name: &str) -> Result<bool, Refusal>;

    /// Units that all operations have consumed, as far as it is known.
    fn consumed(&self) -> ConsumedCapacity;
}

/// Makes empty engines of one kind. By default of our own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineKind(pub(super) fn(&ServiceClock, Limited) -> Box<dyn Engine>);

impl Default for EngineKind {
    fn default() -> Self {
        Self(|_clock, Limited(is_limited)| {
            let core = if is_limited { Core::with_limits() } else { Core::default() };
            Box::new(Own { core: Mutex::new(core) })
        })
    }
}

/// True for an engine that enforces the limits of partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limited(pub(crate) bool);

/// Our own core.
#[derive(Debug)]
struct Own {
    // Protects all tables for the length of one operation.
    core: Mutex<Core>,
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // Operations plan first and then write, so that the tables are whole even when a thread panicked.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Own {
    fn perform(&self, operation: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, Refusal> {
        self.lock().perform(operation, body, now)
    }

    fn has_table(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.lock().has_table(name))
    }

    fn consumed(&self) -> ConsumedCapacity {
        self.lock().consumed()
    }
}
