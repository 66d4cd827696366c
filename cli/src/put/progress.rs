//! A progress bar on a terminal: bytes of the input with rate and remaining time where its size is known.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

const SIZED: &str = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}, {eta} left";
const UNSIZED: &str = "{spinner} {bytes} {bytes_per_sec} {msg}";
const TICK: Duration = Duration::from_millis(200);

/// A bar on stderr if that is a terminal, else nothing.
pub(crate) fn bar(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), SIZED),
        None => (ProgressBar::no_length(), UNSIZED),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}
