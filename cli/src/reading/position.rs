//! The place in a shard that is read next. Pure.

use std::time::SystemTime;

use aws_sdk_kinesis::{primitives::DateTime, types::ShardIteratorType};
use kpl::SequenceNumber;

/// The next record of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    Horizon,
    Latest,
    Time(SystemTime),
    At(SequenceNumber),
    After(SequenceNumber),
}

impl Position {
    /// Type, sequence number and time of a request for an iterator.
    pub(crate) fn request(&self) -> (ShardIteratorType, Option<String>, Option<DateTime>) {
        match self {
            Self::Horizon => (ShardIteratorType::TrimHorizon, None, None),
            Self::Latest => (ShardIteratorType::Latest, None, None),
            Self::Time(time) => (ShardIteratorType::AtTimestamp, None, Some(DateTime::from(*time))),
            Self::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number.to_string()), None),
            Self::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number.to_string()), None),
        }
    }
}
