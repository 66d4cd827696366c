//! Requests on the wire, borrowed from the body where the text allows it.
//!
//! Every field is optional here: `check.rs` and the operations say what the service requires, in its words.

mod consumers;
mod settings;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

pub(crate) use self::consumers::{ListStreamConsumers, RegisterStreamConsumer, StreamConsumer, SubscribeToShard};
pub(crate) use self::settings::{
    AddTags, Encryption, ListTags, Monitoring, Nothing, RemoveTags, ResourcePolicy, TagKeys, TagResource,
    UpdateDistribution, UpdateStreamMode,
};
use crate::timestamp::Millis;
use crate::wire::Format;

/// A string that is borrowed from the body unless it holds escapes. (A bare `Option<Cow<str>>` never borrows.)
#[derive(Deserialize, Debug)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Bytes, which travel as base64 in JSON.
#[derive(Debug)]
pub(crate) struct Blob(pub(super) Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Binary;

        impl Visitor<'_> for Binary {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes, or base64 in JSON")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                match base64_simd::STANDARD.decode_to_vec(text) {
                    Ok(bytes) => Ok(Blob(bytes.into())),
                    Err(_) => Err(E::custom("a blob is not valid base64")),
                }
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
        }

        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Binary)
        } else {
            deserializer.deserialize_bytes(Binary)
        }
    }
}

/// Reads a request. What is malformed or of wrong types is the service's SerializationException.
pub(super) fn parse<'a, R: Deserialize<'a>>(format: Format, body: &'a [u8]) -> Result<R, super::Error> {
    format.decode(body).map_err(|unreadable| super::Error::serialization(unreadable.0))
}

/// Whole numbers; fractions and numbers beyond 64 bits are refused as wrong types.
type Number = i64;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Deserialize, Debug)]
        #[serde(rename_all = "PascalCase")]
        pub(crate) struct $name<'a> {
            #[serde(borrow)]
            pub(super) stream_name: Option<Text<'a>>,
            #[serde(borrow, rename = "StreamARN")]
            pub(super) stream_arn: Option<Text<'a>>,
            $($(#[$attr])* pub(super) $field: Option<$type>,)*
        }
    )*};
}

requests! {
    /// DescribeStreamSummary: nothing but the stream.
    StreamOnly {}
    /// DeleteStream.
    DeleteStream {
        enforce_consumer_deletion: bool,
    }
    /// DescribeStream.
    DescribeStream {
        limit: Number,
        #[serde(borrow)]
        exclusive_start_shard_id: Text<'a>,
    }
    /// ListShards.
    ListShards {
        #[serde(borrow)]
        next_token: Text<'a>,
        #[serde(borrow)]
        exclusive_start_shard_id: Text<'a>,
        max_results: Number,
        stream_creation_timestamp: Millis,
        #[serde(borrow)]
        shard_filter: ShardFilter<'a>,
    }
    /// PutRecord.
    PutRecord {
        data: Blob,
        #[serde(borrow)]
        partition_key: Text<'a>,
        #[serde(borrow)]
        explicit_hash_key: Text<'a>,
        #[serde(borrow)]
        sequence_number_for_ordering: Text<'a>,
        dry_run: bool,
    }
    /// PutRecords.
    PutRecords {
        #[serde(borrow)]
        records: Vec<PutEntry<'a>>,
        dry_run: bool,
    }
    /// GetShardIterator.
    GetShardIterator {
        #[serde(borrow)]
        shard_id: Text<'a>,
        #[serde(borrow)]
        shard_iterator_type: Text<'a>,
        #[serde(borrow)]
        starting_sequence_number: Text<'a>,
        timestamp: Millis,
        dry_run: bool,
    }
    /// GetRecords.
    GetRecords {
        #[serde(borrow)]
        shard_iterator: Text<'a>,
        limit: Number,
        dry_run: bool,
    }
    /// SplitShard.
    SplitShard {
        #[serde(borrow)]
        shard_to_split: Text<'a>,
        #[serde(borrow)]
        new_starting_hash_key: Text<'a>,
    }
    /// MergeShards.
    MergeShards {
        #[serde(borrow)]
        shard_to_merge: Text<'a>,
        #[serde(borrow)]
        adjacent_shard_to_merge: Text<'a>,
    }
    /// UpdateShardCount.
    UpdateShardCount {
        target_shard_count: Number,
        #[serde(borrow)]
        scaling_type: Text<'a>,
    }
    /// IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod.
    SetRetention {
        retention_period_hours: Number,
    }
    /// UpdateMaxRecordSize.
    UpdateMaxRecordSize {
        #[serde(rename = "MaxRecordSizeInKiB")]
        max_record_size_in_kib: Number,
    }
}

/// CreateStream, which alone knows its stream by name only.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateStream<'a> {
    #[serde(borrow)]
    pub(super) stream_name: Option<Text<'a>>,
    pub(super) shard_count: Option<Number>,
    pub(super) stream_mode_details: Option<StreamModeDetails>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    pub(super) max_record_size_in_kib: Option<Number>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    pub(super) record_distribution_strategy: Option<Text<'a>>,
}

/// ListStreams.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStreams<'a> {
    pub(super) limit: Option<Number>,
    #[serde(borrow)]
    pub(super) exclusive_start_stream_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) next_token: Option<Text<'a>>,
}

/// One record of PutRecords.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutEntry<'a> {
    pub(super) data: Option<Blob>,
    #[serde(borrow)]
    pub(super) partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) explicit_hash_key: Option<Text<'a>>,
}

/// Filter of ListShards.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardFilter<'a> {
    #[serde(borrow, rename = "Type")]
    pub(super) filter_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) shard_id: Option<Text<'a>>,
    pub(super) timestamp: Option<Millis>,
}

/// PROVISIONED or ON_DEMAND.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct StreamModeDetails {
    pub(super) stream_mode: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrows_plain_text_and_unescapes_the_rest() {
        let request: PutRecords<'_> = parse(
            Format::Json,
            br#"{"StreamName":"s","Unknown":[1,{}],"Records":[
                {"Data":"aGk=","PartitionKey":"a\"b"},{"Data":"aGk\u003d","PartitionKey":"plain","ExplicitHashKey":null}]}"#,
        )
        .unwrap();

        let records = request.records.unwrap();
        assert!(matches!(request.stream_name.unwrap().0, Cow::Borrowed("s")));
        assert_eq!(&**records[0].partition_key.as_ref().unwrap(), "a\"b");
        assert!(matches!(records[1].partition_key.as_ref().unwrap().0, Cow::Borrowed("plain")));
        assert!(records.iter().all(|r| r.data.as_ref().unwrap().0 == "hi"));
    }

    #[test]
    fn malformed_bodies_are_serialization_errors() {
        for body in [
            "",
            "{",
            "null",
            "[]x",
            "\u{0}",
            r#"{"Records":1}"#,
            r#"{"StreamName":1}"#,
            r#"{"Records":[{"Data":"***"}]}"#,
            r#"{"Records":[{"Data":5}]}"#,
        ] {
            assert_eq!(
                parse::<PutRecords<'_>>(Format::Json, body.as_bytes()).unwrap_err().code,
                "SerializationException",
                "{body}"
            );
        }
    }
}
