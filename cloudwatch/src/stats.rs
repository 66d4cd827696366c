//! Samples of one metric in one window: their statistics and, while they are few, the values themselves. Pure.
//!
//! (A) The statistics are those of all samples. (B) Memory is bounded: beyond [`MAX_VALUES`] different values only the
//! statistics are kept.

use std::collections::BTreeMap;

/// Maximum different values of a datum. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
pub(crate) const MAX_VALUES: usize = 150;

/// Magnitudes that CloudWatch accepts. Same source.
const MAGNITUDES: std::ops::RangeInclusive<f64> = 8.515920e-109..=1.174271e108;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stats {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Values and their counts, by the order of their bits; None if there are too many.
    values: Option<BTreeMap<u64, f64>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { count: 0.0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, values: Some(BTreeMap::new()) }
    }
}

impl Stats {
    /// Statistics that keep no values.
    pub(crate) fn without_values() -> Self {
        Self { values: None, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// Adds `count` samples of a value. What CloudWatch does not accept is left out.
    pub(crate) fn add(&mut self, value: f64, count: f64) {
        if count <= 0.0 || (value != 0.0 && !MAGNITUDES.contains(&value.abs())) {
            return;
        }
        self.count += count;
        self.sum += value * count;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if let Some(values) = &mut self.values {
            *values.entry((value + 0.0).to_bits()).or_default() += count;
            if values.len() > MAX_VALUES {
                self.values = None;
            }
        }
    }

    /// Statistics without values.
    pub(crate) fn of(count: f64, sum: f64, [min, max]: [f64; 2]) -> Self {
        Self { count, sum, min, max, values: None }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.values = match (self.values.take(), &other.values) {
            (Some(mut values), Some(others)) => {
                others.iter().for_each(|(value, count)| *values.entry(*value).or_default() += count);
                (values.len() <= MAX_VALUES).then_some(values)
            }
            _ => None,
        };
    }

    /// The values with their counts, if they are few.
    pub(crate) fn values(&self) -> Option<impl Iterator<Item = (f64, f64)> + '_> {
        let values = self.values.as_ref().filter(|values| !values.is_empty())?;
        Some(values.iter().map(|(value, count)| (f64::from_bits(*value), *count)))
    }

    /// Drops the values; their statistics stay.
    pub(crate) fn forget_values(&mut self) {
        self.values = None;
    }

    /// Number of different values kept.
    pub(crate) fn distinct(&self) -> usize {
        self.values.as_ref().map_or(0, BTreeMap::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_150_different_values_are_kept_and_beyond_only_statistics() {
        let mut stats = Stats::default();
        (0..150).for_each(|n| stats.add(f64::from(n), 2.0));
        assert_eq!((stats.distinct(), stats.count, stats.sum), (150, 300.0, 22_350.0));

        stats.add(150.0, 1.0);
        assert!(stats.values().is_none());
        assert_eq!((stats.count, stats.sum, stats.min, stats.max), (301.0, 22_500.0, 0.0, 150.0));
    }

    #[test]
    fn what_cloudwatch_does_not_accept_is_left_out() {
        let mut stats = Stats::default();
        for value in [f64::NAN, f64::INFINITY, 1e300, 1e-200] {
            stats.add(value, 1.0);
        }
        stats.add(1.0, 0.0);
        assert!(stats.is_empty());
        stats.add(-0.0, 1.0);
        stats.add(0.0, 1.0);
        assert_eq!((stats.count, stats.distinct()), (2.0, 1), "zeros are one value");
    }

    #[test]
    fn merged_statistics_are_those_of_all_samples() {
        let (mut all, mut some) = (Stats::default(), Stats::default());
        all.add(1.0, 1.0);
        some.add(5.0, 3.0);
        all.merge(&some);
        all.merge(&Stats::default());
        assert_eq!((all.count, all.sum, all.min, all.max, all.distinct()), (4.0, 16.0, 1.0, 5.0, 2));
        all.merge(&Stats::of(2.0, 4.0, [2.0; 2]));
        assert_eq!((all.count, all.sum, all.distinct()), (6.0, 20.0, 0));
    }
}
