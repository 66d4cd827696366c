//! The table of what each side published.

use std::collections::{BTreeMap, BTreeSet};

use kinesis_local::{Metric, MetricForm};

use crate::APPLICATION;

/// Library, operation, name, and the names of the other dimensions.
type Place = (&'static str, String, String, String);

/// Statistics of all data of a metric.
#[derive(Debug, Clone, Default)]
struct Published {
    data: usize,
    samples: f64,
    sum: f64,
    bounds: Option<(f64, f64)>,
    units: BTreeSet<String>,
    forms: BTreeSet<&'static str>,
}

impl Published {
    fn add(&mut self, metric: &Metric) {
        let (least, most) = self.bounds.unwrap_or((metric.minimum, metric.maximum));
        self.bounds = Some((least.min(metric.minimum), most.max(metric.maximum)));
        self.data += 1;
        self.samples += metric.sample_count;
        self.sum += metric.sum;
        self.units.insert(metric.unit.clone().unwrap_or_else(|| "none".to_owned()));
        self.forms.insert(form(metric));
    }

    fn shown(&self) -> String {
        let (least, most) = self.bounds.unwrap_or_default();
        let mean = self.sum / self.samples;
        let Self { data, samples, .. } = self;
        format!("{data} × {}: {samples} of {least:.0} to {most:.0}, mean {mean:.2}", joined(&self.forms))
    }
}

pub(crate) fn form(metric: &Metric) -> &'static str {
    match metric.form {
        MetricForm::Value => "value",
        MetricForm::Values => "values",
        _ => "set",
    }
}

/// A row for each metric and set of dimensions: what each side published.
pub(crate) fn print(java: &[Metric], ours: &[Metric]) {
    let (java, ours) = (published(java), published(ours));
    println!("| | Operation | Metric | Further dimensions | Unit | Java | here |\n|---|---|---|---|---|---|---|");
    let places: BTreeSet<&Place> = java.keys().chain(ours.keys()).collect();
    for place in places {
        let (library, operation, name, dimensions) = place;
        let sides = [java.get(place), ours.get(place)];
        let units: BTreeSet<&String> = sides.iter().flatten().flat_map(|side| &side.units).collect();
        let [java, ours] = sides.map(|side| side.map_or("-".to_owned(), Published::shown));
        println!("| {library} | {operation} | `{name}` | {dimensions} | {} | {java} | {ours} |", joined(&units));
    }
}

fn joined<T: AsRef<str>>(parts: &BTreeSet<T>) -> String {
    parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

fn published(metrics: &[Metric]) -> BTreeMap<Place, Published> {
    let mut all: BTreeMap<Place, Published> = BTreeMap::new();
    for metric in metrics {
        let library = if metric.namespace == APPLICATION { "kcl" } else { "kpl" };
        let operation = metric.dimension("Operation").unwrap_or_default().to_owned();
        let mut names: Vec<&str> = metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| *name != "Operation");
        names.sort_unstable();
        all.entry((library, operation, metric.name.clone(), names.join(", "))).or_default().add(metric);
    }
    all
}
