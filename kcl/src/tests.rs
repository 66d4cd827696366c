//! Tests of the whole crate.

use std::time::{Duration, SystemTime};

use aws_types::{SdkConfig, sdk_config::TimeSource};
use tokio::time::Instant;

mod creation;
mod explored_lease;
mod handoff;
mod heartbeat_fleets;
mod heartbeats;
mod idle_reads;
mod merged;
mod model;
mod redelivered;
mod replaced;
mod simulation;
mod stopping;
mod throughput;
mod transactions;

/// For tests of `logic`, which takes times and asks no clock; an Instant has no other beginning.
pub(crate) fn some_time() -> std::time::Instant {
    crate::time::now()
}

/// Configuration of workers that call no service: their time is the runtime's, so that virtual time moves it.
pub(crate) fn without_services() -> SdkConfig {
    SdkConfig::builder().time_source(RuntimeTime { began: Instant::now() }).build()
}

#[derive(Debug)]
struct RuntimeTime {
    began: Instant,
}

impl TimeSource for RuntimeTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.began.elapsed()
    }
}
