//! A worker of this workspace's `kcl` that tells what happens, as the peers in other languages do: `interop-worker`.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::BehaviorVersion;
use kcl::{
    BoxError, CheckpointError, Checkpointer, Deaggregation, Event, FanOut, InitialPosition, Polling, RecordBatch,
    RecordProcessor, Renewals, Retrieval, ShardContext, StreamSource, Streams, Worker,
};
use tokio_util::sync::CancellationToken;

use super::expected;
use super::told::Told;

/// Runs a worker until its input ends or says `stop`. `arguments` are `name=value`: application, stream (or several, with
/// commas), worker, failover (milliseconds), retrieval (polling or fan-out) and, if wanted, limit, keep-foreign, by-heartbeat,
/// adopt and one-table.
///
/// # Errors
/// An argument is missing or the worker fails.
pub async fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let settings: HashMap<String, String> = arguments
        .filter_map(|argument| argument.split_once('=').map(|(name, value)| (name.into(), value.into())))
        .collect();
    let setting = |name: &str| settings.get(name).map(String::as_str).with_context(|| format!("no {name}"));
    let certificate = std::env::var_os("AWS_CA_BUNDLE");
    let http = super::served::http_client(certificate.as_deref().map(Path::new))?;
    let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;

    let failover = Duration::from_millis(setting("failover")?.parse()?);
    let limit = settings.get("limit").map(|limit| limit.parse()).transpose()?.unwrap_or(u64::MAX);
    let retrieval = match setting("retrieval")? {
        "fan-out" => Retrieval::FanOut(FanOut::new()),
        _ => Polling::new().idle_between_reads(Duration::from_millis(250)).into(),
    };
    let streams: StreamSource = match setting("stream")? {
        several if several.contains(',') => Streams::new(several.split(',')).into(),
        one => one.into(),
    };
    let mut builder = Worker::builder(&aws, setting("application")?, streams)
        .worker_id(setting("worker")?)
        .lease_duration(failover)
        .handoff_timeout(Duration::from_secs(10))
        .initial_position(InitialPosition::TrimHorizon)
        .retrieval(retrieval)
        .on_event(on_event);
    if settings.contains_key("keep-foreign") {
        builder = builder.deaggregation(Deaggregation::KeepForeign);
    }
    if !settings.contains_key("by-heartbeat") {
        builder = builder.renewals(Renewals::EachLease);
    }
    if settings.contains_key("adopt") {
        builder = builder.adopt_2x(Some(failover));
    }
    builder = builder.migrate_to_one_table(settings.contains_key("one-table"));
    let worker =
        builder.build(move |shard: &ShardContext| Processor { shard: shard.shard_id.to_string(), left: limit })?;
    worker.run_until(stopped()).await?;
    tell(&Told::Stopped { orderly: true });
    Ok(())
}

/// Completes when the input ends or says `stop`. A thread reads it, which nobody waits for at the end.
fn stopped() -> impl Future<Output = ()> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    std::thread::spawn(move || {
        let _guard = told.drop_guard();
        for line in std::io::stdin().lines() {
            if line.is_ok_and(|line| line == "stop") {
                return;
            }
        }
    });
    stop.cancelled_owned()
}

fn on_event(event: &Event) {
    match event {
        Event::Started { .. } => tell(&Told::Started),
        Event::AggregateOfOtherShard { shard, records, .. } => {
            tell(&Told::ForeignAggregate { shard: shard.shard_id.to_string(), records: *records });
        }
        Event::LeasesMalformed { keys, .. } => tell(&Told::LeasesMalformed { keys: keys.clone() }),
        Event::AdoptionWaits { sign, .. } | Event::AdoptionStopped { sign, .. } => eprintln!("waits: {sign}"),
        Event::ProcessorFailed { error, .. } => tell(&Told::Error { error: error.clone() }),
        _ => {}
    }
}

fn tell(told: &Told) {
    let line = serde_json::to_string(told).expect("strings and numbers can be written as JSON");
    // Nobody reads any more: the end of the input will follow.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

struct Processor {
    shard: String,
    left: u64,
}

impl RecordProcessor for Processor {
    type Error = BoxError;

    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), BoxError> {
        let (checkpoint, sub) = match &shard.checkpoint {
            kcl::Checkpoint::At(position) => (position.sequence_number.to_string(), position.sub_sequence_number),
            sentinel => (sentinel.to_string(), 0),
        };
        tell(&Told::Initialized { shard: self.shard.clone(), checkpoint, sub });
        Ok(())
    }

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let count = batch.records.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let Some(last) = count.checked_sub(1).and_then(|last| batch.records.get(last)) else { return Ok(()) };
        self.left -= count as u64;
        let read = |record: &kcl::Record| {
            expected::read(&record.partition_key, &record.data, record.explicit_hash_key, record.aggregated)
        };
        let records = batch.records[..count].iter().map(read).collect();
        tell(&Told::Records { shard: self.shard.clone(), records });
        match checkpointer.checkpoint_at(last).await {
            Err(CheckpointError::LeaseLost) => tell(&Told::CheckpointRefused { shard: self.shard.clone() }),
            stored => stored?,
        }
        if self.left == 0 {
            tell(&Told::Limit { shard: self.shard.clone() });
        }
        Ok(())
    }

    async fn shard_ended(&mut self) -> Result<(), BoxError> {
        tell(&Told::ShardEnded { shard: self.shard.clone() });
        Ok(())
    }

    async fn shutdown_requested(&mut self, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        tell(&Told::ShutdownRequested { shard: self.shard.clone() });
        Ok(())
    }

    async fn lease_lost(&mut self) {
        tell(&Told::LeaseLost { shard: self.shard.clone() });
    }
}
