//! A rehearsal: the child goes through scripted lives, without any AWS, and what is wrong with it is reported.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use kcl::{Checkpoint, Position, Record, RecordBatch};

use crate::{
    child::{Answer, Child, ChildError, Launcher, store::Store},
    daemon,
    executable::ExecutableError,
    settings::Settings,
    wire::Action,
};

const SHARD: &str = "shardId-000000000000";
/// Maximum time for the answer to an action of a rehearsal.
const MAX_CALL_LIMIT: Duration = Duration::from_secs(60);

/// Steps of a rehearsal, with what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Report {
    lines: Vec<String>,
    has_failed: bool,
}

impl Report {
    /// True if nothing was wrong.
    pub fn is_good(&self) -> bool {
        !self.has_failed
    }

    /// A line for each step.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    fn good(&mut self, step: &str) {
        self.lines.push(format!("ok      {step}"));
    }

    fn remark(&mut self, text: &str) {
        self.lines.push(format!("remark  {text}"));
    }

    fn bad(&mut self, step: &str, error: &str) {
        self.has_failed = true;
        self.lines.push(format!("FAILED  {step}: {error}"));
    }

    fn step(&mut self, step: &str, outcome: Result<Answer, ChildError>) -> Option<Answer> {
        match outcome {
            Ok(answer) => {
                self.good(step);
                Some(answer)
            }
            Err(error) => {
                self.bad(step, &error.to_string());
                None
            }
        }
    }
}

/// Plays two lives: one to the end of a shard, one that is stopped. `data` is that of the records.
///
/// # Errors
/// The program cannot be found.
pub async fn rehearse(settings: &Settings, data: &[u8]) -> Result<Report, ExecutableError> {
    let mut settings = settings.clone();
    settings.call_limit = settings.call_limit.min(MAX_CALL_LIMIT);
    let launcher = daemon::launcher(&settings)?;
    let mut report = Report::default();
    life(&launcher, &mut report, data, &Checkpoint::TrimHorizon, &[Action::ShardEnded]).await;
    let stored = position(2, 0).map_or(Checkpoint::TrimHorizon, Checkpoint::At);
    life(&launcher, &mut report, data, &stored, &[Action::ShutdownRequested, Action::LeaseLost]).await;
    launcher.all_ended().await;
    Ok(report)
}

async fn life(launcher: &Launcher, report: &mut Report, data: &[u8], start: &Checkpoint, last: &[Action]) {
    let child = match launcher.start(SHARD).await {
        Ok(child) => child,
        Err(error) => return report.bad("start", &error.to_string()),
    };
    let list = Arc::new(Mutex::new(Vec::new()));
    let store = Store::Rehearsal(Arc::clone(&list));
    if play(&child, report, data, start, last, &store).await.is_some() {
        drop(child);
        let checkpoints = list.lock().unwrap_or_else(PoisonError::into_inner).len();
        if checkpoints == 0 {
            report.remark("it made no checkpoint of records: after a restart all of them come again");
        }
    }
}

async fn play(
    child: &Child,
    report: &mut Report,
    data: &[u8],
    start: &Checkpoint,
    last: &[Action],
    store: &Store,
) -> Option<()> {
    report.step(&format!("initialize at {start}"), child.initialize(SHARD, start).await)?;
    for batch in [batch(&[(3, 0)], data), batch(&[(4, 0), (4, 1), (5, 0)], data)] {
        let step = format!("processRecords of {}", batch.records.len());
        report.step(&step, child.process(batch, store.clone()).await)?;
    }
    for action in last {
        let answer = report.step(action.as_str(), child.finish(*action, Some(store.clone())).await)?;
        if *action == Action::ShardEnded && !answer.is_end_covered {
            report
                .bad("shardEnded", "it did not checkpoint, so the shard would not end and its child shards not start");
        }
    }
    Some(())
}

fn position(number: u32, sub: u64) -> Option<Position> {
    Some(Position::new(format!("4959{number:052}").parse().ok()?, sub))
}

fn batch(numbers: &[(u32, u64)], data: &[u8]) -> RecordBatch {
    let record = |(number, sub): &(u32, u64)| {
        let mut record = Record::new("check", data.to_vec(), position(*number, *sub)?.sequence_number);
        record.sub_sequence_number = *sub;
        record.approximate_arrival = Some(SystemTime::UNIX_EPOCH);
        Some(record)
    };
    let mut batch = RecordBatch::default();
    batch.records = numbers.iter().filter_map(record).collect();
    batch.behind_latest = Some(Duration::ZERO);
    batch
}
