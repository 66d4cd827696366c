//! Composition of data from the windows of series. Pure.
//!
//! (A) A datum has the name, unit and dimensions of the Java libraries. (B) Its samples are those that the Java libraries
//! record: [`Samples`] says how they follow from what was recorded. (C) The producer's metrics are published by shard,
//! stream and globally, as far as they were recorded: a sample belongs to each. Source: `metrics_manager.h` of the KPL.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use kpl::metric::{Metric, Samples};

use crate::{
    datum::{Datum, Dimensions},
    series::Window,
    stats::Stats,
};

/// Dimensions of the producer, deepest first.
const ROLLED_UP: [&str; 3] = ["ShardId", "StreamName", "ErrorCode"];

/// Windows of one library in one namespace, by metric and dimensions.
pub(crate) type Windows = BTreeMap<(&'static str, Dimensions), Window>;

/// Data of the producer's windows.
pub(crate) fn of_producer(table: &[Metric], windows: &Windows, namespace: &str, at: Option<SystemTime>) -> Vec<Datum> {
    let mut all: BTreeMap<(&'static str, Dimensions), (Stats, &'static str)> = BTreeMap::new();
    for metric in table {
        for dimensions in dimensions_of(metric, windows) {
            let stats = samples(metric, windows, dimensions);
            if stats.is_empty() {
                continue;
            }
            for ancestor in ancestors(dimensions) {
                let (sum, _) = all.entry((metric.name, ancestor)).or_insert((Stats::default(), metric.unit.as_str()));
                sum.merge(&stats);
            }
        }
    }
    let datum = |((name, dimensions), (stats, unit)): ((&str, Dimensions), (Stats, &'static str))| Datum {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions,
        unit: Some(unit),
        stats,
        at,
    };
    all.into_iter().map(datum).collect()
}

/// All dimensions under which the metric or one that it is composed of was recorded.
fn dimensions_of<'w>(metric: &Metric, windows: &'w Windows) -> BTreeSet<&'w Dimensions> {
    let parts: &[&str] = match &metric.samples {
        Samples::Ones { zeros: Some(zeros) } => &[zeros],
        Samples::Counted { counts, .. } => counts,
        _ => &[],
    };
    let is_part = |name: &str| name == metric.name || parts.contains(&name);
    windows.keys().filter(|(name, _)| is_part(name)).map(|(_, dimensions)| dimensions).collect()
}

fn samples(metric: &Metric, windows: &Windows, dimensions: &Dimensions) -> Stats {
    let find = |name: &'static str| windows.get(&(name, dimensions.clone()));
    let total = |name: &'static str| find(name).map_or(0.0, |window| window.total);
    let mut stats = Stats::default();
    match metric.samples {
        Samples::Ones { zeros } => {
            stats.add(1.0, total(metric.name));
            stats.add(0.0, zeros.map_or(0.0, total));
        }
        Samples::Counted { sum, counts } => {
            let (count, sum) = (counts.iter().map(|name| total(name)).sum(), total(sum));
            if count > 0.0 {
                let own = find(metric.name).map(|window| &window.stats);
                let mean = sum / count;
                let bounds =
                    own.filter(|own| window_has_values(metric, own)).map_or([mean; 2], |own| [own.min, own.max]);
                stats = Stats::of(count, sum, bounds);
            }
        }
        Samples::Part => {}
        _ => stats = find(metric.name).map(|window| window.stats.clone()).unwrap_or_default(),
    }
    stats
}

/// The recorded values are samples themselves, if only not all of them.
fn window_has_values(metric: &Metric, own: &Stats) -> bool {
    metric.kind == kpl::metric::MetricKind::Histogram && !own.is_empty()
}

/// These dimensions, and those of the coarser granularities.
fn ancestors(dimensions: &Dimensions) -> Vec<Dimensions> {
    let mut all = vec![dimensions.clone()];
    for name in ROLLED_UP {
        let mut coarser = all[all.len() - 1].clone();
        if coarser.remove(name).is_some() {
            all.push(coarser);
        }
    }
    all
}

#[cfg(all(test, feature = "producer"))]
mod tests {
    use kpl::METRICS;

    use super::*;

