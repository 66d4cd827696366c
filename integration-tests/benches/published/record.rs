//! The record of what was published: a line of JSON for each datum, for `draw` and for a closer look.

use std::{fs::File, io::Write as _, path::Path, time::UNIX_EPOCH};

use kinesis_local::Metric;
use serde_json::json;

use crate::table::form;

pub(crate) fn write(metrics: &[Metric], path: &Path) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for metric in metrics {
        let dimensions: std::collections::BTreeMap<_, _> = metric.dimensions.iter().cloned().collect();
        let line = json!({
            "namespace": metric.namespace,
            "name": metric.name,
            "dimensions": dimensions,
            "at": metric.timestamp.duration_since(UNIX_EPOCH)?.as_secs_f64(),
            "unit": metric.unit,
            "form": form(metric),
            "count": metric.sample_count,
            "sum": metric.sum,
            "min": metric.minimum,
            "max": metric.maximum,
        });
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}
