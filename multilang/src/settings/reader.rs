//! Reading of values: what cannot be read is refused, and what was asked for is known.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use super::{SettingsError, source::Entries};

/// Values by key. Remembers the keys that were asked for: all others have no effect.
#[derive(Debug)]
pub(crate) struct Reader {
    entries: Entries,
    asked: RefCell<BTreeSet<String>>,
}

impl Reader {
    pub(crate) fn new(entries: Entries) -> Self {
        Self { entries, asked: RefCell::default() }
    }

    /// Text of a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.entries.get(key).map(String::as_str)
    }

    /// Text of a key that is not empty.
    pub(crate) fn filled(&self, key: &str) -> Option<&str> {
        self.text(key).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A whole number from 0. For types that Java calls primitive 0 and an empty text count as not set; see
    /// [`number_or_zero`](Self::number_or_zero) for the others.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, SettingsError> {
        Ok(self.number_or_zero(key)?.filter(|number| *number > 0))
    }

    /// A whole number from 0.
    pub(crate) fn number_or_zero(&self, key: &str) -> Result<Option<u64>, SettingsError> {
        self.parsed(key, "a whole number from 0", |text| text.parse().ok())
    }

    /// Milliseconds, more than 0.
    pub(crate) fn millis(&self, key: &str) -> Result<Option<Duration>, SettingsError> {
        Ok(self.number(key)?.map(Duration::from_millis))
    }

    /// True or false, in the words that Java takes.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        self.parsed(key, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => Some(true),
            "false" | "no" | "n" | "off" | "0" => Some(false),
            _ => None,
        })
    }

    /// One of several words, in any case.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, SettingsError> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.parsed(key, &format!("one of {}", names.join(", ")), |text| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }

    /// A value in a form of its own; `expected` says which.
    pub(crate) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.filled(key) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| Self::unreadable(key, text, expected))
    }

    pub(crate) fn unreadable(key: &str, value: &str, expected: &str) -> SettingsError {
        SettingsError::Unreadable { key: key.to_owned(), value: value.to_owned(), expected: expected.to_owned() }
    }

    /// The key as it is written, of one whose case does not count.
    pub(crate) fn spelled(&self, key: &str) -> String {
        self.entries.keys().find(|written| written.eq_ignore_ascii_case(key)).cloned().unwrap_or_else(|| key.to_owned())
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Keys that were not asked for.
    pub(crate) fn rest(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        self.entries.keys().filter(|key| !asked.contains(*key)).cloned().collect()
    }

    /// Keys that were asked for.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Keys that were asked for and found, with their values.
    pub(crate) fn taken(&self) -> Vec<(String, String)> {
        let asked = self.asked.borrow();
        let taken = self.entries.iter().filter(|(key, _)| asked.contains(*key));
        taken.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(value: &str) -> Reader {
        Reader::new(Entries::from([("key".to_owned(), value.to_owned())]))
    }

    #[test]
    fn zero_and_nothing_count_as_not_set() {
        for value in ["0", "", "  "] {
            assert_eq!(reader(value).millis("key"), Ok(None), "{value:?}");
        }
        assert_eq!(reader("0").number_or_zero("key"), Ok(Some(0)));
        assert_eq!(reader(" 1500 ").millis("key"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(reader("5").number("other"), Ok(None));
    }

    #[test]
    fn what_is_no_number_is_refused_by_key_value_and_form() {
        for value in ["abc", "1.5", "-1", "99999999999999999999", "10 000"] {
            let error = reader(value).number("key").unwrap_err().to_string();
            assert_eq!(error, format!("key is {value:?}, accepted: a whole number from 0"));
        }
    }

    #[test]
    fn booleans_and_words_are_read_in_any_case() {
        assert_eq!((reader("TRUE").boolean("key"), reader("off").boolean("key")), (Ok(Some(true)), Ok(Some(false))));
        assert_eq!(
            reader("maybe").boolean("key").unwrap_err().to_string(),
            r#"key is "maybe", accepted: true or false"#
        );
        let words = [("FANOUT", 1), ("POLLING", 2)];
        assert_eq!(reader("polling").word("key", &words), Ok(Some(2)));
        let error = reader("PULL").word("key", &words).unwrap_err().to_string();
        assert_eq!(error, r#"key is "PULL", accepted: one of FANOUT, POLLING"#);
    }

    #[test]
    fn keys_that_nobody_asked_for_are_left() {
        let reader = reader("1");
        assert_eq!((reader.rest(), reader.taken()), (vec!["key".to_owned()], vec![]));
        let _ = reader.text("key");
        assert_eq!((reader.rest(), reader.taken()), (vec![], vec![("key".to_owned(), "1".to_owned())]));
    }
}
