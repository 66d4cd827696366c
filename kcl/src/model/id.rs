//! Ids of streams, workers and leases, and the identity of a stream among streams of one name.

use std::{fmt, sync::Arc};

use kpl::ShardId;

/// Identifies a stream of an application.
///
/// With several streams `account:name:creation epoch`, as in the lease table, so that a stream deleted and created
/// again is another. With one stream its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[doc(alias = "StreamIdentifier")]
pub struct StreamId(Arc<str>);

/// Identifies a worker of the fleet; two live workers must not share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(Arc<str>);

/// Key of a lease in its table: the shard id, in applications of many streams after the stream's id and a colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LeaseKey(Arc<str>);

macro_rules! text_id {
    ($visibility:vis $name:ident) => {
        impl $name {
            /// Takes the id as it stands in the lease table.
            $visibility fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// The id as it stands in the lease table.
            $visibility fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self::new(id)
            }
        }
    };
}

text_id!(pub StreamId);
text_id!(pub WorkerId);
text_id!(pub(crate) LeaseKey);

impl StreamId {
    /// The stream's name.
    pub fn name(&self) -> &str {
        self.parts().map_or(&self.0, |(_, name, _)| name)
    }

    /// The account that the stream belongs to; None in an application of one stream.
    pub fn account(&self) -> Option<&str> {
        self.parts().map(|(account, ..)| account)
    }

    /// Creation time of the stream, in seconds since 1970; None in an application of one stream.
    pub fn creation_epoch(&self) -> Option<u64> {
        self.parts().map(|(.., epoch)| epoch)
    }

    fn parts(&self) -> Option<(&str, &str, u64)> {
        let mut parts = self.0.split(':');
        let (account, name, epoch) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        let digits = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
        (digits && !name.is_empty() && epoch > 0 && parts.next().is_none()).then_some((account, name, epoch))
    }

    pub(crate) fn of_multi(identity: &StreamIdentity, epoch: Option<u64>) -> Option<Self> {
        let (account, name) = account_and_name(&identity.arn)?;
        let epoch = epoch.unwrap_or(identity.created_seconds);
        let id = Self(format!("{account}:{name}:{epoch}").into());
        id.parts().is_some().then_some(id)
    }

    pub(crate) fn of_single(stream: &str) -> Self {
        Self(account_and_name(stream).map_or(stream, |(_, name)| name).into())
    }
}

impl LeaseKey {
    /// Key of the lease for a shard of this stream, or of the only one.
    pub(crate) fn of(stream: Option<&StreamId>, shard_id: &ShardId) -> Self {
        match stream {
            Some(stream) => Self::new(format!("{stream}:{shard_id}")),
            None => Self::new(shard_id.as_str()),
        }
    }
}

/// A shard and its stream. Prints as `<stream id>:<shard id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct StreamShard {
    /// Stream of the shard.
    pub stream_id: StreamId,
    /// Id of the shard, unique within its stream.
    pub shard_id: ShardId,
}

impl StreamShard {
    /// A shard of a stream.
    pub fn new(stream_id: impl Into<StreamId>, shard_id: impl Into<ShardId>) -> Self {
        Self { stream_id: stream_id.into(), shard_id: shard_id.into() }
    }
}

impl fmt::Display for StreamShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream_id, self.shard_id)
    }
}

/// From `arn:aws*:kinesis:<region>:<account>:stream/<name>`.
fn account_and_name(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let ["arn", _, "kinesis", _, account, resource] = std::array::from_fn(|_| parts.next().unwrap_or_default()) else {
        return None;
    };
    Some((account, resource.strip_prefix("stream/")?))
}

/// True if Kinesis accepts this as the name or ARN of a stream: names have 1 to 128 of a-z, A-Z, 0-9, _, . and -.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html>
pub(crate) fn is_name_or_arn(text: &str) -> bool {
    let name = account_and_name(text).map_or(text, |(_, name)| name);
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(is_valid)
}

/// Identity of a stream: one that is deleted and created again under its name is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamIdentity {
    pub(crate) arn: String,
    pub(crate) created_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_given_by_a_name_or_an_arn_that_kinesis_accepts() {
        for good in ["a", "Stock-Trade_Stream.2", &"x".repeat(128), "arn:aws:kinesis:us-east-1:1:stream/orders"] {
            assert!(is_name_or_arn(good), "{good}");
        }
        for bad in ["", " ", "a b", "é", &"x".repeat(129), "arn:aws:s3:::bucket", "arn:aws:kinesis:r:1:stream/"] {
            assert!(!is_name_or_arn(bad), "{bad}");
        }
    }

    fn identity(arn: &str) -> StreamIdentity {
        StreamIdentity { arn: arn.to_owned(), created_seconds: 1_700_000_000 }
    }

    #[test]
    fn one_of_several_is_known_by_account_name_and_creation() {
        let id =
            StreamId::of_multi(&identity("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders"), None).unwrap();
        assert_eq!(id.as_str(), "123456789012:orders:1700000000");
        assert_eq!(
            (id.account(), id.name(), id.creation_epoch()),
            (Some("123456789012"), "orders", Some(1_700_000_000))
        );
    }

    #[test]
    fn an_epoch_that_the_application_gives_is_taken_as_it_is() {
        let id = StreamId::of_multi(&identity("arn:aws:kinesis:us-east-1:1:stream/orders"), Some(1)).unwrap();
        assert_eq!(id.as_str(), "1:orders:1");
    }

    #[test]
    fn an_only_stream_is_known_by_its_name_even_if_given_by_arn() {
        assert_eq!(StreamId::of_single("arn:aws:kinesis:us-east-1:1:stream/orders").as_str(), "orders");
        assert_eq!(StreamId::of_single("orders").as_str(), "orders");
        assert_eq!((StreamId::of_single("orders").account(), StreamId::of_single("orders").name()), (None, "orders"));
    }

    #[test]
    fn ids_of_another_form_have_no_parts() {
        for id in ["a:orders:1", "1::1", "1:orders:0", "1:orders:x", "1:orders:1:shardId-0", "1:orders"] {
            assert_eq!(StreamId::from(id).parts(), None, "{id}");
        }
        for arn in ["arn:aws:dynamodb:r:1:table/t", "arn:aws:kinesis:r:1:consumer/c", "orders", ""] {
            assert_eq!(account_and_name(arn), None, "{arn}");
        }
    }
}
