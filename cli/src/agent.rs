//! `kds agent`: follows files and puts what is written to them, as the Kinesis Agent does.

mod config;
mod file;
mod flow;
mod folder;
mod following;
mod probes;
mod records;
mod state;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use clap::Args;
use kpl::{Aggregation, Producer};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::{
    config::{Config, Flow},
    flow::{Bounds, FlowTask, Progress},
    following::Following,
    state::{State, StateFile},
};
use crate::{
    aws::{Aws, AwsArguments},
    failure::Failure,
    put::REQUEST_BYTES,
    stop, text,
};

/// Interval of the state file: what is stored since it was last written is put again after a crash.
const STATE_EVERY: Duration = Duration::from_millis(200);
/// Bytes of records that are read and not stored, for all flows together.
const OUTSTANDING_BYTES: usize = 8 * 1024 * 1024;
const MIN_OUTSTANDING_BYTES: usize = 2 * 1024 * 1024;
/// Files that are open at a time, of all flows together. Usual limits of a process begin at 256.
const OPEN_FILES: usize = 128;
const MIN_OPEN_FILES: usize = 2;
/// Record limit of a stream that does not say, in KiB.
const RECORD_KIB: i32 = 1_024;
/// Room for the partition key.
const KEY_BYTES: usize = 1_024;

/// Arguments of `kds agent`.
#[derive(Debug, Clone, Args)]
pub(crate) struct AgentArguments {
    /// Configuration, as the Kinesis Agent's agent.json
    config: PathBuf,
    /// State file [default: the configuration's checkpointFile, else CONFIG.state]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Address that answers /livez and /readyz over HTTP [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    probes: Option<String>,
}

/// Follows the files until a signal.
pub(crate) async fn run(aws: &AwsArguments, arguments: AgentArguments) -> Result<(), Failure> {
    let path = arguments.config;
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|error| Failure::new(format!("configuration {} cannot be read", path.display()), error))?;
    let config =
        Config::parse(&text).map_err(|failure| Failure::new(format!("configuration {}", path.display()), failure))?;
    for setting in &config.ignored {
        eprintln!("kds: {setting} of {} is not supported and ignored", path.display());
    }
    let mut aws = aws.clone();
    aws.endpoint_url = aws.endpoint_url.or(config.endpoint);
    aws.region = aws.region.or(config.region);
    let aws = aws.load().await?;
    let mut default = path.into_os_string();
    default.push(".state");
    let state_path = arguments.state.or(config.state_file).unwrap_or_else(|| PathBuf::from(default));
    let (file, state) = StateFile::open(&state_path)?;
    let file = Arc::new(file);
    let outstanding = (OUTSTANDING_BYTES / config.flows.len()).max(MIN_OUTSTANDING_BYTES);
    let max_open = (OPEN_FILES / config.flows.len()).max(MIN_OPEN_FILES);
    let (mut tasks, stop, mut flows, mut producers) = (JoinSet::new(), stop::on_signal()?, Vec::new(), BTreeMap::new());
    for flow in config.flows {
        let (sender, receiver) = watch::channel(Progress::default());
        flows.push((flow.name.clone(), receiver));
        let (producer, record_bytes) = producer(&aws, &flow, outstanding).await?;
        producers.insert(flow.name.clone(), producer.clone());
        let known = state.flows.contains(&flow.name).then(|| of_flow(&state, &flow));
        let following = Following::new(flow.clone(), known, max_open);
        let bounds = Bounds { record_bytes, pending_bytes: outstanding };
        tasks.spawn(FlowTask::new(flow, producer, bounds, following, sender).run(stop.clone()));
    }
    let _probes = match &arguments.probes {
        Some(address) => Some(probes::serve(address, producers).await?),
        None => None,
    };
    let outcome = write_state(&file, &mut flows, &mut tasks, &stop).await;
    let stored = flows.iter().map(|(_, progress)| progress.borrow().stored).sum();
    eprintln!("kds: stored {}", text::counted(stored, "record"));
    outcome
}

fn of_flow(state: &State, flow: &Flow) -> Vec<state::FileState> {
    state.files.iter().filter(|file| file.flow == flow.name).cloned().collect()
}

/// A producer that retries until everything is stored, and the maximum size of a record.
async fn producer(aws: &Aws, flow: &Flow, outstanding: usize) -> Result<(Producer, usize), Failure> {
    let stream = &flow.stream;
    let described = aws.kinesis().describe_stream_summary().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let kib = match described.send().await {
        Ok(answer) => answer.stream_description_summary.and_then(|summary| summary.max_record_size_in_kib),
        Err(error) if error.as_service_error().is_some_and(|it| !it.is_resource_not_found_exception()) => None,
        Err(error) => return Err(aws.explain("kinesis:DescribeStreamSummary", &format!("stream {stream}"), error)),
    };
    let bytes = usize::try_from(kib.unwrap_or(RECORD_KIB)).unwrap_or(0).max(2) * 1_024;
    // As for the original agent, records are aggregated only on request: not all consumers take aggregates apart.
    let aggregation = if flow.aggregate { Aggregation::default() } else { Aggregation::Off };
    let producer = Producer::builder(&aws.config, stream.as_str())
        .aggregation(aggregation)
        .settings(&flow.producer)
        .max_outstanding_bytes(outstanding.max(bytes))
        .collection_max_bytes(REQUEST_BYTES)
        .record_ttl(None)
        .build()
        .map_err(|error| Failure::new("the producer cannot be built", error))?;
    Ok((producer, bytes - KEY_BYTES))
}

/// Writes the state file as the flows go on, until all of them have ended. The first failure ends all.
async fn write_state(
    file: &Arc<StateFile>,
    flows: &mut [(String, watch::Receiver<Progress>)],
    tasks: &mut JoinSet<Result<(), Failure>>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut ticks = interval(STATE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut outcome = Ok(());
    let mut note = |failure: Failure| {
        stop.cancel();
        if outcome.is_ok() {
            outcome = Err(failure);
        }
    };
    loop {
        let has_ended = tokio::select! {
            _ = ticks.tick() => false,
            ended = tasks.join_next() => match ended {
                Some(Ok(Ok(()))) => false,
                Some(Ok(Err(failure))) => {
                    note(failure);
                    false
                }
                Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                None => true,
            },
        };
        let is_new = flows.iter().any(|(_, progress)| progress.has_changed().unwrap_or(true));
        if is_new || has_ended {
            let (file, state) = (Arc::clone(file), state(flows));
            match tokio::task::spawn_blocking(move || file.write(&state)).await {
                Ok(written) => written.unwrap_or_else(&mut note),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        if has_ended {
            return outcome;
        }
    }
}

fn state(flows: &mut [(String, watch::Receiver<Progress>)]) -> State {
    let mut state = State::default();
    for (name, progress) in flows {
        state.flows.push(name.clone());
        state.files.extend(progress.borrow_and_update().files.iter().cloned());
    }
    state
}
