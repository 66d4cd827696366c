//! Lines that a worker's log must not contain.

use std::path::Path;

use anyhow::Context as _;

/// Parts of lines that mean that something written by another worker was not understood.
const NOT_UNDERSTOOD: [&str; 6] = [
    "eserializ",
    "NullPointerException",
    "ClassCastException",
    "NumberFormatException",
    "IllegalArgumentException",
    "malformed",
];

/// Part of a line that the SDK of KCL 1.x logs, to which `/dev/null` is no file of profiles. It says nothing of items.
const NO_PROFILES: &str = "AWS credential profiles file not found";

/// Lines of the log that tell of items that cannot be read.
pub(super) fn check_java_log(log: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let bad = |line: &&str| NOT_UNDERSTOOD.iter().any(|part| line.contains(part)) && !line.contains(NO_PROFILES);
    Ok(text.lines().filter(bad).take(5).map(str::to_owned).collect())
}
