//! Free text of a child, passed on to the log.

use std::time::Duration;

use tokio::{process::ChildStderr, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, info, warn};

use super::lines::Lines;

/// Maximum length of a line in the log.
const MAX_LINE: usize = 8 << 10;
/// Time for what is left to be read after the child's end: its own children may hold the pipe open.
const REST: Duration = Duration::from_secs(1);
/// First line of an uncaught error in Python. Its client answers as if all were well, and the records are lost.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// The reader of a child's standard error.
#[derive(Debug)]
pub(crate) struct Transcript(AbortOnDropHandle<()>);

impl Transcript {
    pub(crate) fn start(stderr: ChildStderr) -> Self {
        let lines = Lines::new(stderr, MAX_LINE);
        Self(AbortOnDropHandle::new(tokio::spawn(log(lines).in_current_span())))
    }

    /// Waits a moment for the rest.
    pub(crate) async fn finish(&mut self) {
        // Either way there is nothing more to log.
        let _ = timeout(REST, &mut self.0).await;
    }
}

async fn log(mut lines: Lines<ChildStderr>) {
    while let Ok(Some(line)) = lines.next().await {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.starts_with(TRACEBACK) {
            warn!(
                "{line} (a Python or Ruby client confirms the batch in spite of an error that the application does not catch)"
            );
        } else {
            info!("{line}");
        }
    }
}
