//! The output of a run: a progress bar on a terminal, lines of progress otherwise, and logs and reports between them.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::Arc,
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use super::tally::{Counts, Tally};

/// Interval between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Interval between two changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Writes to the terminal without disturbing the progress bar. Progress and logs go to stderr, reports to stdout.
#[derive(Debug, Clone)]
pub struct Console {
    bar: Option<ProgressBar>,
    reports: bool,
}

impl Console {
    /// A console with a progress bar if stderr is a terminal.
    #[expect(clippy::new_without_default, reason = "what it shows depends on the terminal")]
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} trades processed {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, reports: true }
    }

    /// A console without a progress bar and without reports.
    pub fn quiet() -> Self {
        Self { bar: None, reports: false }
    }

    /// Leaves out the reports.
    #[must_use]
    pub fn without_reports(self) -> Self {
        Self { reports: false, ..self }
    }

    /// Filter for the logs: warnings, and progress where no bar shows it.
    pub fn log_filter(&self) -> &'static str {
        if self.bar.is_some() { "warn" } else { "warn,examples=info" }
    }

    /// Sets the number of trades at which the progress bar is full.
    pub fn expect(&self, trades: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(trades);
        }
    }

    /// Prints a report on the way, if reports are shown.
    pub fn report(&self, text: &str) {
        if self.reports {
            self.print(text);
        }
    }

    /// Prints to stdout.
    pub fn print(&self, text: &str) {
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
                bar.set_message(format!("({} put)", HumanCount(counts.put)));
            }
            None => tracing::info!(put = counts.put, processed = counts.processed, "progress"),
        }
    }

    /// Removes the progress bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A log line that is written to stderr when dropped.
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
            // Without stderr there is nowhere to report that.
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
