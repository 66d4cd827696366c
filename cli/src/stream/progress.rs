//! SHELL: waits for a change of a stream, with a spinner on a terminal and a line at the end.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::facts;
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    stop, text,
};

/// Pause between two looks: ten calls a second are allowed in an account.
const PAUSE: Duration = Duration::from_millis(500);
/// A stream that does not exist yet, right after it was asked for.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the stream is ACTIVE.
pub(super) async fn until_active(aws: &Aws, stream: &StreamName) -> Result<(), Failure> {
    wait(aws, stream, |looked, waited| match looked {
        Ok((status, open)) if status == "ACTIVE" => {
            Some(Ok(format!("stream {stream} is ACTIVE with {}", text::counted(open, "open shard"))))
        }
        Ok(_) => None,
        Err(failure) if waited > APPEARS_WITHIN => Some(Err(failure)),
        Err(_) => None,
    })
    .await
}

/// Waits until the stream does not exist.
pub(super) async fn until_gone(aws: &Aws, stream: &StreamName) -> Result<(), Failure> {
    wait(aws, stream, |looked, _| match looked {
        Ok(_) => None,
        Err(failure) if failure.to_string().contains("does not exist") => {
            Some(Ok(format!("stream {stream} is deleted")))
        }
        Err(failure) => Some(Err(failure)),
    })
    .await
}

/// Status and open shards, or why they are unknown.
type Look = Result<(String, u64), Failure>;

async fn wait(
    aws: &Aws,
    stream: &StreamName,
    verdict: impl Fn(Look, Duration) -> Option<Result<String, Failure>>,
) -> Result<(), Failure> {
    let (begun, stop) = (Instant::now(), stop::on_signal()?);
    let spinner = if io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    loop {
        let looked = facts::summary(aws, stream).await;
        let looked = looked.map(|it| (it.stream_status.to_string(), u64::from(it.open_shard_count.unsigned_abs())));
        if let Ok((status, open)) = &looked {
            let (open, time) = (text::counted(*open, "open shard"), text::duration(begun.elapsed()));
            spinner.set_message(format!("{status}, {open}, {time}"));
            spinner.tick();
        }
        if let Some(verdict) = verdict(looked, begun.elapsed()) {
            spinner.finish_and_clear();
            let line = verdict?;
            return crate::output::print(false, &(), || format!("{line} after {}\n", text::duration(begun.elapsed())));
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stop.cancelled() => {
                let what = format!("the change of stream {stream} goes on without being watched");
                return Err(Failure::new(what, format!("kds stream {stream} shows its state")));
            }
        }
    }
}
