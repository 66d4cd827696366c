//! Settings of a worker from outside the code: a file by `serde`, or the environment.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use kpl::metric::MetricsLevel;
use kpl::settings::{Choice, Count, Flag, Form, Labels, Moment, Size, Text, Time, Value, Words};

use super::{Settings, error_policy::ErrorPolicy, metrics::MetricsDimension};
use crate::model::{Assignment, Copies, Deaggregation, FanOut, InitialPosition, Polling, Renewals, Retrieval};

impl Words for Renewals {
    const WORDS: &'static [(&'static str, Self)] = &[("automatic", Self::Automatic), ("each-lease", Self::EachLease)];
}

impl Words for Assignment {
    const WORDS: &'static [(&'static str, Self)] =
        &[("lease-count", Self::LeaseCount), ("utilization", Self::Utilization)];
}

impl Words for Deaggregation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("drop-foreign", Self::DropForeign), ("keep-foreign", Self::KeepForeign), ("off", Self::Off)];
}

impl Words for Copies {
    const WORDS: &'static [(&'static str, Self)] = &[("deliver", Self::Deliver), ("drop", Self::Drop)];
}

/// Way to read shards, without its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reading {
    /// [`Retrieval::Polling`].
    Polling,
    /// [`Retrieval::FanOut`].
    FanOut,
    /// The same with [`FanOut::or_polling`].
    FanOutOrPolling,
}

impl Words for Reading {
    const WORDS: &'static [(&'static str, Self)] =
        &[("polling", Self::Polling), ("fan-out", Self::FanOut), ("fan-out-or-polling", Self::FanOutOrPolling)];
}

/// Fate of records at which a processor keeps failing; dead letters need code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// [`ErrorPolicy::restart`].
    Restart,
    /// [`ErrorPolicy::skip_after`].
    Skip,
    /// [`ErrorPolicy::stop_shard_after`].
    StopShard,
}

impl Words for GiveUp {
    const WORDS: &'static [(&'static str, Self)] =
        &[("restart", Self::Restart), ("skip", Self::Skip), ("stop-shard", Self::StopShard)];
}

/// `latest`, `trim-horizon`, or a time in UTC.
#[derive(Debug)]
pub struct Start;

impl Form<InitialPosition> for Start {
    fn read(text: &str) -> Option<InitialPosition> {
        match text {
            "latest" => Some(InitialPosition::Latest),
            "trim-horizon" => Some(InitialPosition::TrimHorizon),
            _ => Moment::read(text).map(InitialPosition::AtTimestamp),
        }
    }

    fn write(value: &InitialPosition) -> Value {
        match value {
            InitialPosition::Latest => Value::Text("latest".to_owned()),
            InitialPosition::TrimHorizon => Value::Text("trim-horizon".to_owned()),
            InitialPosition::AtTimestamp(time) => <Moment as Form<SystemTime>>::write(time),
        }
    }

    fn accepted() -> String {
        format!("latest, trim-horizon, or {}", <Moment as Form<SystemTime>>::accepted())
    }
}

/// Dimensions of metrics by their names, between commas.
#[derive(Debug)]
pub struct Dimensions;

impl Form<Vec<MetricsDimension>> for Dimensions {
    fn read(text: &str) -> Option<Vec<MetricsDimension>> {
        let named = |name: &str| MetricsDimension::ALL.into_iter().find(|known| known.as_str() == name.trim());
        text.split(',').filter(|name| !name.trim().is_empty()).map(named).collect()
    }

    fn write(value: &Vec<MetricsDimension>) -> Value {
        Value::Text(value.iter().map(|dimension| dimension.as_str()).collect::<Vec<_>>().join(","))
    }

    fn accepted() -> String {
        format!("of {}, those between commas", MetricsDimension::ALL.map(MetricsDimension::as_str).join(", "))
    }
}

