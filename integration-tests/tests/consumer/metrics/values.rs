//! The value of each metric: times by delays of the calls that they measure, failures by faults, gauges by the state they
//! show. Each test has a table of what it expects, and the tables together have every metric of the consumer.

mod counts;
mod gauges;
mod successes;
mod times;

use std::collections::BTreeSet;

use integration_tests::{Running, number, text};
use kcl::{InitialPosition, Renewals, WorkerBuilder};

use super::*;

/// Operation and name of a metric, and its samples over all of its series.
type Row = (&'static str, &'static str, Expected);

#[derive(Debug)]
enum Expected {
    /// Each is one of these times, give or take 3 ms.
    Millis(&'static [u64]),
    /// Some are 0, some are 1, and there are no others.
    SuccessAndFailure,
    /// Each is this value.
    Each(f64),
    /// Each is within these bounds.
    Between(f64, f64),
    Sum(f64),
    SumOfAtLeast(f64),
}

impl Expected {
    fn is_met_by(&self, samples: &[f64]) -> bool {
        let all = |is_right: &dyn Fn(f64) -> bool| samples.iter().all(|sample| is_right(*sample));
        let sum: f64 = samples.iter().sum();
        !samples.is_empty()
            && match *self {
                #[expect(clippy::cast_precision_loss, reason = "small times")]
                Self::Millis(times) => all(&|sample| times.iter().any(|time| (sample - *time as f64).abs() <= 3.0)),
                Self::SuccessAndFailure => {
                    samples.contains(&0.0) && samples.contains(&1.0) && all(&|sample| [0.0, 1.0].contains(&sample))
                }
                Self::Each(value) => all(&|sample| sample == value),
                Self::Between(least, most) => all(&|sample| (least..=most).contains(&sample)),
                Self::Sum(value) => sum == value,
                Self::SumOfAtLeast(least) => sum >= least,
            }
    }
}

/// Rows that are not met, a line each.
fn wrong(all: &[Series], rows: &[Row]) -> String {
    let wrong = rows.iter().filter_map(|(operation, name, expected)| {
        let samples = values(all, operation, name);
        (!expected.is_met_by(&samples)).then(|| format!("{operation} {name}: {samples:?}, not {expected:?}\n"))
    });
    wrong.collect()
}

#[track_caller]
fn assert_values(all: &[Series], rows: &[Row]) {
    let wrong = wrong(all, rows);
    assert!(wrong.is_empty(), "{wrong}");
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn every_metric_of_the_table_is_asserted_by_value() {
    let asserted: BTreeSet<_> = [times::TABLES, successes::TABLES, gauges::TABLES, counts::TABLES]
        .iter()
        .flat_map(|tables| tables.iter().copied().flatten())
        .map(|(operation, name, _)| (*operation, *name))
        .collect();
    let declared: BTreeSet<_> =
        METRICS.iter().map(|metric| (metric.operation.unwrap_or_default(), metric.name)).collect();

    let missing: Vec<_> = declared.difference(&asserted).collect();
    let unknown: Vec<_> = asserted.difference(&declared).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "without a value: {missing:?}, undeclared: {unknown:?}");
}

#[test]
fn expectations_are_not_met_by_other_samples_or_by_none() {
    for (expected, right, wrong) in [
        (Expected::Millis(&[5, 50]), vec![7.0, 48.0], vec![7.0, 20.0]),
        (Expected::SuccessAndFailure, vec![1.0, 0.0], vec![1.0, 1.0]),
        (Expected::SuccessAndFailure, vec![1.0, 0.0], vec![1.0, 0.0, 2.0]),
        (Expected::Each(1.0), vec![1.0, 1.0], vec![1.0, 0.0]),
        (Expected::Between(1.0, 2.0), vec![1.0, 2.0], vec![1.0, 3.0]),
        (Expected::Sum(3.0), vec![1.0, 2.0], vec![3.0, 1.0]),
        (Expected::SumOfAtLeast(3.0), vec![1.0, 2.0], vec![1.0]),
    ] {
        assert!(expected.is_met_by(&right) && !expected.is_met_by(&wrong) && !expected.is_met_by(&[]), "{expected:?}");
    }
}
