//! CPU time and memory of a process and all its descendants, by /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Clock ticks in a second, as /proc counts them.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory that a process tree has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// User and system time, of descendants that have ended as well if their parents waited for them.
    pub(crate) cpu: Duration,
    /// Sum of the processes' peaks of resident memory.
    pub(crate) peak_bytes: u64,
    pub(crate) resident_bytes: u64,
}

impl Usage {
    /// Of the process and its descendants that live now.
    pub(crate) fn of(root: u32) -> anyhow::Result<Self> {
        let parents = parents()?;
        let mut usage = Self::default();
        for &process in parents.keys().filter(|process| descends(**process, root, &parents)) {
            // One that has ended meanwhile is in its parent's figures from now on.
            if let Ok(one) = Self::of_one(process) {
                usage.cpu += one.cpu;
                usage.peak_bytes += one.peak_bytes;
                usage.resident_bytes += one.resident_bytes;
            }
        }
        Ok(usage)
    }

    fn of_one(process: u32) -> anyhow::Result<Self> {
        let stat = Stat::of(process)?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let bytes = |name: &str| -> anyhow::Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok(Self { cpu: stat.cpu, peak_bytes: bytes("VmHWM:")?, resident_bytes: bytes("VmRSS:")? })
    }
}

fn descends(mut process: u32, root: u32, parents: &BTreeMap<u32, u32>) -> bool {
    while process != root {
        match parents.get(&process) {
            Some(&parent) => process = parent,
            None => return false,
        }
    }
    true
}

/// The parent of each process.
fn parents() -> anyhow::Result<BTreeMap<u32, u32>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(processes.filter_map(|process| Some((process, Stat::of(process).ok()?.parent))).collect())
}

/// The part of /proc/PID/stat that counts here.
struct Stat {
    parent: u32,
    cpu: Duration,
}

impl Stat {
    fn of(process: u32) -> anyhow::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The second field may contain blanks and ends with a parenthesis. After it: state, parent; user and system time of
        // the process, the 14th and 15th of all fields, and of its children that have ended, the 16th and 17th.
        let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("stat has numbers");
        let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
        Ok(Self { parent: u32::try_from(number(1)?)?, cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND) })
    }
}
