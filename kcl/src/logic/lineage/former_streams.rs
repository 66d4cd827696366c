//! Former streams: those with leases that the application no longer reads. Pure.
//!
//! (A) Nothing is deleted of a stream that is listed, or may be: one that is listed by name and whose id is not known.
//! (B) The wait begins when a stream is first seen missing and ends when it is listed again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::model::{FormerStreams, StreamId};

/// The streams that the application lists, as far as is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListedNames {
    pub(crate) known: HashSet<StreamId>,
    /// Names of those whose ids could not be found out.
    pub(crate) unknown: HashSet<String>,
}

/// Streams with leases that are not listed, and since when.
#[derive(Debug, Default)]
pub(crate) struct Missing(HashMap<StreamId, Instant>);

impl Missing {
    /// Compares the streams that have leases with those that are listed.
    pub(crate) fn observe<'a>(
        &mut self,
        leased: impl IntoIterator<Item = &'a StreamId>,
        listed: &ListedNames,
        now: Instant,
    ) {
        let may_be_listed = |id: &StreamId| listed.known.contains(id) || listed.unknown.contains(id.name());
        let missing: HashSet<&StreamId> = leased.into_iter().filter(|id| !may_be_listed(id)).collect();
        self.0.retain(|stream, _| missing.contains(stream));
        for stream in missing {
            self.0.entry(stream.clone()).or_insert(now);
        }
    }

    pub(crate) fn streams(&self) -> Vec<StreamId> {
        let mut streams: Vec<StreamId> = self.0.keys().cloned().collect();
        streams.sort();
        streams
    }

    /// Those whose leases must be deleted now. `gone`: the stream does not exist any more.
    pub(crate) fn due(&self, rule: &FormerStreams, gone: impl Fn(&StreamId) -> bool, now: Instant) -> Vec<StreamId> {
        let wait = |stream: &StreamId| -> Option<Duration> {
            match rule {
                FormerStreams::Keep => None,
                FormerStreams::DeleteAfter(after) => Some(*after),
                FormerStreams::DeleteNamed { streams, after } => streams.contains(stream).then_some(*after),
            }
        };
        let is_due = |stream: &StreamId| wait(stream).is_some_and(|wait| gone(stream) || now - self.0[stream] >= wait);
        self.streams().into_iter().filter(is_due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn stream(name: &str) -> StreamId {
        StreamId::from(format!("1:{name}:7").as_str())
    }

    fn listed(names: &[&str], unknown: &[&str]) -> ListedNames {
        ListedNames {
            known: names.iter().map(|name| stream(name)).collect(),
            unknown: unknown.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn exists(_: &StreamId) -> bool {
        false
    }

    #[test]
    fn a_stream_is_deleted_once_it_has_been_missing_for_the_wait() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        let rule = FormerStreams::DeleteAfter(HOUR);
        missing.observe(&[stream("a"), stream("b")], &listed(&["b"], &[]), start);
        assert_eq!(missing.due(&rule, exists, start + HOUR - Duration::from_secs(1)), []);
        assert_eq!(missing.due(&rule, exists, start + HOUR), [stream("a")]);
    }

    #[test]
    fn listing_it_again_ends_the_wait() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        missing.observe(&[stream("a")], &listed(&[], &[]), start);
        missing.observe(&[stream("a")], &listed(&["a"], &[]), start + HOUR / 2);
        missing.observe(&[stream("a")], &listed(&[], &[]), start + HOUR);
        assert_eq!(missing.due(&FormerStreams::DeleteAfter(HOUR), exists, start + HOUR), []);
    }

    #[test]
    fn a_stream_listed_by_name_whose_id_is_unknown_is_not_missing() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        missing.observe(&[stream("a")], &listed(&[], &["a"]), start);
        assert_eq!(missing.due(&FormerStreams::DeleteAfter(Duration::ZERO), |_| true, start + HOUR), []);
    }

    #[test]
    fn a_stream_that_was_created_again_leaves_its_former_self_missing() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        let former = StreamId::from("1:a:6");
        missing.observe(&[former.clone(), stream("a")], &listed(&["a"], &[]), start);
        assert_eq!(missing.due(&FormerStreams::DeleteAfter(HOUR), exists, start + HOUR), [former]);
    }

    #[test]
    fn deletes_at_once_leases_of_streams_that_are_gone_unless_kept() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        missing.observe(&[stream("a"), stream("b")], &listed(&[], &[]), start);
        let gone = |which: &StreamId| *which == stream("a");
        assert_eq!(missing.due(&FormerStreams::DeleteAfter(HOUR), gone, start), [stream("a")]);
        assert_eq!(missing.due(&FormerStreams::Keep, gone, start + HOUR * 100), []);
    }

    #[test]
    fn only_named_streams_go_if_streams_are_named() {
        let (mut missing, start) = (Missing::default(), crate::tests::some_time());
        missing.observe(&[stream("a"), stream("b")], &listed(&[], &[]), start);
        let rule = FormerStreams::DeleteNamed { streams: vec![stream("b"), stream("c")], after: HOUR };
        assert_eq!(missing.due(&rule, exists, start + HOUR), [stream("b")]);
    }
}
