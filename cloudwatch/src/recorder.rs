//! The recorder: a `metrics::Recorder` that keeps series until they are published.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use kpl::metric::Metric;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

use crate::{
    catalog::Catalog,
    compose::{self, Windows},
    datum::{self, Datum, Dimensions},
    room::Room,
    series::{CounterHandle, Kind, Series, Source, Window},
};

/// Label with an application's name, which is its namespace.
const APPLICATION: &str = "Application";

/// Maximum names whose units are kept.
const MAX_UNITS: usize = 100_000;

/// Namespaces of what is published. None: it is not.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces {
    pub(crate) producer: Option<String>,
    /// In place of the applications' names.
    pub(crate) consumer: Option<String>,
    pub(crate) application: Option<String>,
}

/// Records metrics for [`Publisher`](crate::Publisher). Clones are one. Recording takes a lock of the series, for the length
/// of an addition, and of a registration one of its part of all series; neither waits for CloudWatch.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    namespaces: Namespaces,
    catalog: Catalog,
    // Locked to note or to look up a unit.
    units: Mutex<HashMap<String, &'static str>>,
    room: Arc<Room>,
}

impl Recorder {
    pub(crate) fn new(namespaces: Namespaces) -> Self {
        let (catalog, units, room) = (Catalog::default(), Mutex::default(), Arc::default());
        Self { shared: Arc::new(Shared { namespaces, catalog, units, room }) }
    }

    fn series(&self, kind: Kind, key: &Key, metadata: &Metadata<'_>) -> Option<Arc<Series>> {
        let source = match metadata.target() {
            "kpl" => Source::Producer,
            "kcl" => Source::Consumer,
            _ => Source::Application,
        };
        let namespaces = &self.shared.namespaces;
        match source {
            Source::Producer if namespaces.producer.is_none() => return None,
            Source::Application if namespaces.application.is_none() => return None,
            _ => {}
        }
        let new = || Series::new(kind, Arc::clone(&self.shared.room));
        self.shared.catalog.get_or_insert((source, kind, key.clone()), new)
    }

    /// Bounds, and whether each was reached since the start.
    pub(crate) fn bounds(&self) -> [(&'static str, bool); 2] {
        let Shared { room, catalog, .. } = &*self.shared;
        [("series", catalog.was_full()), ("values", room.was_full())]
    }

    /// Takes what was recorded since the last call by one kind of source.
    pub(crate) fn take(&self, source: Source, at: Option<SystemTime>) -> Vec<Datum> {
        let taken = self.shared.catalog.take(source);
        match source {
            Source::Producer => self.of_producer(taken, at),
            Source::Consumer => self.of_consumer(taken, at),
            Source::Application => self.of_application(taken, at),
        }
    }

    fn of_producer(&self, taken: Vec<(Key, Window)>, at: Option<SystemTime>) -> Vec<Datum> {
        let Some(namespace) = &self.shared.namespaces.producer else { return Vec::new() };
        let table = crate::declared::PRODUCER;
        let mut windows = Windows::new();
        for (key, window) in taken {
            if let Some(metric) = find(table, &key, None) {
                windows.insert((metric.name, dimensions(&key)), window);
            }
        }
        compose::of_producer(table, &windows, namespace, at)
    }

    fn of_consumer(&self, taken: Vec<(Key, Window)>, at: Option<SystemTime>) -> Vec<Datum> {
        let datum = |(key, window): (Key, Window)| {
            let (applications, labels): (Vec<_>, Vec<_>) = labels(&key).partition(|(label, _)| *label == APPLICATION);
            let application = applications.first().and_then(|(_, application)| datum::name(application));
            let dimensions = datum::dimensions(labels.into_iter());
            let metric = find(crate::declared::CONSUMER, &key, dimensions.get("Operation").map(String::as_str))?;
            let namespace = self.shared.namespaces.consumer.clone().or(application)?;
            let (name, unit) = (metric.name.to_owned(), Some(metric.unit.as_str()));
            Some(Datum { namespace, name, dimensions, unit, stats: window.stats, at })
        };
        sorted(taken.into_iter().filter_map(datum).collect())
    }

    fn of_application(&self, taken: Vec<(Key, Window)>, at: Option<SystemTime>) -> Vec<Datum> {
        let Some(namespace) = &self.shared.namespaces.application else { return Vec::new() };
        let units = lock(&self.shared.units);
        let datum = |(key, window): (Key, Window)| {
            let (name, unit) = (datum::name(key.name())?, units.get(key.name()).copied());
            let (namespace, dimensions) = (namespace.clone(), dimensions(&key));
            Some(Datum { namespace, name, dimensions, unit, stats: window.stats, at })
        };
        sorted(taken.into_iter().filter_map(datum).collect())
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>) {
        if let Some(unit) = unit {
            let units = &mut lock(&self.shared.units);
            if units.len() < MAX_UNITS {
                units.insert(name.as_str().to_owned(), unit_name(unit));
            }
        }
    }
}

/// The same order each time: those of a namespace together.
fn sorted(mut data: Vec<Datum>) -> Vec<Datum> {
    data.sort_by(|a, b| (&a.namespace, &a.name, &a.dimensions).cmp(&(&b.namespace, &b.name, &b.dimensions)));
    data
}

fn labels(key: &Key) -> impl Iterator<Item = (&str, &str)> + Clone {
    key.labels().map(|label| (label.key(), label.value()))
}

fn dimensions(key: &Key) -> Dimensions {
    datum::dimensions(labels(key))
}

/// The declared metric of a key, under its name or its prefixed name; without the operation, the first of that name.
fn find(table: &'static [Metric], key: &Key, operation: Option<&str>) -> Option<&'static Metric> {
    // The prefixed name is made anew at each comparison, so only for keys that can have one.
    let is_prefixed =
        |metric: &Metric| key.name().strip_prefix(metric.library).is_some_and(|rest| rest.starts_with('_'));
    let is_named =
        |metric: &&Metric| metric.name == key.name() || is_prefixed(metric) && metric.prefixed_name() == key.name();
    let named = || table.iter().filter(is_named);
    named().find(|metric| operation.is_none() || metric.operation == operation).or_else(|| named().next())
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "Count",
        Unit::Percent => "Percent",
        Unit::Seconds => "Seconds",
        Unit::Milliseconds => "Milliseconds",
        Unit::Microseconds => "Microseconds",
        Unit::Bytes => "Bytes",
        Unit::BitsPerSecond => "Bits/Second",
        Unit::KilobitsPerSecond => "Kilobits/Second",
        Unit::MegabitsPerSecond => "Megabits/Second",
        Unit::GigabitsPerSecond => "Gigabits/Second",
        Unit::TerabitsPerSecond => "Terabits/Second",
        Unit::CountPerSecond => "Count/Second",
        // CloudWatch has nanoseconds not at all, and of bytes only powers of ten.
        _ => "None",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after each change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&name, unit);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let series = self.series(Kind::Counter, key, metadata);
        series.map_or(Counter::noop(), |series| Counter::from_arc(Arc::new(CounterHandle(series))))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.series(Kind::Gauge, key, metadata).map_or(Gauge::noop(), Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.series(Kind::Histogram, key, metadata).map_or(Histogram::noop(), Histogram::from_arc)
    }
}
