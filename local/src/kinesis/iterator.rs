//! Opaque texts that clients send back: shard iterators and the tokens of ListShards and ListStreams.
//!
//! Both are base64 of a version, the payload and a checksum, which distinguishes garbage from our own texts.

use std::time::Duration;

use md5::{Digest, Md5};

use super::error::Error;
use super::sequence::SequenceNumber;
use super::shard::ShardId;
use crate::timestamp::Millis;

/// Lifetime of iterators and tokens. docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
const LIFETIME: Duration = Duration::from_secs(300);

const VERSION: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 1];
const CHECKSUM: usize = 8;

/// A position in a shard that is good for five minutes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ShardIterator {
    pub(super) issued: Millis,
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) shard: ShardId,
    /// The lowest sequence number that is still to be read.
    pub(super) from: SequenceNumber,
}

impl ShardIterator {
    pub(super) fn encode(&self) -> String {
        let [era, arrival, index] = self.from.to_parts();
        let numbers = [self.issued.0, self.incarnation, u64::from(self.shard.0), era, arrival, index];
        seal(&numbers, &self.stream)
    }

    /// Reads an iterator that has not expired.
    pub(super) fn decode(text: &str, now: Millis) -> Result<Self, Error> {
        let invalid = || Error::invalid_argument("Invalid ShardIterator.");
        let ([issued, incarnation, shard, era, arrival, index], stream) = unseal(text).ok_or_else(invalid)?;
        let issued = Millis(issued);
        if now.since(issued) > LIFETIME {
            return Err(Error::expired_iterator(format!(
                "Iterator expired. The iterator was created at time {issued} while right now it is {now} which is \
                 further in the future than the tolerated delay of {} milliseconds.",
                LIFETIME.as_millis()
            )));
        }
        Ok(Self {
            issued,
            stream,
            incarnation,
            shard: ShardId(u32::try_from(shard).map_err(|_| invalid())?),
            from: SequenceNumber::from_parts([era, arrival, index]),
        })
    }
}

/// Filter of a listing of shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filter {
    FromTrimHorizon,
    AtTrimHorizon,
    AtLatest,
    AtTimestamp(Millis),
    FromTimestamp(Millis),
}

/// Position at which a listing of shards continues.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ShardsToken {
    pub(super) issued: Millis,
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) after: ShardId,
    pub(super) filter: Filter,
}

impl ShardsToken {
    pub(super) fn encode(&self) -> String {
        let (kind, time) = match self.filter {
            Filter::FromTrimHorizon => (0, 0),
            Filter::AtTrimHorizon => (1, 0),
            Filter::AtLatest => (2, 0),
            Filter::AtTimestamp(time) => (3, time.0),
            Filter::FromTimestamp(time) => (4, time.0),
        };
        seal(&[self.issued.0, self.incarnation, u64::from(self.after.0), kind, time], &self.stream)
    }

    /// Reads a token that has not expired.
    pub(super) fn decode(text: &str, now: Millis) -> Result<Self, Error> {
        let invalid = || Error::invalid_argument("Invalid NextToken.");
        let ([issued, incarnation, after, kind, time], stream) = unseal(text).ok_or_else(invalid)?;
        let issued = Millis(issued);
        if now.since(issued) > LIFETIME {
            return Err(Error::expired_token());
        }
        let filter = match kind {
            0 => Filter::FromTrimHorizon,
            1 => Filter::AtTrimHorizon,
            2 => Filter::AtLatest,
            3 => Filter::AtTimestamp(Millis(time)),
            4 => Filter::FromTimestamp(Millis(time)),
            _ => return Err(invalid()),
        };
        let after = ShardId(u32::try_from(after).map_err(|_| invalid())?);
        Ok(Self { issued, stream, incarnation, after, filter })
    }
}

/// Position at which a listing of streams continues: after the stream of this name.
pub(super) fn encode_streams_token(after: &str, now: Millis) -> String {
    seal(&[now.0], after)
}

/// Reads a token of ListStreams that has not expired.
pub(super) fn decode_streams_token(text: &str, now: Millis) -> Result<String, Error> {
    let ([issued], after) = unseal(text).ok_or_else(|| Error::invalid_argument("Invalid NextToken."))?;
    if now.since(Millis(issued)) > LIFETIME {
        return Err(Error::expired_token());
    }
    Ok(after)
}

