//! The table of what each side published.

use std::collections::BTreeMap;

use kinesis_local::Metric;

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
    unit: Option<String>,
}

impl Published {
    fn add(&mut self, metric: &Metric) {
        let (least, most) = self.bounds.unwrap_or((metric.minimum, metric.maximum));
        self.bounds = Some((least.min(metric.minimum), most.max(metric.maximum)));
        self.data += 1;
        self.samples += metric.sample_count;
        self.sum += metric.sum;
        self.unit.clone_from(&metric.unit);
    }

    fn shown(&self) -> String {
        let (least, most) = self.bounds.unwrap_or_default();
        let (mean, unit) = (self.sum / self.samples, self.unit.as_deref().unwrap_or("no unit"));
        let Self { data, samples, .. } = self;
        format!("{data} data, {samples} samples, mean {mean:.2} ({least:.2} to {most:.2}), {unit}")
    }
}

pub(crate) fn print(java: &[Metric], ours: &[Metric]) {
    let (java, ours) = (published(java), published(ours));
    println!("| | Operation | Metric | Further dimensions | Java | here |\n|---|---|---|---|---|---|");
    let places: std::collections::BTreeSet<&Place> = java.keys().chain(ours.keys()).collect();
    for place in places {
        let (library, operation, name, dimensions) = place;
        let [java, ours] = [&java, &ours].map(|side| side.get(place).map_or("-".to_owned(), Published::shown));
        println!("| {library} | {operation} | `{name}` | {dimensions} | {java} | {ours} |");
    }
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
