//! The tags of a stream or a consumer.

use std::collections::BTreeMap;

use super::check::Check;
use super::error::Error;

/// Maximum number of tags of a resource. docs.aws.amazon.com/kinesis/latest/APIReference/API_AddTagsToStream.html
pub(super) const MAX_TAGS: usize = 50;

/// Maximum number of characters of a key and of a value. Same source.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// Keys and values, in the order of the keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Tags of a new resource.
    pub(super) fn new(tags: Option<BTreeMap<String, String>>) -> Result<Self, Error> {
        let mut all = Self::default();
        all.add(tags.unwrap_or_default())?;
        Ok(all)
    }

    /// Adds tags, and replaces those with the same keys. Adds none when one of them cannot be.
    pub(super) fn add(&mut self, tags: BTreeMap<String, String>) -> Result<(), Error> {
        let mut check = Check::default();
        for (key, value) in &tags {
            if key.is_empty() || key.chars().count() > MAX_KEY {
                let constraint = format!("have length between 1 and {MAX_KEY}");
                check.fail(format_args!("'{key}'"), "tags.key", constraint);
            }
            if value.chars().count() > MAX_VALUE {
                let constraint = format!("have length less than or equal to {MAX_VALUE}");
                check.fail(format_args!("'{value}'"), "tags.value", constraint);
            }
        }
        check.finish()?;
        let is_plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        if !tags.iter().all(|(key, value)| key.chars().chain(value.chars()).all(is_plain)) {
            return Err(Error::invalid_argument(
                "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, \
                 _ . / = + - % @.",
            ));
        }
        let more = tags.keys().filter(|key| !self.0.contains_key(*key)).count();
        if self.0.len() + more > MAX_TAGS {
            return Err(Error::invalid_argument(format!(
                "Failed to add tags because a given resource cannot have more than {MAX_TAGS} tags associated with it."
            )));
        }
        self.0.extend(tags);
        Ok(())
    }

    pub(super) fn remove(&mut self, keys: &[String]) {
        for key in keys {
            self.0.remove(key);
        }
    }

    /// In order, after a key if there is one.
    pub(super) fn after(&self, key: Option<&str>) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().filter(move |(tag, _)| key.is_none_or(|key| tag.as_str() > key))
    }
}
