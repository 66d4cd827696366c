//! A checkpoint: a position in a shard, or one of the sentinels that the lease table knows.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use kpl::{SequenceNumber, id::ParseSequenceNumberError};

use super::policies::InitialPosition;

/// Position of a user record in its shard.
///
/// User records of one aggregate share its sequence number and differ in the sub-sequence number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "ExtendedSequenceNumber")]
#[non_exhaustive]
pub struct Position {
    /// Sequence number of the Kinesis record.
    pub sequence_number: SequenceNumber,
    /// Place inside the aggregate from 0; 0 for a record that is not aggregated.
    pub sub_sequence_number: u64,
}

impl Position {
    /// The position of a user record.
    pub fn new(sequence_number: SequenceNumber, sub_sequence_number: u64) -> Self {
        Self { sequence_number, sub_sequence_number }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sequence_number, self.sub_sequence_number)
    }
}

/// Progress in a shard, as its lease stores it. The order is that of progress.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Checkpoint {
    /// Nothing processed; start at the time given by the application's initial position.
    AtTimestamp,
    /// Nothing processed; start at the oldest record that the stream retains.
    TrimHorizon,
    /// Nothing processed; start after the newest record.
    Latest,
    /// Everything up to and including this position is processed.
    At(Position),
    /// The whole shard is processed, and it is closed.
    ShardEnd,
}

impl Checkpoint {
    /// The sentinel of an initial position.
    pub(crate) fn initial(position: &InitialPosition) -> Self {
        match position {
            InitialPosition::TrimHorizon => Self::TrimHorizon,
            InitialPosition::Latest => Self::Latest,
            InitialPosition::AtTimestamp(_) => Self::AtTimestamp,
        }
    }

    pub(crate) fn as_wire(&self) -> &str {
        match self {
            Self::AtTimestamp => "AT_TIMESTAMP",
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::At(position) => position.sequence_number.as_str(),
            Self::ShardEnd => "SHARD_END",
        }
    }

    pub(crate) fn sub_sequence_number(&self) -> u64 {
        match self {
            Self::At(position) => position.sub_sequence_number,
            _ => 0,
        }
    }

    /// Reverse of [`as_wire`](Self::as_wire) and [`sub_sequence_number`](Self::sub_sequence_number).
    pub(crate) fn from_wire(text: &str, sub_sequence_number: u64) -> Result<Self, ParseSequenceNumberError> {
        Ok(match text {
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "SHARD_END" => Self::ShardEnd,
            digits => Self::At(Position { sequence_number: SequenceNumber::from_str(digits)?, sub_sequence_number }),
        })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(position) => position.fmt(f),
            sentinel => f.write_str(sentinel.as_wire()),
        }
    }
}

/// A checkpoint that was prepared and not committed, with what the application stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingCheckpoint {
    /// The prepared checkpoint.
    pub checkpoint: Checkpoint,
    /// The application's own bytes.
    pub state: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence_number: &str, sub_sequence_number: u64) -> Checkpoint {
        Checkpoint::At(Position { sequence_number: sequence_number.parse().unwrap(), sub_sequence_number })
    }

    #[test]
    fn sentinels_and_positions_are_ordered_by_progress() {
        let in_order = [
            Checkpoint::AtTimestamp,
            Checkpoint::TrimHorizon,
            Checkpoint::Latest,
            at("9", 0),
            at("9", 3),
            at("10", 0),
            Checkpoint::ShardEnd,
        ];

        assert!(in_order.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn reads_back_written_checkpoints() {
        for checkpoint in [Checkpoint::Latest, Checkpoint::ShardEnd, at("4959", 7)] {
            let read = Checkpoint::from_wire(checkpoint.as_wire(), checkpoint.sub_sequence_number());

            assert_eq!(read, Ok(checkpoint));
        }
    }

    #[test]
    fn a_text_that_is_neither_number_nor_sentinel_is_refused() {
        assert!(Checkpoint::from_wire("latest", 0).is_err());
        assert!(Checkpoint::from_wire("", 0).is_err());
    }
}
