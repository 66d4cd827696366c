//! The page of the metrics, checked against the tables of the libraries. `WRITE_METRICS=1` writes its tables anew.

use std::{fmt::Write as _, path::Path};

use kpl::metric::{Metric, MetricKind, MetricsLevel, Origin, Samples};

const PAGE: &str = "../docs/metrics.md";

/// The table of a library, as the page has it.
fn table(metrics: &[Metric]) -> String {
    let of_consumer = metrics.iter().any(|metric| metric.operation.is_some());
    let mut text = String::new();
    if of_consumer {
        text.push_str("| Operation | Metric | Unit | Kind | Level | Further dimensions | Java | Meaning |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
    } else {
        text.push_str("| Metric | Unit | Kind | Level | Dimensions | Java | In CloudWatch | Meaning |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
    }
    for metric in metrics {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            _ => "histogram",
        };
        let level = if metric.level == MetricsLevel::Summary { "summary" } else { "detailed" };
        let java = if metric.origin == Origin::Java { "yes" } else { "ours" };
        let dimensions = metric.dimensions.join(", ");
        let (name, unit, meaning) = (metric.name, metric.unit.as_str(), metric.description);
        let written = match metric.operation {
            Some(operation) => {
                writeln!(
                    text,
                    "| {operation} | `{name}` | {unit} | {kind} | {level} | {dimensions} | {java} | {meaning} |"
                )
            }
            None => {
                let samples = samples(metric);
                writeln!(
                    text,
                    "| `{name}` | {unit} | {kind} | {level} | {dimensions} | {java} | {samples} | {meaning} |"
                )
            }
        };
        written.expect("a string takes all");
    }
    text
}

fn samples(metric: &Metric) -> String {
    match metric.samples {
        Samples::Recorded => "each value".to_owned(),
        Samples::Ones { zeros: None } => "ones".to_owned(),
        Samples::Ones { zeros: Some(zeros) } => format!("ones, and a zero for each of `{zeros}`"),
        Samples::Counted { sum, counts } => format!("sum `{sum}` of as many as `{}`", counts.join("` + `")),
        _ => "not by itself".to_owned(),
    }
}

/// The page with these tables between its marks.
fn with_tables(page: &str) -> String {
    let mut page = page.to_owned();
    for (library, metrics) in [("kpl", kpl::METRICS), ("kcl", kcl::METRICS)] {
        let (begin, end) = (format!("<!-- metrics of {library} -->\n"), format!("<!-- end of {library} -->"));
        let start = page.find(&begin).expect("the page has the mark") + begin.len();
        let stop = page[start..].find(&end).expect("the page has the mark") + start;
        page.replace_range(start..stop, &format!("\n{}\n", table(metrics)));
    }
    page
}

#[test]
fn the_page_of_the_metrics_has_all_of_them_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page can be read");
    let expected = with_tables(&page);
    if std::env::var_os("WRITE_METRICS").is_some() {
        std::fs::write(&path, &expected).expect("the page can be written");
    } else {
        assert!(page == expected, "docs/metrics.md is not as the tables are: WRITE_METRICS=1 writes it");
    }
}
