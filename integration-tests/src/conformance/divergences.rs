//! [`Divergences`]: the checks that a peer is known to fail, with the reasons why the service is to be believed.
//!
//! One line each, `name of the check: reason`. A `!` before the name keeps the check from being run: it would stop the
//! peer. Empty lines and lines that start with `#` say nothing.

use std::collections::{BTreeMap, BTreeSet};

/// A list of known divergences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divergences {
    reasons: BTreeMap<String, String>,
    /// Checks that stop the peer: they are not run.
    fatal: BTreeSet<String>,
}

/// Reason why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListError {
    /// The line is not `name: reason`.
    NoReason(String),
    /// The name is there twice.
    Twice(String),
}

impl std::error::Error for ListError {}

impl std::fmt::Display for ListError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoReason(line) => write!(f, "no name and reason in the line: {line}"),
            Self::Twice(name) => write!(f, "listed twice: {name}"),
        }
    }
}

impl Divergences {
    /// Reads a list.
    ///
    /// # Errors
    /// A line has no reason, or a name is listed twice.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut list = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parts = line.split_once(':').map(|(name, reason)| (name.trim(), reason.trim()));
            let Some((name, reason)) = parts.filter(|(name, reason)| !name.is_empty() && !reason.is_empty()) else {
                return Err(ListError::NoReason(line.to_owned()));
            };
            let name = match name.strip_prefix('!') {
                None => name,
                Some(name) => {
                    list.fatal.insert(name.to_owned());
                    name
                }
            };
            list.add(name, reason)?;
        }
        Ok(list)
    }

    /// Both lists in one, as of a peer that is two emulators.
    ///
    /// # Errors
    /// A name is in both.
    pub fn and(mut self, other: &Self) -> Result<Self, ListError> {
        for (name, reason) in &other.reasons {
            self.add(name, reason)?;
        }
        self.fatal.extend(other.fatal.iter().cloned());
        Ok(self)
    }

    fn add(&mut self, name: &str, reason: &str) -> Result<(), ListError> {
        match self.reasons.insert(name.to_owned(), reason.to_owned()) {
            None => Ok(()),
            Some(_) => Err(ListError::Twice(name.to_owned())),
        }
    }

    /// True if the check would stop the peer, and must not be run.
    pub(super) fn is_fatal(&self, name: &str) -> bool {
        self.fatal.contains(name)
    }

    /// Reason to believe the service rather than the peer, if the check is listed.
    pub(super) fn reason(&self, name: &str) -> Option<&str> {
        self.reasons.get(name).map(String::as_str)
    }

    /// The names that are listed.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_reason_for_every_name() {
        let list = Divergences::parse("# peer 1.0\n\na_check: the reference says: no\n").unwrap();
        assert_eq!(list.reason("a_check"), Some("the reference says: no"));
        assert_eq!(list.reason("another"), None);

        assert_eq!(Divergences::parse("a_check"), Err(ListError::NoReason("a_check".to_owned())));
        assert_eq!(Divergences::parse("a_check:"), Err(ListError::NoReason("a_check:".to_owned())));
        assert_eq!(Divergences::parse("a: x\na: y"), Err(ListError::Twice("a".to_owned())));
        assert_eq!(Divergences::parse("a: x\n!a: y"), Err(ListError::Twice("a".to_owned())));
    }

    #[test]
    fn lists_of_two_emulators_are_joined() {
        let [streams, tables] = ["a: x\n!b: y", "c: z"].map(|text| Divergences::parse(text).unwrap());

        let both = streams.clone().and(&tables).unwrap();

        assert_eq!(both.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(["a", "b", "c"].map(|name| both.is_fatal(name)), [false, true, false]);
        assert_eq!(both.and(&streams), Err(ListError::Twice("a".to_owned())));
    }
}