kpl::settings_table! {
    /// Settings of a [`Worker`](crate::Worker) from outside the code, read and merged as those of a
    /// [producer](kpl::settings). Each is described, with its default and bounds, at the method of
    /// [`WorkerBuilder`](crate::WorkerBuilder) of the same name, or at [`Polling`], [`FanOut`] and
    /// [`ErrorPolicy`]; bounds are checked when the worker is built.
    pub struct WorkerSettings {
        /// Id of this worker in its fleet
        worker_id: String as Text,
        /// Start in shards without a checkpoint
        initial_position: InitialPosition as Start,
        /// Name of the lease table
        lease_table: String as Text,
        /// Creation of the lease table and its index
        create_lease_table: bool as Flag,
        /// Life of a lease without a renewal; the same on all workers
        lease_duration: Duration as Time,
        /// Renewal of the leases held
        renewals: Renewals as Choice,
        /// Measure by which the leader shares out the leases
        assignment: Assignment as Choice,
        /// Maximum leases of any one worker
        max_leases: usize as Count,
        /// Way to read shards
        retrieval: Reading as Choice,
        /// Pause between reads of a shard without more records
        idle_between_reads: Duration as Time,
        /// Maximum to which that pause grows for a shard that stays empty
        max_idle_between_reads: Duration as Time,
        /// Reads in step, of many shards at the tip
        in_step: bool as Flag,
        /// Name of the registered consumer
        consumer_name: String as Text,
        /// ARN of a registered consumer
        consumer_arn: String as Text,
        /// Maximum Kinesis records that wait for a shard's processor
        prefetch_records: u32 as Count,
        /// Maximum size of what waits for a shard's processor
        prefetch_bytes: u32 as Size,
        /// Maximum memory of what all shards together have read and not finished
        memory_budget: u64 as Size,
        /// Maximum user records in a batch
        max_batch_records: u32 as Count,
        /// Treatment of aggregates
        deaggregation: Deaggregation as Choice,
        /// Treatment of what a producer wrote twice
        copies: Copies as Choice,
        /// Time in which an owner must hand a lease over
        handoff_timeout: Duration as Time,
        /// Time for processors to finish when the worker stops
        shutdown_grace: Duration as Time,
        /// Time after which a slow processor is reported
        warn_after: Duration as Time,
        /// Fate of records at which a processor keeps failing
        on_processor_error: GiveUp as Choice,
        /// Failures in a row at the same records before they are given up
        processor_error_attempts: u32 as Count,
        /// Metrics that are recorded
        metrics_level: MetricsLevel as Choice,
        /// Dimensions of the metrics
        metrics_dimensions: Vec<MetricsDimension> as Dimensions,
        /// Labels of all metrics
        metrics_labels: BTreeMap<String, String> as Labels,
        /// Names of metrics that begin with `kcl_`, in place of the KCL's
        metrics_prefixed: bool as Flag,
    }
}

/// Failures before records are given up, where none are written. Source: `kcl-multilang`.
const ATTEMPTS: u32 = 5;

impl WorkerSettings {
    /// Way to read shards, over the one that is set in the code.
    pub(crate) fn reading(&self, current: &Retrieval) -> Retrieval {
        let is_fan_out = match self.retrieval {
            Some(reading) => reading != Reading::Polling,
            None => matches!(current, Retrieval::FanOut(_)),
        };
        if is_fan_out { self.fan_out(current).into() } else { self.polling(current).into() }
    }

    fn fan_out(&self, current: &Retrieval) -> FanOut {
        let mut fan_out = match current {
            Retrieval::FanOut(fan_out) => fan_out.clone(),
            Retrieval::Polling(_) => FanOut::new(),
        };
        if let Some(name) = &self.consumer_name {
            fan_out = fan_out.consumer_name(name.as_str());
        }
        if let Some(arn) = &self.consumer_arn {
            fan_out = fan_out.consumer_arn(arn.as_str());
        }
        match self.retrieval {
            Some(Reading::FanOutOrPolling) => fan_out.or_polling(),
            _ => fan_out,
        }
    }

    fn polling(&self, current: &Retrieval) -> Polling {
        let mut polling = current.polling();
        if let Some(pause) = self.idle_between_reads {
            polling = polling.idle_between_reads(pause);
        }
        if let Some(pause) = self.max_idle_between_reads {
            polling = polling.max_idle_between_reads(pause);
        }
        match self.in_step {
            Some(in_step) => polling.in_step(in_step),
            None => polling,
        }
    }

