//! Batches of data for one request each. Pure.
//!
//! (A) A batch has data of one namespace, at most 1,000, and at most 900 KB. (B) Each datum is in one batch, in order.

use crate::datum::Datum;

/// Maximum data of a request. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
const MAX_DATA: usize = 1000;
/// Bytes of a request: less than the maximum of 1 MB, as the bytes of a datum are an estimate. Same source.
const MAX_BYTES: usize = 900_000;

/// Number of the first data that are one batch; 0 if there are none.
pub(crate) fn next<'d>(data: impl IntoIterator<Item = &'d Datum>) -> usize {
    let (mut namespace, mut bytes, mut count) = (None, 0, 0);
    for datum in data {
        bytes += datum.bytes();
        let is_other = *namespace.get_or_insert(&datum.namespace) != &datum.namespace;
        if count > 0 && (is_other || count == MAX_DATA || bytes > MAX_BYTES) {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{datum::Dimensions, stats::Stats};

    fn datum(namespace: &str, name: &str, values: u32) -> Datum {
        let mut stats = Stats::default();
        (0..values).for_each(|n| stats.add(f64::from(n), 1.0));
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Datum { namespace, name, dimensions: Dimensions::new(), unit: None, stats, at: None }
    }

    #[test]
    fn a_batch_ends_at_a_thousand_data_a_namespace_and_a_megabyte() {
        assert_eq!(next(&[]), 0);
        assert_eq!(next(&vec![datum("a", "n", 1); 1000]), 1000);
        assert_eq!(next(&vec![datum("a", "n", 1); 1001]), 1000);
        assert_eq!(next(&[datum("a", "n", 1), datum("a", "n", 1), datum("b", "n", 1)]), 2);
        let large = vec![datum("a", &"x".repeat(255), 150); 1000];
        let count = next(&large);
        let bytes: usize = large[..count].iter().map(Datum::bytes).sum();
        assert!(count < 1000 && bytes <= MAX_BYTES && bytes + large[0].bytes() > MAX_BYTES, "{count} of {bytes}");
    }
}
