//! The daemon: a worker of `kcl` whose processors are children.

use std::{collections::BTreeMap, num::NonZero, sync::Arc, thread, time::Duration};

use kcl::{
    ConfigError, DeadLetterFile, ErrorPolicy, ShardContext, ShardPhase, Worker, WorkerBuilder, WorkerError,
    WorkerHandle,
};
use serde::Serialize;
use tracing::{info, warn};

use crate::{
    aws::Configurations,
    child::{Launcher, Program},
    executable::{self, ExecutableError},
    processor::Processor,
    roster::{ChildStatus, Roster},
    settings::{Consume, GiveUp, Settings},
};

/// Memory of records that are read and not answered, for each core. Shards that are all behind are then read at some 11 MB a
/// second and core: half of it is for all alike, five reads of a shard a second, 2.7 bytes held for a byte of 1 KiB records.
const BUDGET_OF_A_CORE: u64 = 12 << 20;
/// Bounds of the same over all cores; the maximum is the default of `kcl`.
const BUDGETS: (u64, u64) = (24 << 20, 512 << 20);

/// Error of the start of the daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program of the children cannot be started.
    #[error(transparent)]
    Executable(#[from] ExecutableError),
    /// A setting is out of its bounds.
    #[error(transparent)]
    Setting(#[from] ConfigError),
}

/// A running daemon. Dropped, it stops in good order, and nobody waits for that.
#[derive(Debug, Clone)]
pub struct Daemon {
    worker: WorkerHandle,
    launcher: Launcher,
}

/// Health of the daemon, for probes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// False if a new process would mend it.
    pub live: bool,
    /// True while the worker is ready, and not all children fail.
    pub ready: bool,
    /// Reasons why it is not live or not ready.
    pub problems: Vec<String>,
    /// Health of the worker.
    pub worker: kcl::Health,
    children: BTreeMap<String, ChildStatus>,
}

impl Daemon {
    /// Starts the worker; children follow with its shards.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(settings: &Settings, aws: &Configurations) -> Result<Self, StartError> {
        let launcher = launcher(settings)?;
        for note in settings.notes() {
            warn!("{note}");
        }
        for (key, value) in &settings.taken {
            info!("{key} = {value}");
        }
        let builder = builder(settings, aws);
        info!(worker = %builder.current_settings(), "starts");
        let starting = launcher.clone();
        let worker = builder.build(move |shard: &ShardContext| Processor::new(starting.clone(), shard))?.start();
        Ok(Self { worker, launcher })
    }

    /// Asks the daemon to stop: children may checkpoint, leases are released. Returns at once.
    pub fn request_stop(&self) {
        self.worker.request_stop();
    }

    /// Waits until the worker and all children have ended, by themselves or on request.
    ///
    /// # Errors
    /// See [`WorkerError`].
    ///
    /// # Cancellation
    /// Safe: the daemon runs on.
    pub async fn wait(&self) -> Result<(), Arc<WorkerError>> {
        let outcome = self.worker.wait().await;
        self.launcher.all_ended().await;
        outcome
    }

    /// Health at this moment; asks no service and no child.
    pub fn health(&self) -> Health {
        let worker = self.worker.health();
        let mut children = self.launcher.roster().all();
        children.retain(|shard_id, _| worker.shards.iter().any(|shard| shard.shard_id == *shard_id));
        let mut problems: Vec<String> = worker.problems.iter().map(ToString::to_string).collect();
        let is_working =
            |phase| !matches!(phase, ShardPhase::WaitingForParents | ShardPhase::Ended | ShardPhase::Leaving);
        let working = worker.shards.iter().filter(|shard| is_working(shard.phase));
        let failing = |id: &str| children.get(id).filter(|child| child.is_failing);
        let failures: Option<Vec<_>> = working.map(|shard| failing(&shard.shard_id)).collect();
        if let Some(last) = failures.as_ref().and_then(|failures| failures.last()) {
            let failure = last.last_failure.as_deref().unwrap_or_default();
            problems.push(format!("the children of all shards fail: {failure}"));
        }
        Health { live: worker.live, ready: worker.ready && problems.is_empty(), problems, worker, children }
    }
}

/// Starter of the children that the settings name.
pub(crate) fn launcher(settings: &Settings) -> Result<Launcher, ExecutableError> {
    let (program, arguments) = settings.executable.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let path = executable::find(program, std::env::var_os("PATH").as_deref())?;
    let arguments = arguments.to_vec();
    let program = Program { path, arguments, call_limit: settings.call_limit, exit_limit: settings.exit_limit };
    Ok(Launcher::new(program, Arc::new(Roster::default())))
}

