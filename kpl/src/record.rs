//! User records.

use bytes::Bytes;

use crate::{hash_key::HashKey, trace_context::TraceContext};

/// Maximum characters of a partition key; the minimum is one.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html>
pub const PARTITION_KEY_MAX_CHARS: usize = 256;

/// One record of the application: data, and the partition key that decides the shard. Cloning copies the partition key and
/// shares the data.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    partition_key: String,
    /// In halves, which need no room to be aligned by 16 bytes.
    explicit_hash_key: Option<[u64; 2]>,
    data: Bytes,
    /// Boxed, because most have none.
    trace_context: Option<Box<TraceContext>>,
}

impl UserRecord {
    /// A record whose shard follows from the MD5 of `partition_key`: 1 to 256 Unicode characters, checked when it is put.
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into(), trace_context: None }
    }

    /// Sends the record to the shard that owns `hash_key` rather than to the partition key's. Consumers see the explicit hash
    /// key of a record in an aggregate only: Kinesis does not return it.
    #[must_use = "the record is returned with the hash key set"]
    pub fn with_explicit_hash_key(mut self, hash_key: HashKey) -> Self {
        self.explicit_hash_key = Some([(hash_key.0 >> 64) as u64, hash_key.0 as u64]);
        self
    }

    /// Sends the context of the trace in which the record is put with it, as tags in its aggregate: 72 bytes, and some more with a
    /// `tracestate`. A lone record becomes an aggregate of one, for a plain Kinesis record has no room for it. Sent without are
    /// records of a producer that does not aggregate, and those that would exceed the maximum of a Kinesis record with it.
    #[must_use = "the record is returned with the trace context set"]
    pub fn with_trace_context(mut self, context: TraceContext) -> Self {
        self.trace_context = Some(Box::new(context));
        self
    }

    /// The partition key: while the shards stay as they are, records of one key have one shard.
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }

    /// Replacement of the partition key's hash, if set.
    pub fn explicit_hash_key(&self) -> Option<HashKey> {
        self.explicit_hash_key.map(|[high, low]| HashKey(u128::from(high) << 64 | u128::from(low)))
    }

    /// The trace context that is sent with the record.
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.trace_context.as_deref()
    }

    /// The payload.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The payload, without a copy.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Returns the data there were before.
    #[cfg(feature = "producer")]
    pub(crate) fn replace_data(&mut self, data: Bytes) -> Bytes {
        std::mem::replace(&mut self.data, data)
    }

    /// Hash key of the record: the explicit one, else the MD5 of its partition key.
    pub fn hash_key(&self) -> HashKey {
        self.explicit_hash_key().unwrap_or_else(|| HashKey::of_partition_key(&self.partition_key))
    }

    /// Bytes that Kinesis counts: data and partition key.
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

impl AsRef<UserRecord> for UserRecord {
    fn as_ref(&self) -> &UserRecord {
        self
    }
}

/// Names the data by its length only: payloads do not belong into logs.
impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord")
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key())
            .field("data_bytes", &self.data.len())
            .field("trace_context", &self.trace_context)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_hash_key_goes_before_the_partition_key() {
        let record = UserRecord::new("alpha", "hello");

        assert_eq!(record.hash_key(), HashKey::of_partition_key("alpha"));
        assert_eq!(record.with_explicit_hash_key(HashKey(7)).hash_key(), HashKey(7));
    }

    #[test]
    fn size_counts_bytes_of_data_and_partition_key() {
        assert_eq!(UserRecord::new("é", "abc").size_bytes(), 5);
    }

    #[test]
    fn debug_output_does_not_show_the_data() {
        let shown = format!("{:?}", UserRecord::new("k", "secret"));

        assert!(shown.contains("data_bytes: 6") && !shown.contains("secret"), "{shown}");
    }
}
