//! Resident memory of `kds tail`, `put` and `agent`, as the system counts it.

use std::{collections::HashSet, time::Duration};

use tokio::{process::Child, task::JoinHandle};

use crate::support::{Ended, World, ended, interrupt};

const MIB: usize = 1 << 20;
/// Bounds for records of up to 1 MiB, with their keys as large as a stream takes; of 10 MiB four answers come on top.
const BOUND_MIB: u64 = 64;
const LARGE_BOUND_MIB: u64 = BOUND_MIB + 4 * 10;

/// The maximum of a process's resident memory in MiB, once it has ended.
fn peak(child: &Child) -> JoinHandle<u64> {
    let status = format!("/proc/{}/status", child.id().unwrap());
    let read = move || {
        let status = std::fs::read_to_string(&status).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    tokio::spawn(async move {
        let mut kib = 0;
        // It never falls, and a process that has ended has none.
        while let Some(now) = read() {
            kib = now;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        kib.div_ceil(1_024)
    })
}

/// The number with which a record begins, in a line printed in any way.
fn number(line: &str) -> Option<&str> {
    line.get(line.find("xxxx")?.checked_sub(4)?..)?.get(..4)
}

impl World {
    /// Runs a command; returns its end and its memory in MiB.
    async fn measured(&self, arguments: &str) -> (Ended, u64) {
        let child = self.command(arguments).spawn().unwrap();
        let peak = peak(&child);
        let ended = ended(child).await;
        (ended, peak.await.unwrap())
    }

    /// Files of records of this size, in lines; each begins with its number.
    fn write_lines(&self, name: &str, records: usize, bytes: usize) {
        let line = |number: usize| format!("{number:04}{}\n", "x".repeat(bytes - 4));
        self.write(name, (0..records).map(line).collect::<String>());
    }

    async fn allow_large_records(&self) {
        let stream = self.kinesis().describe_stream_summary().stream_name("orders").send().await.unwrap();
        let arn = stream.stream_description_summary().unwrap().stream_arn().to_owned();
        self.kinesis().update_max_record_size().stream_arn(arn).max_record_size_in_kib(10_240).send().await.unwrap();
    }

    /// Follows a file of `records` until all are stored; returns the agent's memory in MiB.
    async fn followed(&self, records: usize, bytes: usize) -> u64 {
        std::fs::create_dir_all(self.path().join("log")).unwrap();
        self.write_lines("log/app.log", records, bytes);
        let pattern = self.path().join("log/app.log");
        let flow = format!(r#""filePattern": "{}", "kinesisStream": "orders""#, pattern.display());
        self.write("agent.json", format!(r#"{{"flows": [{{{flow}, "initialPosition": "START_OF_FILE"}}]}}"#));
        let agent = self.command("agent agent.json").spawn().unwrap();
        let peak = peak(&agent);
        self.until_file("agent.json.state", &format!("\"position\": {}", records * (bytes + 1))).await;
        interrupt(&agent);
        assert_eq!(ended(agent).await.code, 0);
        peak.await.unwrap()
    }

    /// Puts `records` of this size and prints them again.
    async fn put_and_tail(&self, records: usize, bytes: usize, bound: u64) {
        self.write_lines("a.log", records, bytes);
        let (put, peak) = self.measured("put orders a.log --no-aggregation").await;
        put.succeeds();
        let mut peaks = vec![("put", peak)];
        for output in ["raw", "text", "json"] {
            let arguments = format!("tail orders --from horizon --no-follow --output {output}");
            let (tail, peak) = self.measured(&arguments).await;
            // A request whose answer is late is sent again, and may be stored twice.
            let printed = tail.succeeds();
            let numbers: HashSet<&str> = printed.lines().filter_map(number).collect();
            assert_eq!(numbers.len(), records);
            peaks.push((output, peak));
        }
        println!("MiB, records of {} MiB: {peaks:?}", bytes.div_ceil(MIB));
        assert!(peaks.iter().all(|(_, mib)| *mib < bound), "{peaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn put_and_tail_keep_to_64_mib() {
    World::start().await.put_and_tail(32, MIB - 1_024, BOUND_MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_and_tail_of_records_of_10_mib_take_four_answers_more() {
    let world = World::start().await;
    world.allow_large_records().await;

    world.put_and_tail(6, 10 * MIB - 1_024, LARGE_BOUND_MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_keeps_to_64_mib() {
    let peak = World::start().await.followed(32, MIB - 1_024).await;

    println!("agent: {peak} MiB");
    assert!(peak < BOUND_MIB, "{peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_records_of_10_mib_takes_four_more() {
    let world = World::start().await;
    world.allow_large_records().await;

    let peak = world.followed(6, 10 * MIB - 1_024).await;

    println!("agent, 10 MiB: {peak} MiB");
    assert!(peak < LARGE_BOUND_MIB, "{peak} MiB");
}
