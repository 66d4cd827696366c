//! A datum: what is published of one metric with its dimensions in one window. Pure.

use std::{collections::BTreeMap, time::SystemTime};

use crate::stats::Stats;

/// Maximum dimensions of a datum. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
const MAX_DIMENSIONS: usize = 30;
/// Maximum characters of a metric's and a dimension's name, and of a namespace. Same source.
const MAX_NAME: usize = 255;
/// Maximum characters of a dimension's value. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
const MAX_VALUE: usize = 1024;

/// Labels of the libraries, which are kept before those of an application.
const OWN: [&str; 7] = ["Call", "Operation", "StreamName", "StreamId", "ShardId", "ErrorCode", "WorkerIdentifier"];

/// Dimensions by name.
pub(crate) type Dimensions = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dimensions: Dimensions,
    pub(crate) unit: Option<&'static str>,
    pub(crate) stats: Stats,
    /// End of the window; None if the client has no clock.
    pub(crate) at: Option<SystemTime>,
}

impl Datum {
    /// Upper bound of its bytes in a request, whatever the protocol.
    pub(crate) fn bytes(&self) -> usize {
        let dimensions: usize = self.dimensions.iter().map(|(name, value)| name.len() + value.len() + 40).sum();
        200 + self.name.len() + dimensions + self.stats.distinct() * 60
    }
}

/// A name as CloudWatch accepts it; None if nothing is left of it.
pub(crate) fn name(text: &str) -> Option<String> {
    let name = clean(text, MAX_NAME)?;
    Some(name.strip_prefix(':').map(|rest| format!("_{rest}")).unwrap_or(name))
}

/// Dimensions as CloudWatch accepts them: the libraries' own, then others up to 30, without those whose value is blank. Source: the KPL omits blanks.
pub(crate) fn dimensions<'a>(labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Dimensions {
    let is_own = |label: &(&str, &str)| OWN.contains(&label.0);
    let ordered = labels.clone().filter(is_own).chain(labels.filter(|label| !is_own(label)));
    let clean = ordered.filter_map(|(label, value)| Some((name(label)?, clean(value, MAX_VALUE)?)));
    clean.take(MAX_DIMENSIONS).collect()
}

fn clean(text: &str, max: usize) -> Option<String> {
    let printable = |char: char| if char.is_ascii() && !char.is_ascii_control() { char } else { '?' };
    let clean: String = text.trim().chars().take(max).map(printable).collect();
    (!clean.is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_keep_to_what_cloudwatch_accepts() {
        let many: Vec<String> = (0..31).map(|n| format!("d{n:02}")).collect();
        assert_eq!(dimensions(many.iter().map(|name| (name.as_str(), "v"))).len(), 30);

        let labels = many.iter().map(|name| (name.as_str(), "v"));
        let kept = dimensions(labels.chain([("ShardId", "1"), ("Operation", "ProcessTask")]));
        assert_eq!((kept.len(), kept.contains_key("ShardId"), kept.contains_key("Operation")), (30, true, true));

        let long = "x".repeat(2_000);
        let kept = dimensions([("blank", "  "), ("umlaut", "Zürich\n"), ("long", long.as_str())].into_iter());
        assert_eq!(kept.get("blank"), None);
        assert_eq!(kept["umlaut"], "Z?rich");
        assert_eq!(kept["long"].len(), 1024);
        assert_eq!(name(&long).map(|name| name.len()), Some(255));
        assert_eq!(name(":x").as_deref(), Some("_x"));
        assert_eq!(name(" "), None);
    }
}
