//! Signals that end a command in good order: Ctrl-C and, on Unix, SIGTERM. The second one ends it at once.

use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Exit code after a second signal: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled at the first signal.
pub(crate) fn on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let deaf = |error| Failure::new("signals cannot be listened to", error);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let mut signals = signal(kind).map_err(deaf)?;
            let stop = stop.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    note(&stop);
                }
            });
        }
    }
    #[cfg(not(unix))]
    {
        let _ = deaf;
        let stop = stop.clone();
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                note(&stop);
            }
        });
    }
    Ok(stop)
}

fn note(stop: &CancellationToken) {
    if stop.is_cancelled() {
        std::process::exit(INTERRUPTED);
    }
    stop.cancel();
}
