//! Settings of streams: encryption, capacity mode, record distribution, shard-level metrics. And the account's limits.

use tracing::info;

use crate::ACCOUNT_ID;
use crate::kinesis::check::{self, Check};
use crate::kinesis::limits::{MAX_MODE_SWITCHES, MAX_ON_DEMAND_STREAMS, require_rare};
use crate::kinesis::stream::{Distribution, METRICS, Mode, State, Stream};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Maximum characters of a key id. docs.aws.amazon.com/kinesis/latest/APIReference/API_StartStreamEncryption.html
const MAX_KEY_ID: usize = 2048;

impl Kinesis {
    pub(super) fn start_encryption(
        &mut self,
        request: request::Encryption<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let key_id = check_encryption(&request)?;
        let stream = self.begin_update(&request.stream_name, &request.stream_arn, now)?;
        stream.key_id = Some(key_id);
        Ok(response::Empty {})
    }

    pub(super) fn stop_encryption(
        &mut self,
        request: request::Encryption<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        check_encryption(&request)?;
        let stream = self.begin_update(&request.stream_name, &request.stream_arn, now)?;
        stream.key_id = None;
        Ok(response::Empty {})
    }

    pub(super) fn update_stream_mode(
        &mut self,
        request: request::UpdateStreamMode<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mode = request.stream_mode_details.and_then(|details| details.stream_mode);
        let mut check = Check::default();
        check.required(&mode, "streamModeDetails.streamMode");
        check.one_of(mode.as_deref(), "streamModeDetails.streamMode", &["PROVISIONED", "ON_DEMAND"]);
        check.finish()?;
        let mode = if mode.as_deref() == Some("ON_DEMAND") { Mode::OnDemand } else { Mode::Provisioned };
        if self.limits.are_enforced {
            let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
            let stream = self.stream(name, now)?;
            stream.require_active()?;
            let done = format!("The capacity mode of stream {name} under account {ACCOUNT_ID} was switched");
            require_rare(&mut stream.mode_switches, MAX_MODE_SWITCHES, &done, now)?;
        }
        let stream = self.begin_update(&request.stream_name, &request.stream_arn, now)?;
        stream.mode = mode;
        if mode == Mode::Provisioned {
            stream.distribution = Distribution::UserPartitionKey;
        }
        info!(stream = stream.name, ?mode, "capacity mode changed");
        Ok(response::Empty {})
    }

    pub(super) fn update_distribution(
        &mut self,
        request: request::UpdateDistribution<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let strategy = request.record_distribution_strategy.as_deref();
        let mut check = Check::default();
        check.required(&strategy, "recordDistributionStrategy");
        let distribution = distribution(&mut check, strategy);
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        require_distribution(distribution, stream.mode)?;
        stream.distribution = distribution;
        Ok(response::Empty {})
    }

    pub(super) fn enable_monitoring(
        &mut self,
        request: request::Monitoring<'_>,
        now: Millis,
    ) -> Result<response::EnhancedMonitoring, Error> {
        self.change_monitoring(&request, true, now)
    }

    pub(super) fn disable_monitoring(
        &mut self,
        request: request::Monitoring<'_>,
        now: Millis,
    ) -> Result<response::EnhancedMonitoring, Error> {
        self.change_monitoring(&request, false, now)
    }

    fn change_monitoring(
        &mut self,
        request: &request::Monitoring<'_>,
        enable: bool,
        now: Millis,
    ) -> Result<response::EnhancedMonitoring, Error> {
        let mut check = Check::default();
        check.required(&request.shard_level_metrics, "shardLevelMetrics");
        let metrics = request.shard_level_metrics.as_deref().unwrap_or_default();
        for metric in metrics.iter().filter(|metric| *metric != "ALL") {
            check.one_of(Some(metric), "shardLevelMetrics", &METRICS);
        }
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let stream = self.stream(name, now)?;
        let current = stream.metrics.clone();
        let is_named = |name: &&str| metrics.iter().any(|metric| metric == "ALL" || metric == name);
        let is_wanted = |name: &&str| if is_named(name) { enable } else { current.contains(name) };
        stream.metrics = METRICS.into_iter().filter(is_wanted).collect();
        Ok(response::EnhancedMonitoring {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn(),
            current_shard_level_metrics: current,
            desired_shard_level_metrics: stream.metrics.clone(),
        })
    }

    pub(super) fn describe_limits(
        &mut self,
        _: request::Nothing,
        now: Millis,
    ) -> Result<response::DescribeLimits, Error> {
        self.settle(now);
        let on_demand = self.streams.values().filter(|stream| stream.mode == Mode::OnDemand);
        Ok(response::DescribeLimits {
            shard_limit: self.limits.account_shards,
            open_shard_count: self.open_shards(),
            on_demand_stream_count: on_demand.count(),
            on_demand_stream_count_limit: MAX_ON_DEMAND_STREAMS,
        })
    }

    /// Begins an update that leaves the shards alone.
    fn begin_update(
        &mut self,
        name: &Option<request::Text<'_>>,
        arn: &Option<request::Text<'_>>,
        now: Millis,
    ) -> Result<&mut Stream, Error> {
        let until = now.plus(self.delays.updating);
        let stream = self.stream(check::stream(name.as_ref(), arn.as_ref())?, now)?;
        stream.require_active()?;
        stream.state = State::Updating { until, change: None };
        stream.advance(now);
        Ok(stream)
    }
}

/// The strategy that the text names; what is none is noted.
pub(super) fn distribution(check: &mut Check, strategy: Option<&str>) -> Distribution {
    check.one_of(strategy, "recordDistributionStrategy", &["AUTO", "USER_PARTITION_KEY"]);
    if strategy == Some("AUTO") { Distribution::Auto { next: 0 } } else { Distribution::UserPartitionKey }
}

/// Passes when a stream of that mode can distribute records so.
pub(super) fn require_distribution(distribution: Distribution, mode: Mode) -> Result<(), Error> {
    match (distribution, mode) {
        (Distribution::Auto { .. }, Mode::Provisioned) => Err(Error::invalid_argument(
            "The record distribution strategy AUTO is only supported for streams in ON_DEMAND capacity mode.",
        )),
        _ => Ok(()),
    }
}

fn check_encryption(request: &request::Encryption<'_>) -> Result<String, Error> {
    let mut check = Check::default();
    check.required(&request.encryption_type, "encryptionType");
    check.one_of(request.encryption_type.as_deref(), "encryptionType", &["NONE", "KMS"]);
    check.required(&request.key_id, "keyId");
    let key_id = request.key_id.as_deref().unwrap_or_default();
    if request.key_id.is_some() && !(1..=MAX_KEY_ID).contains(&key_id.len()) {
        check.fail(format_args!("'{key_id}'"), "keyId", format!("have length between 1 and {MAX_KEY_ID}"));
    }
    check.finish()?;
    if request.encryption_type.as_deref() != Some("KMS") {
        return Err(Error::invalid_argument(format!(
            "The only encryption type of a stream under account {ACCOUNT_ID} is KMS."
        )));
    }
    Ok(key_id.to_owned())
}
