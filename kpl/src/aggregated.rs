//! The aggregated-record format of the Kinesis Producer Library: many user records in one Kinesis record.
//!
//! ```text
//! F3 89 9A C2 | AggregatedRecord, protobuf (proto2) | MD5 of the protobuf bytes
//!   4 bytes   |               N bytes               |       16 bytes
//!
//! AggregatedRecord: 1 repeated string partition_key_table      distinct partition keys, first seen first
//!                   2 repeated string explicit_hash_key_table  distinct explicit hash keys, decimal
//!                   3 repeated Record records                  in the order they were put
//! Record:           1 required uint64 partition_key_index      required: written even when 0
//!                   2 optional uint64 explicit_hash_key_index  absent without an explicit hash key
//!                   3 required bytes  data                     required: written even when empty
//!                   4 repeated Tag    tags                     of a traced record, and of the first of a numbered run
//! Tag:              1 required string key                      `traceparent`, `tracestate`, `number`; others are skipped
//!                   2 optional string value                    that header of W3C Trace Context; series and number
//! ```
//!
//! [`Aggregate`] writes it, byte for byte as the KPL does; [`decode`] reads it, with the KCL's rules for what is an aggregate
//! and what is a plain record, and [`Deaggregator`] makes user records of either.
//! The KPL never writes tags, and no reader of the format looks at them: user records are the same with and without. A
//! [`TraceContext`](crate::TraceContext) travels in them, and a [`RecordNumber`](crate::RecordNumber).
//! Source: `aggregation-format.md` of `awslabs/amazon-kinesis-producer`.

mod deaggregator;
mod decode;
mod encode;
#[cfg(test)]
mod golden;
mod tags;
mod wire;

pub use deaggregator::{DeaggregateError, Deaggregated, DeaggregatedRecord, Deaggregator};
pub use decode::{AggregatedRecord, Decoded, Enveloped, MalformedReason, MalformedRecord, ParsedAggregate, decode};
pub use encode::Aggregate;
#[cfg(feature = "producer")]
pub(crate) use encode::{Numbering, Sealed};

/// First bytes of every aggregated record.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Length of the MD5 digest that ends an aggregated record, in bytes.
pub const DIGEST_LEN: usize = 16;

/// Partition key that the KPL gives to every Kinesis record that is an aggregate. It does not decide the shard, the
/// record's explicit hash key does.
pub const AGGREGATE_PARTITION_KEY: &str = "a";

/// Returns whether consumers that know the formats would take `data` for an aggregate or a compressed frame.
#[cfg(feature = "producer")]
pub(crate) fn is_opened(data: &bytes::Bytes) -> bool {
    data.starts_with(&crate::compressed::MAGIC)
        || data.starts_with(&MAGIC) && Enveloped::of(data).as_ref().and_then(Enveloped::parse).is_some()
}

/// Field numbers and wire types, as written before each field.
mod tag {
    pub(super) const PARTITION_KEY: u8 = 1 << 3 | 2;
    pub(super) const EXPLICIT_HASH_KEY: u8 = 2 << 3 | 2;
    pub(super) const RECORD: u8 = 3 << 3 | 2;
    pub(super) const PARTITION_KEY_INDEX: u8 = 1 << 3;
    pub(super) const EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
    pub(super) const DATA: u8 = 3 << 3 | 2;
    pub(super) const TAG: u8 = 4 << 3 | 2;
    pub(super) const TAG_KEY: u8 = 1 << 3 | 2;
    pub(super) const TAG_VALUE: u8 = 2 << 3 | 2;
}