/// Position at which a listing of consumers continues: in the stream, after the consumer of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ConsumersToken {
    pub(super) issued: Millis,
    pub(super) stream: String,
    pub(super) incarnation: u64,
    pub(super) after: String,
}

impl ConsumersToken {
    pub(super) fn encode(&self) -> String {
        // No name holds a slash.
        seal(&[self.issued.0, self.incarnation], &format!("{}/{}", self.stream, self.after))
    }

    /// Reads a token that has not expired.
    pub(super) fn decode(text: &str, now: Millis) -> Result<Self, Error> {
        let invalid = || Error::invalid_argument("Invalid NextToken.");
        let ([issued, incarnation], names) = unseal(text).ok_or_else(invalid)?;
        let (stream, after) = names.split_once('/').ok_or_else(invalid)?;
        if now.since(Millis(issued)) > LIFETIME {
            return Err(Error::expired_token());
        }
        Ok(Self { issued: Millis(issued), stream: stream.to_owned(), incarnation, after: after.to_owned() })
    }
}

fn seal(numbers: &[u64], name: &str) -> String {
    let mut bytes = Vec::with_capacity(VERSION.len() + numbers.len() * 8 + name.len() + CHECKSUM);
    bytes.extend_from_slice(&VERSION);
    for number in numbers {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(name.as_bytes());
    let checksum = Md5::digest(&bytes);
    bytes.extend_from_slice(&checksum[..CHECKSUM]);
    base64_simd::STANDARD.encode_to_string(&bytes)
}

fn unseal<const N: usize>(text: &str) -> Option<([u64; N], String)> {
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    let (payload, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    if Md5::digest(payload)[..CHECKSUM] != *checksum {
        return None;
    }
    let mut rest = payload.strip_prefix(&VERSION)?;
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, after) = rest.split_first_chunk()?;
        *number = u64::from_be_bytes(*bytes);
        rest = after;
    }
    Some((numbers, String::from_utf8(rest.to_vec()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iterator() -> ShardIterator {
        ShardIterator {
            issued: Millis(1_763_616_000_000),
            stream: "orders".to_owned(),
            incarnation: 7,
            shard: ShardId(3),
            from: SequenceNumber::from_parts([1, 2, 3]),
        }
    }

    #[test]
    fn an_iterator_survives_its_text_for_five_minutes() {
        let iterator = iterator();
        let last_moment = iterator.issued.plus(LIFETIME);

        let text = iterator.encode();

        assert_eq!(ShardIterator::decode(&text, last_moment).unwrap(), iterator);
        let late = ShardIterator::decode(&text, Millis(last_moment.0 + 1)).unwrap_err();
        assert_eq!(late.code, "ExpiredIteratorException");
        assert!(late.message.contains("tolerated delay of 300000 milliseconds"), "{late}");
    }

    #[test]
    fn garbage_is_no_iterator() {
        let text = iterator().encode();
        let mut changed = text.clone().into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };

        for garbage in ["", "AAAA", "not base64!", &text[4..], std::str::from_utf8(&changed).unwrap()] {
            let error = ShardIterator::decode(garbage, Millis(0)).unwrap_err();
            assert_eq!(error, Error::invalid_argument("Invalid ShardIterator."), "{garbage}");
        }
    }

    #[test]
    fn a_token_remembers_its_filter() {
        for filter in [Filter::FromTrimHorizon, Filter::AtTrimHorizon, Filter::AtLatest, Filter::AtTimestamp(Millis(5))]
        {
            let issued = Millis(9);
            let token = ShardsToken { issued, stream: "s".to_owned(), incarnation: 1, after: ShardId(8), filter };
            assert_eq!(ShardsToken::decode(&token.encode(), issued).unwrap(), token);
        }
    }

    #[test]
    fn a_token_expires_after_five_minutes() {
        let text = encode_streams_token("s", Millis(0));

        assert_eq!(decode_streams_token(&text, Millis(300_000)).unwrap(), "s");
        assert_eq!(decode_streams_token(&text, Millis(300_001)).unwrap_err().code, "ExpiredNextTokenException");
    }
}
