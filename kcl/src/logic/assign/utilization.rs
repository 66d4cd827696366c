//! Plans the owners of leases by utilization. Pure. Follows Java KCL 3.x, with ties broken and a dead band.
//!
//! (A) Every lease that nobody keeps alive goes to the worker with the most room.
//! (B) Leases move from workers above the average of the metric that is out of balance the most to those below it, only
//!     beyond the threshold, and only while no worker comes out above the average.
//! (C) A worker whose newest sample failed gets nothing.

use std::collections::BTreeMap;

use super::assignment::{Candidate, How, Move, is_orphan};
use crate::model::{FAILED, Lease, Metric, WorkerId, WorkerItem};

/// Weight of the newest value of a metric. Source: KCL `workerMetricsEMAAlpha`.
const ALPHA: f64 = 0.5;
/// Maximum distance of a worker from the average, as a part of it. Source: KCL `reBalanceThresholdPercentage`.
const THRESHOLD: f64 = 0.10;
/// Maximum distance of a worker from the average in points, so that 1 % and 1.2 % of CPU count as equal.
const DEAD_BAND: f64 = 2.0;
/// The part of a worker's excess that is moved at once. Source: KCL `dampeningPercentage`.
const DAMPENING: f64 = 0.60;
/// The metric of workers that report none: their share of the fleet's throughput.
const THROUGHPUT: &str = "T";

#[derive(Debug)]
struct Load {
    leases: usize,
    throughput: f64,
    metrics: BTreeMap<String, Use>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    value: f64,
    limit: f64,
}

struct Fleet {
    loads: BTreeMap<WorkerId, Load>,
    averages: BTreeMap<String, f64>,
    /// Throughput that each worker would have, were it spread evenly.
    target_throughput: f64,
    leases_each: f64,
    max_leases: usize,
}

/// Plans the moves. With `balance` false, only leases that nobody keeps alive are given away.
pub(crate) fn plan(candidates: &[Candidate], workers: &[WorkerItem], max_leases: usize, balance: bool) -> Vec<Move> {
    let live: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.lease.is_ended()).collect();
    let mut fleet = Fleet::new(&live, workers, max_leases);
    let mut moves = Vec::new();
    for candidate in live.iter().filter(|candidate| is_orphan(candidate)) {
        let Some(to) = fleet.roomiest() else { break };
        fleet.add(&to, fleet.throughput_of(&candidate.lease));
        if candidate.lease.actual_owner() != Some(&to) || candidate.lease.in_handoff() {
            moves.push(Move { lease: candidate.lease.clone(), to, how: candidate.way() });
        }
    }
    if balance {
        fleet.balance(&live, &mut moves);
    }
    moves
}

