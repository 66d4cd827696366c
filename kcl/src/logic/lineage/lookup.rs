//! Lookup of the stream of a lease among the listed streams. Pure.
//!
//! (A) A known and present stream is found, whatever else its name leads to. (B) A stream has vanished once its name leads
//! to a later one, or to none. (C) What was learned long ago is unsure.

use std::time::{Duration, Instant};

use crate::model::StreamId;

/// Age after which a stream is described again. Source: KCL's interval between looks at the list of streams.
pub(crate) const DESCRIPTION_LIFE: Duration = Duration::from_secs(60);
/// Age after which a stream is described again that could not be described, or was not there.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) given: &'a str,
    /// Its id, and whether it is still there; None until it was described once.
    pub(crate) known: Option<(&'a StreamId, bool)>,
    /// The service knows no stream of this name.
    pub(crate) gone: bool,
    /// Time of its last description, and how long that is good.
    pub(crate) described: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup<T> {
    Known(T),
    /// The stream does not exist any more; nobody can read it.
    Vanished,
    /// The name is listed, and its stream must be described.
    Unsure,
    /// Only leases name it.
    Unlisted,
}

impl Listed<'_> {
    /// True if the stream needs a new description; after `max_age` in any case.
    pub(crate) fn is_due(&self, max_age: Duration, now: Instant) -> bool {
        let max_age = if let Some((_, false)) = self.known { RETRY } else { max_age };
        self.described.is_none_or(|(at, life)| now.saturating_duration_since(at) >= life.min(max_age))
    }

    /// True if the stream of a lease may be listed by this name.
    pub(crate) fn has_name_of(&self, id: &StreamId) -> bool {
        match self.known {
            Some((known, _)) => (known.account(), known.name()) == (id.account(), id.name()),
            None => StreamId::of_single(self.given).name() == id.name(),
        }
    }

    fn look_up(&self, id: &StreamId, now: Instant) -> Lookup<()> {
        let is_fresh = self.described.is_some_and(|(at, _)| now.saturating_duration_since(at) < DESCRIPTION_LIFE * 2);
        match self.known {
            Some((known, true)) if known == id && !self.gone => Lookup::Known(()),
            Some((known, _)) if known == id => Lookup::Vanished,
            // Deleted and created again: its name leads to another stream now, unless we know the earlier one.
            Some((known, _)) if is_fresh || id.creation_epoch() < known.creation_epoch() => Lookup::Vanished,
            None if self.gone && is_fresh => Lookup::Vanished,
            _ => Lookup::Unsure,
        }
    }
}

/// Looks the stream up. Of several listed ones whose names fit, the known one counts, then those that may be it.
pub(crate) fn look_up<'a, T>(
    id: &StreamId,
    listed: impl Iterator<Item = (Listed<'a>, T)>,
    otherwise: Lookup<T>,
    now: Instant,
) -> Lookup<T> {
    let mut outcome = None;
    for (one, value) in listed.filter(|(one, _)| one.has_name_of(id)) {
        outcome = match (one.look_up(id, now), outcome) {
            (Lookup::Known(()), _) => return Lookup::Known(value),
            (Lookup::Vanished, None | Some(Lookup::Vanished)) => Some(Lookup::Vanished),
            _ => Some(Lookup::Unsure),
        };
    }
    outcome.unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::some_time;

    fn listed<'a>(known: Option<(&'a StreamId, bool)>, described: Instant) -> Listed<'a> {
        Listed { given: "orders", known, gone: false, described: Some((described, DESCRIPTION_LIFE)) }
    }

    fn outcome(one: Listed<'_>, id: &StreamId, now: Instant) -> Lookup<()> {
        look_up(id, [(one, ())].into_iter(), Lookup::Unlisted, now)
    }

    #[test]
    fn finds_a_present_stream_and_no_earlier_or_deleted_one() {
        let (now, earlier, known) = (some_time(), StreamId::from("1:orders:5"), StreamId::from("1:orders:7"));

        assert_eq!(outcome(listed(Some((&known, true)), now), &known, now), Lookup::Known(()));
        assert_eq!(outcome(listed(Some((&known, false)), now), &known, now), Lookup::Vanished);
        assert_eq!(outcome(Listed { gone: true, ..listed(Some((&known, true)), now) }, &known, now), Lookup::Vanished);
        assert_eq!(outcome(listed(Some((&known, true)), now), &earlier, now), Lookup::Vanished);
        assert_eq!(outcome(listed(Some((&known, true)), now), &"1:payments:7".into(), now), Lookup::Unlisted);
    }

    #[test]
    fn is_unsure_of_a_later_stream_by_an_old_description() {
        let (then, known, later) = (some_time(), StreamId::from("1:orders:7"), StreamId::from("1:orders:9"));
        let now = then + DESCRIPTION_LIFE * 2;

        assert_eq!(outcome(listed(Some((&known, true)), then), &later, then), Lookup::Vanished);
        assert_eq!(outcome(listed(Some((&known, true)), then), &later, now), Lookup::Unsure);
        assert_eq!(outcome(Listed { gone: true, ..listed(None, then) }, &later, then), Lookup::Vanished);
        assert_eq!(outcome(Listed { gone: true, ..listed(None, then) }, &later, now), Lookup::Unsure);
    }

    #[test]
    fn prefers_the_name_that_may_lead_to_the_stream() {
        let (now, known, other) = (some_time(), StreamId::from("1:orders:7"), StreamId::from("1:orders:9"));
        let (vanished, unsure) = (listed(Some((&other, true)), now), listed(None, now));

        for pair in [[vanished, unsure], [unsure, vanished]] {
            assert_eq!(look_up(&known, pair.map(|one| (one, ())).into_iter(), Lookup::Unlisted, now), Lookup::Unsure);
        }
    }

    #[test]
    fn describes_again_what_is_old_or_missing() {
        let (then, known) = (some_time(), StreamId::from("1:orders:7"));

        assert!(Listed { described: None, ..listed(None, then) }.is_due(Duration::MAX, then));
        assert!(!listed(Some((&known, true)), then).is_due(Duration::MAX, then + RETRY));
        assert!(listed(Some((&known, true)), then).is_due(RETRY, then + RETRY));
        assert!(listed(Some((&known, false)), then).is_due(Duration::MAX, then + RETRY));
    }
}