    fn dimensions(of: &[(&str, &str)]) -> Dimensions {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn counter(increments: &[f64]) -> Window {
        let mut window = Window { total: increments.iter().sum(), ..Window::default() };
        increments.iter().for_each(|value| window.stats.add(*value, 1.0));
        window
    }

    fn histogram(values: &[f64]) -> Window {
        Window { total: 0.0, ..counter(values) }
    }

    fn published(windows: &Windows) -> BTreeMap<(String, Dimensions), Stats> {
        let data = of_producer(METRICS, windows, "KPL", None);
        data.into_iter().map(|datum| ((datum.name, datum.dimensions), datum.stats)).collect()
    }

    const STREAM: (&str, &str) = ("StreamName", "s");

    #[test]
    fn counters_become_ones_and_zeros() {
        let at = dimensions(&[STREAM]);
        let windows = Windows::from([
            (("UserRecordsPut", at.clone()), counter(&[90.0, 7.0])),
            (("UserRecordsFailed", at.clone()), counter(&[3.0])),
            (("UserRecordsDataPut", at.clone()), counter(&[970.0])),
            (("UserRecordExpired", at.clone()), counter(&[0.0])),
        ]);
        let all = published(&windows);

        let put = &all[&("UserRecordsPut".to_owned(), at.clone())];
        assert_eq!((put.count, put.sum, put.min, put.max), (100.0, 97.0, 0.0, 1.0));
        let data = &all[&("UserRecordsDataPut".to_owned(), at.clone())];
        assert_eq!((data.count, data.sum, data.min, data.max), (97.0, 970.0, 10.0, 10.0));
        assert_eq!(all.get(&("UserRecordExpired".to_owned(), at.clone())), None, "no sample");
        assert_eq!(all.get(&("UserRecordsFailed".to_owned(), at)), None, "a part of UserRecordsPut");
    }

    #[test]
    fn records_that_only_fail_are_samples_of_zero() {
        let at = dimensions(&[STREAM]);
        let all = published(&Windows::from([(("UserRecordsFailed", at.clone()), counter(&[5.0]))]));
        let put = &all[&("UserRecordsPut".to_owned(), at)];
        assert_eq!((put.count, put.sum, put.min, put.max), (5.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn retries_have_a_sample_for_each_user_record() {
        let at = dimensions(&[STREAM]);
        let windows = Windows::from([
            (("UserRecordsPut", at.clone()), counter(&[90.0, 10.0])),
            (("UserRecordRetries", at.clone()), counter(&[0.0, 20.0])),
            (("RetriesPerRecord", at.clone()), histogram(&[0.0, 2.0])),
        ]);
        let retries = &published(&windows)[&("RetriesPerRecord".to_owned(), at)];
        assert_eq!((retries.count, retries.sum, retries.min, retries.max), (100.0, 20.0, 0.0, 2.0));
    }

    #[test]
    fn two_streams_of_two_shards_are_seven_metrics() {
        let mut windows = Windows::new();
        for stream in ["a", "b"] {
            for shard in ["0", "1"] {
                let at = dimensions(&[("StreamName", stream), ("ShardId", shard)]);
                windows.insert(("BufferingTime", at), histogram(&[1.0, 3.0]));
            }
        }
        let all = published(&windows);

        assert_eq!(all.len(), 7);
        let global = &all[&("BufferingTime".to_owned(), Dimensions::new())];
        assert_eq!((global.count, global.sum), (8.0, 16.0));
        let stream = &all[&("BufferingTime".to_owned(), dimensions(&[("StreamName", "a")]))];
        assert_eq!((stream.count, stream.sum), (4.0, 8.0));
    }

    #[test]
    fn errors_are_rolled_up_by_code_and_labels_of_the_application_stay() {
        let at = dimensions(&[("ErrorCode", "Throttled"), STREAM, ("Fleet", "blue")]);
        let all = published(&Windows::from([(("ErrorsByCode", at), counter(&[2.0]))]));

        let found: Vec<Vec<&str>> = all.keys().map(|(_, at)| at.keys().map(String::as_str).collect()).collect();
        assert_eq!(found, [vec!["ErrorCode", "Fleet"], vec!["ErrorCode", "Fleet", "StreamName"], vec!["Fleet"]]);
    }
}
