//! What a run shows: a progress bar on a terminal, plain lines otherwise, and logs and reports between them.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use super::tally::{Counts, Tally};

/// Between two plain lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Between two changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Writes to the terminal without disturbing the progress bar. Progress and logs go to stderr, reports to stdout.
#[derive(Debug, Clone, Default)]
pub struct Console {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Console {
    /// For a run with this many trades, None if unknown.
    pub fn new(trades: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self::default();
        }
        let bar = trades.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} trades processed {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar: Some(bar), quiet: false }
    }

    /// Shows no reports.
    pub fn quiet() -> Self {
        Self { bar: None, quiet: true }
    }

    /// Prints a report.
    pub fn print(&self, text: &str) {
        if self.quiet {
            return;
        }
        let print = || {
            let mut out = io::stdout().lock();
            // A reader that went away must not end the run.
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows progress until dropped.
    pub async fn show_progress(self, tally: Arc<Tally>) {
        let mut before = Counts::default();
        loop {
            tokio::time::sleep(if self.bar.is_some() { BAR_EVERY } else { LINE_EVERY }).await;
            let now = tally.counts();
            if now != before {
                self.show(now);
                before = now;
            }
        }
    }

    fn show(&self, counts: Counts) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(counts.processed);
                bar.set_message(format!("({} put)", counts.put));
            }
            None => tracing::info!(put = counts.put, processed = counts.processed, "progress"),
        }
    }

    /// Takes the progress bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One log line on its way to stderr.
#[derive(Debug)]
pub struct LogLine {
    console: Console,
    line: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let write = || {
            // Nobody can be told that stderr is gone.
            let _ = io::stderr().write_all(&self.line);
        };
        match &self.console.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl<'a> MakeWriter<'a> for Console {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine { console: self.clone(), line: Vec::new() }
    }
}