fn builder(settings: &Settings, aws: &Configurations) -> WorkerBuilder {
    let consume = &settings.consume;
    let mut metrics = kcl::Metrics::new().level(consume.metrics_level);
    if let Some(dimensions) = &consume.dimensions {
        metrics = metrics.dimensions(dimensions.clone());
    }
    if settings.probes.is_some() {
        metrics = metrics.prefixed();
    }
    let (coordinator_state, worker_metrics) = consume.legacy_tables.clone();
    let mut builder = Worker::builder(&aws.kinesis, &consume.application, consume.stream.as_str())
        .lease_table_config(&aws.dynamodb)
        .legacy_tables(coordinator_state, worker_metrics)
        .migrate_to_one_table(consume.migrate)
        .initial_position(consume.initial_position)
        .retrieval(consume.retrieval())
        .max_batch_records(consume.max_records)
        .memory_budget(consume.memory_budget.unwrap_or_else(|| memory_budget(thread::available_parallelism().ok())))
        .lease_duration(consume.lease_duration)
        .shutdown_grace(consume.shutdown_grace)
        .on_processor_error(policy(consume))
        .metrics(metrics);
    if let Some(table) = &consume.table {
        builder = builder.lease_table(table);
    }
    if let Some(id) = &consume.worker_id {
        builder = builder.worker_id(id);
    }
    if let Some(leases) = consume.max_leases {
        builder = builder.max_leases(usize::try_from(leases).unwrap_or(usize::MAX));
    }
    if let Some(timeout) = consume.handoff_timeout {
        builder = builder.handoff_timeout(timeout);
    }
    if let Some(patience) = consume.warn_after {
        builder = builder.warn_after(patience.max(Duration::from_secs(1)));
    }
    builder.settings(&settings.worker)
}

/// Default of the memory budget: children take the cores, so that more cores ask for more records.
fn memory_budget(cores: Option<NonZero<usize>>) -> u64 {
    let cores = cores.map_or(1, NonZero::get) as u64;
    cores.saturating_mul(BUDGET_OF_A_CORE).clamp(BUDGETS.0, BUDGETS.1)
}

fn policy(consume: &Consume) -> ErrorPolicy {
    let attempts = consume.attempts;
    match consume.give_up.clone() {
        GiveUp::Never => ErrorPolicy::restart(),
        GiveUp::Skip => ErrorPolicy::skip_after(attempts).isolate(),
        GiveUp::StopShard => ErrorPolicy::stop_shard_after(attempts).isolate(),
        GiveUp::DeadLetter(file) => {
            let letters = DeadLetterFile::new(file);
            ErrorPolicy::dead_letter_after(attempts, move |failed| letters.keep(failed)).isolate()
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_types::SdkConfig;
    use kcl::Assignment;

    use super::*;

    #[test]
    fn settings_of_the_worker_win_over_the_keys_of_the_daemon() {
        let variables = [
            ("EXECUTABLE_NAME", "true"),
            ("APPLICATION_NAME", "App"),
            ("STREAM_NAME", "Stream"),
            ("AWS_CREDENTIALS_PROVIDER", "DefaultCredentialsProvider"),
            ("MAX_LEASES_FOR_WORKER", "3"),
            ("FAILOVER_TIME_MILLIS", "20000"),
            ("KCL_MAX_LEASES", "7"),
            ("KCL_ASSIGNMENT", "utilization"),
        ];
        let variables = variables.map(|(name, value)| (format!("KCL_MULTILANG_{name}"), value.to_owned()));
        let settings = Settings::read(None, variables.into_iter()).unwrap();
        assert_eq!(settings.notes(), [""; 0]);

        let current = builder(&settings, &SdkConfig::builder().build().into()).current_settings();

        assert_eq!((current.max_leases, current.assignment), (Some(7), Some(Assignment::Utilization)));
        assert_eq!(current.lease_duration, Some(Duration::from_secs(20)), "what is not said again stays");
    }

    #[test]
    fn the_memory_budget_grows_with_the_cores() {
        let mib = |cores| memory_budget(NonZero::new(cores)) >> 20;
        assert_eq!([0, 1, 2, 3, 42, 43, usize::MAX].map(mib), [24, 24, 24, 36, 504, 512, 512]);
    }
}
