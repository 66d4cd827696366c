//! Ends of tasks.

use tokio::task::JoinError;

/// A panic of the library's own must not go unnoticed.
pub(crate) fn propagate(failure: JoinError) {
    if let Ok(panic) = failure.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}
