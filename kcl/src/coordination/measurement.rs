//! SHELL: the CPU use of this worker, as its item reports it: averages of samples.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    cpu::CpuMeter,
    model::{CPU, FAILED, Metric},
    time::now,
};

/// Window of a metric in a fleet that lives by heartbeats. Source: KCL `workerMetricsReporterFreqInMillis`.
const SLOW_MEASURE: Duration = Duration::from_secs(30);
/// Values of a metric that a worker keeps in its item. Source: KCL `noOfPersistedMetricsPerWorkerMetrics`.
const KEPT_VALUES: usize = 10;

/// Samples of CPU use, until the next report takes their average.
pub(super) struct Measurement {
    meter: Option<CpuMeter>,
    /// Samples since the last measurement; at most one a second.
    samples: Vec<f64>,
    measured: Instant,
}

impl Measurement {
    pub(super) fn new() -> Self {
        Self { meter: CpuMeter::detect(), samples: Vec::new(), measured: now() }
    }

    /// False where CPU use cannot be measured.
    pub(super) fn is_possible(&self) -> bool {
        self.meter.is_some()
    }

    pub(super) async fn sample(&mut self) {
        if let Some(meter) = &mut self.meter {
            self.samples.extend(meter.sample().await);
        }
    }

    /// Adds the average since the last one to a worker's metrics; `by_heartbeat`, not with each report.
    pub(super) fn add_to(&mut self, metrics: &mut BTreeMap<String, Metric>, by_heartbeat: bool) {
        let is_due = !by_heartbeat || now() - self.measured >= SLOW_MEASURE;
        if self.meter.is_none() || !is_due {
            return;
        }
        self.measured = now();
        #[expect(clippy::cast_precision_loss, reason = "a few samples")]
        let count = self.samples.len() as f64;
        let average = if count > 0.0 { self.samples.drain(..).sum::<f64>() / count } else { FAILED };
        let cpu = metrics.entry(CPU.to_owned()).or_insert(Metric { recent: Vec::new(), limit: 100.0 });
        if cpu.recent.len() == KEPT_VALUES {
            cpu.recent.remove(0);
        }
        cpu.recent.push((average * 1e6).round() / 1e6);
    }
}
