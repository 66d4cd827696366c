//! Parts that the benches share: a clock of CPU time, a canned Kinesis, and how results are printed.
//!
//! Machines are shared and noisy, so each bench runs what is measured and what it is measured against in turn, in one
//! process and thread, and takes the cheapest round of each.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

pub mod by_hand;
pub mod canned;
mod canned_events;
pub mod canned_shards;
pub mod consuming;
pub mod floor;
pub mod pages;
pub mod read_floor;
pub mod told;
pub mod window;

/// CPU time that this process has used.
pub fn cpu_nanos() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}

/// CPU time that this thread has used.
pub fn thread_cpu_nanos() -> u64 {
    nanos(ClockId::ThreadCPUTime)
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Memory that this process takes up now.
///
/// # Panics
/// A system without `/proc`.
pub fn resident_bytes() -> usize {
    status_bytes("VmRSS:")
}

/// Maximum memory that this process has taken up until now.
///
/// # Panics
/// A system without `/proc`.
pub fn peak_bytes() -> usize {
    status_bytes("VmHWM:")
}

fn status_bytes(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("there is such a line");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// Prints one measure as a line of JSON.
pub fn report(measure: &str, value: f64, unit: &str) {
    println!("{{\"measure\":\"{measure}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
}

/// CPU nanoseconds per record of two ways to do the same, in the cheapest of `rounds` rounds each.
pub async fn compare(rounds: usize, records: usize, ours: impl AsyncFnMut(), floor: impl AsyncFnMut()) -> (f64, f64) {
    compare_by(cpu_nanos, rounds, records, ours, floor).await
}

/// The same by another clock.
pub async fn compare_by(
    clock: impl Fn() -> u64,
    rounds: usize,
    records: usize,
    mut ours: impl AsyncFnMut(),
    mut floor: impl AsyncFnMut(),
) -> (f64, f64) {
    let (mut best_ours, mut best_floor) = (f64::MAX, f64::MAX);
    for _ in 0..rounds {
        best_floor = best_floor.min(per_record(&clock, records, &mut floor).await);
        best_ours = best_ours.min(per_record(&clock, records, &mut ours).await);
    }
    (best_ours, best_floor)
}

async fn per_record(clock: &impl Fn() -> u64, records: usize, work: &mut impl AsyncFnMut()) -> f64 {
    let begun = clock();
    work().await;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
    let each = (clock() - begun) as f64 / records as f64;
    each
}

/// `100 B`, `1 KiB`, …
pub fn size(bytes: usize) -> String {
    let mut text = String::new();
    let written =
        if bytes.is_multiple_of(1024) { write!(text, "{} KiB", bytes / 1024) } else { write!(text, "{bytes} B") };
    written.expect("text takes everything");
    text
}

/// A number given on the command line, for shorter or longer runs.
pub fn argument(default: usize) -> usize {
    std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(default)
}
