//! A text in an allocation that other texts share.
//!
//! (A) A text equals, orders and hashes as its characters do, whatever it shares. (B) The allocation lives as long as any
//! of its texts.
//!
//! A record read from Kinesis has two texts, partition key and sequence number, of some 70 bytes together. Packed, 4 KiB of
//! them take one allocation in place of 120 (`cargo bench -p integration-tests --bench consumer_allocations`).

mod pack;

use std::{borrow::Borrow, cmp::Ordering, fmt, hash, ops::Deref, sync::Arc};

pub use pack::TextPack;

/// A text that is cheap to clone, and may be a part of a larger one whose allocation it shares. Derefs to `str`.
///
/// It keeps the whole allocation alive: of a record that was not aggregated 4 KiB at most, or its own length if that is
/// more; of one out of an aggregate all partition keys of the aggregate, whose data a record's data keep anyway. An
/// application that keeps few records for long copies their texts: `record.partition_key.to_string()`.
#[derive(Clone, Default)]
pub struct SharedText {
    whole: Arc<str>,
    /// Bytes before the text, and behind it. In 32 bits, so that a record stays small.
    before: u32,
    behind: u32,
}

impl SharedText {
    /// The text from `start` to `end` of `whole`: with an allocation of its own where 32 bits do not reach.
    fn part(whole: &Arc<str>, start: usize, end: usize) -> Self {
        match (u32::try_from(start), u32::try_from(whole.len() - end)) {
            (Ok(before), Ok(behind)) => Self { whole: Arc::clone(whole), before, behind },
            _ => Self::from(&whole[start..end]),
        }
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.whole[self.before as usize..self.whole.len() - self.behind as usize]
    }

    /// Returns whether both texts are in one allocation.
    pub fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.whole, &other.whole)
    }
}

impl Deref for SharedText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for SharedText {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for SharedText {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<Arc<str>> for SharedText {
    fn from(whole: Arc<str>) -> Self {
        Self { whole, before: 0, behind: 0 }
    }
}

impl From<&str> for SharedText {
    fn from(text: &str) -> Self {
        Self::from(Arc::from(text))
    }
}

impl From<String> for SharedText {
    fn from(text: String) -> Self {
        Self::from(Arc::from(text))
    }
}

/// Without a copy if the text is the whole of its allocation.
impl From<SharedText> for Arc<str> {
    fn from(text: SharedText) -> Self {
        if text.before == 0 && text.behind == 0 { text.whole } else { text.as_str().into() }
    }
}

impl fmt::Display for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for SharedText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SharedText {}

impl PartialEq<str> for SharedText {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for SharedText {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Ord for SharedText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for SharedText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As `str`, which [`Borrow`] demands.
impl hash::Hash for SharedText {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_of_a_pack_is_found_by_its_characters() {
        let mut pack = TextPack::new();
        ["", "alpha", "béta", ""].into_iter().for_each(|text| pack.push(text));
        assert_eq!(pack.size_bytes(), 10);

        let texts: Vec<SharedText> = pack.texts().collect();

        assert_eq!(texts, ["", "alpha", "béta", ""]);
        assert!(texts[1].shares_with(&texts[2]) && !texts[1].shares_with(&"alpha".into()));
        let (hashed, ordered) = (HashSet::from([texts[1].clone()]), BTreeSet::from([texts[1].clone()]));
        assert!(hashed.contains("alpha") && ordered.contains("alpha") && !hashed.contains("alphabéta"));
    }

    #[test]
    fn a_pack_is_empty_after_its_texts_were_taken() {
        let mut pack = TextPack::new();
        pack.push("first");
        let first: Vec<SharedText> = pack.texts().collect();
        pack.push("second");

        assert_eq!(pack.texts().collect::<Vec<_>>(), ["second"]);
        assert_eq!(first, ["first"]);
    }

    #[test]
    fn only_a_whole_allocation_becomes_a_text_of_its_own_without_a_copy() {
        let (whole, mut pack) = (Arc::<str>::from("whole"), TextPack::new());
        ["a", "b"].into_iter().for_each(|text| pack.push(text));
        let part = pack.texts().next().unwrap_or_default();

        assert!(Arc::ptr_eq(&Arc::from(SharedText::from(Arc::clone(&whole))), &whole));
        assert_eq!(&*Arc::<str>::from(part), "a");
    }

    proptest! {
        #[test]
        fn texts_are_what_was_added(texts in prop::collection::vec(".*", 0..20)) {
            let mut pack = TextPack::new();
            texts.iter().for_each(|text| pack.push(text));

            prop_assert_eq!(pack.texts().map(|text| text.to_string()).collect::<Vec<_>>(), texts);
        }
    }
}
