//! Choice of the user records to print. Pure.

use bytes::Bytes;
use regex::bytes::Regex;

use crate::inflate::inflated;

/// Conditions that a user record must meet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Its partition key.
    pub(crate) key: Option<String>,
    /// Found somewhere in its data, without their compression.
    pub(crate) grep: Option<Regex>,
    /// Compressed data are left as they are.
    pub(crate) keep_compressed: bool,
}

impl Filter {
    /// The data to print; None if the record is not wanted.
    pub(crate) fn data(&self, partition_key: &str, data: &Bytes) -> Option<Bytes> {
        if self.key.as_ref().is_some_and(|key| key != partition_key) {
            return None;
        }
        let readable = inflated(data);
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&readable)) {
            return None;
        }
        Some(if self.keep_compressed { data.clone() } else { readable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_must_have_the_key_and_the_pattern() {
        let filter =
            Filter { key: Some("k".into()), grep: Some(Regex::new("(?i)ORDER [0-9]").unwrap()), ..Filter::default() };

        assert_eq!(filter.data("k", &"an order 7".into()), Some("an order 7".into()));
        assert_eq!(filter.data("k", &"an order".into()), None);
        assert_eq!(filter.data("j", &"an order 7".into()), None);
    }
}