/// The moving average of a metric's values, failed samples left out; None if the newest failed or there is none.
fn smoothed(metric: &Metric) -> Option<f64> {
    if metric.recent.last().is_none_or(|newest| *newest == FAILED) {
        return None;
    }
    let valid = metric.recent.iter().copied().filter(|value| *value != FAILED);
    valid.reduce(|average, value| average + ALPHA * (value - average))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of leases and workers")]
impl Fleet {
    fn new(live: &[&Candidate], workers: &[WorkerItem], max_leases: usize) -> Self {
        let known: Vec<f64> = live.iter().filter_map(|candidate| candidate.lease.throughput_kbps).collect();
        let average = if known.is_empty() { 0.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
        let mut loads: BTreeMap<WorkerId, Load> = BTreeMap::new();
        for worker in workers {
            let metrics: Option<BTreeMap<String, Use>> = worker
                .metrics
                .iter()
                .map(|(name, metric)| smoothed(metric).map(|value| (name.clone(), Use { value, limit: metric.limit })))
                .collect();
            if let Some(metrics) = metrics {
                loads.insert(worker.id.clone(), Load { leases: 0, throughput: 0.0, metrics });
            }
        }
        let workers = loads.len().max(1) as f64;
        let mut fleet = Self {
            loads,
            averages: BTreeMap::new(),
            target_throughput: average * live.len() as f64 / workers,
            leases_each: (live.len() as f64 / workers).floor().max(1.0),
            max_leases,
        };
        for candidate in live.iter().filter(|candidate| !is_orphan(candidate)) {
            let throughput = candidate.lease.throughput_kbps.unwrap_or(average);
            if let Some(load) = candidate.lease.owner.as_ref().and_then(|owner| fleet.loads.get_mut(owner)) {
                load.leases += 1;
                load.throughput += throughput;
            }
        }
        fleet.add_default_metrics();
        fleet.average();
        fleet
    }

    fn add_default_metrics(&mut self) {
        let target = self.target_throughput;
        for load in self.loads.values_mut().filter(|load| load.metrics.is_empty()) {
            let value = if target > 0.0 { 100.0 * load.throughput / target } else { 0.0 };
            // No throughput says how much is too much, so there is no limit.
            load.metrics.insert(THROUGHPUT.to_owned(), Use { value, limit: f64::INFINITY });
        }
    }

    fn average(&mut self) {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (name, metric) in self.loads.values().flat_map(|load| &load.metrics) {
            let (sum, count) = sums.entry(name.clone()).or_default();
            *sum += metric.value;
            *count += 1.0;
        }
        self.averages = sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect();
    }

    fn throughput_of(&self, lease: &Lease) -> f64 {
        lease.throughput_kbps.unwrap_or_else(|| {
            let workers = self.loads.len().max(1) as f64;
            self.target_throughput / (self.leases_each * workers).max(1.0) * workers
        })
    }

    /// The worker with the most room; among equals the one with the fewest leases.
    fn roomiest(&self) -> Option<WorkerId> {
        let able = self.loads.iter().filter(|(_, load)| load.leases < self.max_leases);
        let best = able.max_by(|(a_id, a), (b_id, b)| {
            let room = self.room(a).total_cmp(&self.room(b));
            room.then_with(|| b.leases.cmp(&a.leases)).then_with(|| b_id.cmp(a_id))
        });
        best.map(|(id, _)| id.clone())
    }

    /// Distance of the worker below the averages, as a part of its own use; the minimum of all metrics.
    fn room(&self, load: &Load) -> f64 {
        let rooms = load.metrics.iter().map(|(name, metric)| match metric.value {
            value if value > 0.0 => (self.averages[name] - value) / value,
            _ => 1.0,
        });
        rooms.fold(f64::INFINITY, f64::min)
    }

    /// A lease comes to a worker; its use grows by what that lease is expected to cost.
    fn add(&mut self, worker: &WorkerId, throughput: f64) {
        let share = self.share(throughput);
        let Some(load) = self.loads.get_mut(worker) else { return };
        for (name, metric) in &mut load.metrics {
            metric.value += share * self.averages[name];
        }
        load.leases += 1;
        load.throughput += throughput;
    }

    /// A lease's part of what each worker has when all have the same.
    fn share(&self, throughput: f64) -> f64 {
        if self.target_throughput > 0.0 { throughput / self.target_throughput } else { 1.0 / self.leases_each }
    }

    fn is_out_of_balance(&self, name: &str, metric: &Use) -> bool {
        let average = self.averages[name];
        let distance = (metric.value - average).abs();
        (distance > average * THRESHOLD && distance > DEAD_BAND) || metric.value > metric.limit
    }

    /// Throughput that each worker that is too busy should lose, by the metric that asks for the most.
    fn excess(&self) -> Vec<(WorkerId, f64)> {
        let mut of_metric: BTreeMap<&str, Vec<(WorkerId, f64)>> = BTreeMap::new();
        for name in self.averages.keys() {
            let uses = || self.loads.iter().filter_map(|(id, load)| Some((id, load, load.metrics.get(name)?)));
            if !uses().any(|(_, _, metric)| self.is_out_of_balance(name, metric)) {
                continue;
            }
            let average = self.averages[name];
            let excess = uses().filter(|(_, load, metric)| metric.value > average && load.leases > 0);
            let excess = excess.map(|(id, load, metric)| {
                (id.clone(), load.throughput * (metric.value - average) / metric.value * DAMPENING)
            });
            of_metric.insert(name, excess.collect());
        }
        let total = |excess: &Vec<(WorkerId, f64)>| excess.iter().map(|(_, amount)| amount).sum::<f64>();
        let mut most = of_metric.into_values().max_by(|a, b| total(a).total_cmp(&total(b))).unwrap_or_default();
        most.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        most
    }

    fn balance(&mut self, live: &[&Candidate], moves: &mut Vec<Move>) {
        for (from, excess) in self.excess() {
            let movable = live.iter().filter(|candidate| {
                !is_orphan(candidate) && !candidate.lease.in_handoff() && candidate.lease.owner.as_ref() == Some(&from)
            });
            let leases: Vec<&Lease> = movable.map(|candidate| &candidate.lease).collect();
            for lease in self.fitting(&leases, excess) {
                let Some(to) = self.roomiest().filter(|to| *to != from && self.stays_below_average(to, lease)) else {
                    break;
                };
                self.add(&to, self.throughput_of(lease));
                moves.push(Move { lease: lease.clone(), to, how: How::HandOff });
            }
        }
    }

    /// Leases that together stay within `excess`; if none does, the smallest one.
    fn fitting<'a>(&self, leases: &[&'a Lease], excess: f64) -> Vec<&'a Lease> {
        let mut by_size: Vec<(f64, &Lease)> = leases.iter().map(|lease| (self.throughput_of(lease), *lease)).collect();
        by_size.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut left = excess;
        let mut chosen = Vec::new();
        for (throughput, lease) in &by_size {
            if *throughput > 0.0 && left - throughput > 0.0 {
                left -= throughput;
                chosen.push(*lease);
            }
        }
        // A worker keeps its only lease: moving it would only move the problem.
        if chosen.is_empty() && leases.len() > 1 {
            chosen.extend(by_size.last().map(|(_, lease)| *lease));
        }
        chosen
    }

    fn stays_below_average(&self, worker: &WorkerId, lease: &Lease) -> bool {
        let share = self.share(self.throughput_of(lease));
        self.loads[worker].metrics.iter().all(|(name, metric)| {
            let average = self.averages[name];
            let after = metric.value + share * average;
            after <= average && after <= metric.limit
        })
    }
}

#[cfg(test)]
mod tests;
