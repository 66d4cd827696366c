//! Locks that are held for a few lines, whose data no panic leaves half-changed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The data is whole even when a thread has panicked between two of its changes.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
