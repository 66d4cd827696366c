//! The start of reading in a shard: the iterator types of GetShardIterator, the starting positions of SubscribeToShard.

use crate::ACCOUNT_ID;
use crate::kinesis::Error;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::shard::Shard;
use crate::kinesis::stream::Stream;
use crate::timestamp::Millis;

pub(super) const TYPES: [&str; 5] =
    ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP", "TRIM_HORIZON", "LATEST"];

/// A position as a request names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<'r> {
    /// The operation, for messages.
    pub(super) operation: &'static str,
    /// One of [`TYPES`].
    pub(super) kind: &'r str,
    pub(super) number: Option<&'r str>,
    pub(super) time: Option<Millis>,
}

impl Position<'_> {
    /// The lowest sequence number to read.
    pub(super) fn find(self, stream: &Stream, shard: &Shard, now: Millis) -> Result<SequenceNumber, Error> {
        match (self.kind, self.number) {
            ("AT_SEQUENCE_NUMBER", Some(text)) => self.starting_number(text, stream, shard),
            ("AFTER_SEQUENCE_NUMBER", Some(text)) => {
                self.starting_number(text, stream, shard).map(SequenceNumber::successor)
            }
            ("TRIM_HORIZON", None) => Ok(shard.starting),
            ("LATEST", None) => Ok(shard.tip()),
            ("AT_TIMESTAMP", None) => at_time(self.time, shard, now),
            (kind, number) => Err(Error::invalid_argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
                 TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {} \
                 StartingSequenceNumber.",
                if number.is_some() { "also a" } else { "no" }
            ))),
        }
    }

    fn starting_number(self, text: &str, stream: &Stream, shard: &Shard) -> Result<SequenceNumber, Error> {
        let refused = |why: &str| {
            Error::invalid_argument(format!(
                "StartingSequenceNumber {text} used in {} on shard {} in stream {} under account {ACCOUNT_ID} is \
                 invalid{why}.",
                self.operation, shard.id, stream.name
            ))
        };
        let number = SequenceNumber::parse(text).ok_or_else(|| refused(""))?;
        if !shard.owns(number) {
            return Err(refused(" because it did not come from this stream"));
        }
        Ok(number)
    }
}

fn at_time(time: Option<Millis>, shard: &Shard, now: Millis) -> Result<SequenceNumber, Error> {
    match time {
        None => Err(Error::invalid_argument(
            "Request specified AT_TIMESTAMP shard iterator type, but the request has no timestamp parameter.",
        )),
        Some(time) if time > now => Err(Error::invalid_argument(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             {}, currentTimestampInMillis: {}",
            time.0, now.0
        ))),
        Some(time) => Ok(shard.at_time(time)),
    }
}