    /// Reaction to a processor that fails, unless the one that is set in the code stays.
    pub(crate) fn error_policy(&self) -> Option<ErrorPolicy> {
        let attempts = self.processor_error_attempts.unwrap_or(ATTEMPTS);
        Some(match self.on_processor_error? {
            GiveUp::Restart => ErrorPolicy::restart(),
            GiveUp::Skip => ErrorPolicy::skip_after(attempts),
            GiveUp::StopShard => ErrorPolicy::stop_shard_after(attempts),
        })
    }

    /// Settings that leave others without effect, or have none.
    pub(crate) fn without_effect(&self, retrieval: &Retrieval) -> Vec<&'static str> {
        let unused: &[(&'static str, bool)] = match retrieval {
            Retrieval::Polling(_) => {
                &[("consumer_name", self.consumer_name.is_some()), ("consumer_arn", self.consumer_arn.is_some())]
            }
            Retrieval::FanOut(_) => &[
                ("idle_between_reads", self.idle_between_reads.is_some()),
                ("max_idle_between_reads", self.max_idle_between_reads.is_some()),
                ("in_step", self.in_step.is_some()),
            ],
        };
        let attempts = self.processor_error_attempts.is_some()
            && !matches!(self.on_processor_error, Some(GiveUp::Skip | GiveUp::StopShard));
        let unused = unused.iter().copied().chain([("processor_error_attempts", attempts)]);
        unused.filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
    }

    /// Settings of a worker that is about to be built, but for its error policy, which is code.
    pub(crate) fn of(settings: &Settings, initial_position: InitialPosition) -> Self {
        let polling = settings.retrieval.polling();
        let is_polling = matches!(settings.retrieval, Retrieval::Polling(_));
        let (reading, fan_out) = match &settings.retrieval {
            Retrieval::Polling(_) => (Reading::Polling, None),
            Retrieval::FanOut(fan_out) if fan_out.or_polling => (Reading::FanOutOrPolling, Some(fan_out)),
            Retrieval::FanOut(fan_out) => (Reading::FanOut, Some(fan_out)),
        };
        let labels = settings.metrics.labels();
        Self {
            worker_id: settings.is_worker_id_set.then(|| settings.worker_id.to_string()),
            initial_position: Some(initial_position),
            lease_table: Some(settings.table.clone()),
            create_lease_table: Some(settings.create_table),
            lease_duration: Some(settings.lease_duration),
            renewals: Some(settings.renewals),
            assignment: Some(settings.assignment),
            max_leases: (settings.max_leases != usize::MAX).then_some(settings.max_leases),
            retrieval: Some(reading),
            idle_between_reads: is_polling.then(|| settings.retrieval.idle_between_reads()),
            max_idle_between_reads: polling.max_idle(),
            in_step: is_polling.then(|| polling.is_in_step()),
            consumer_name: fan_out.map(|fan_out| fan_out.name(&settings.application).to_owned()),
            consumer_arn: fan_out.and_then(|fan_out| fan_out.consumer_arn.as_deref()).map(str::to_owned),
            prefetch_records: Some(settings.prefetch.records),
            prefetch_bytes: Some(settings.prefetch.bytes),
            memory_budget: Some(settings.memory_budget),
            max_batch_records: Some(settings.max_batch_records),
            deaggregation: Some(settings.deaggregation),
            copies: Some(settings.copies),
            handoff_timeout: Some(settings.handoff_timeout),
            shutdown_grace: Some(settings.shutdown_grace),
            warn_after: Some(settings.warn_after),
            on_processor_error: None,
            processor_error_attempts: None,
            metrics_level: Some(settings.metrics.current_level()),
            metrics_dimensions: settings.metrics.current_dimensions(),
            metrics_labels: (!labels.is_empty()).then_some(labels),
            metrics_prefixed: Some(settings.metrics.is_prefixed()),
        }
    }
}
