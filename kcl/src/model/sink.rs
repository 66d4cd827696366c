//! A sink's own note of a shard's progress: its key, and the mark that is stored there.

use std::{fmt, str::FromStr};

use kpl::ShardId;

use super::{checkpoint::Position, id::StreamId};

/// Key under which a sink keeps the mark of a shard. Prints as `<application>/<stream id>@<creation>/<shard id>`.
///
/// A stream that is deleted and created again has other records under the same ids, so the creation time is a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SinkKey {
    /// The application; of a [replay](crate::WorkerBuilder::replay) with the suffix `-replay`.
    pub application: String,
    /// The stream.
    pub stream_id: StreamId,
    /// Creation of the stream, in seconds since 1970; 0 if the service does not say it.
    pub stream_created_seconds: u64,
    /// The shard.
    pub shard_id: ShardId,
}

impl fmt::Display for SinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, stream_id, stream_created_seconds, shard_id } = self;
        write!(f, "{application}/{stream_id}@{stream_created_seconds}/{shard_id}")
    }
}

/// Progress in a shard, as a sink stores it in the transaction that has the effects of the records.
///
/// Marks are ordered by epoch, fencing token and position: of two that were stored rightly the later is the greater. Their
/// texts, of 119 characters, have the same order, and are read back by `parse`.
///
/// ```
/// use kcl::SinkMark;
///
/// let text = "00000000000000000000-00000000000000000007-\
///     49590338271490256608559692538361571095921575989136588898-00000000000000000003";
/// let mark: SinkMark = text.parse()?;
///
/// assert_eq!((mark.epoch, mark.fencing_token, mark.position.sub_sequence_number), (0, 7, 3));
/// assert_eq!(mark.to_string(), text);
/// # Ok::<(), kcl::ParseSinkMarkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct SinkMark {
    /// Epoch of the shard's lease: see [`ShardContext::epoch`](crate::ShardContext::epoch).
    pub epoch: u64,
    /// Token of the worker that stored it: see [`Checkpointer::fencing_token`](crate::Checkpointer::fencing_token).
    pub fencing_token: u64,
    /// Everything up to here is in the sink.
    pub position: Position,
}

impl SinkMark {
    /// A mark from its parts, for sinks that store them in columns of their own.
    pub fn new(epoch: u64, fencing_token: u64, position: Position) -> Self {
        Self { epoch, fencing_token, position }
    }

    /// Epoch and token: those of another owner differ.
    pub(crate) fn owner(&self) -> (u64, u64) {
        (self.epoch, self.fencing_token)
    }
}

impl fmt::Display for SinkMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, fencing_token, position } = self;
        let (number, sub) = (position.sequence_number.as_str(), position.sub_sequence_number);
        write!(f, "{epoch:020}-{fencing_token:020}-{number:0>56}-{sub:020}")
    }
}

/// A text that is not a mark's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the mark of a sink: epoch, fencing token, sequence number, sub-sequence number")]
pub struct ParseSinkMarkError {
    text: String,
}

impl FromStr for SinkMark {
    type Err = ParseSinkMarkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.split('-');
            let [epoch, token, number, sub] = std::array::from_fn(|_| parts.next().unwrap_or_default());
            let number = match number.trim_start_matches('0') {
                "" => number.get(..1)?,
                digits => digits,
            };
            let position = Position::new(number.parse().ok()?, sub.parse().ok()?);
            let mark = Self::new(epoch.parse().ok()?, token.parse().ok()?, position);
            parts.next().is_none().then_some(mark)
        };
        parse().ok_or_else(|| ParseSinkMarkError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_texts_that_are_no_marks() {
        let mark = "0-1-2-3";
        assert_eq!(mark.parse::<SinkMark>().map(|mark| mark.position.sub_sequence_number), Ok(3));

        for text in ["", "0-1-2", "0-1-2-3-4", "0-1--3", "0-1-x-3", "-1-1-2-3"] {
            assert_eq!(text.parse::<SinkMark>(), Err(ParseSinkMarkError { text: text.to_owned() }));
        }
    }

    fn mark() -> impl Strategy<Value = SinkMark> {
        let number = prop_oneof!["[0-9]", "[1-9][0-9]{0,55}", "[1-9][0-9]{55}"];
        let small = || prop_oneof![0..3_u64, any::<u64>()];
        (small(), small(), number, small()).prop_map(|(epoch, token, number, sub)| {
            SinkMark::new(epoch, token, Position::new(number.parse().unwrap(), sub))
        })
    }

    proptest! {
        #[test]
        fn texts_are_read_back_and_have_the_order_of_the_marks(a in mark(), b in mark()) {
            let (text_a, text_b) = (a.to_string(), b.to_string());

            prop_assert_eq!(text_a.len(), 119);
            prop_assert_eq!(text_a.cmp(&text_b), a.cmp(&b));
            prop_assert_eq!(text_a.parse::<SinkMark>(), Ok(a));
        }
    }
}
