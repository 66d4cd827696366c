//! Kinesis producer.

pub mod hash_key;
pub mod id;

pub use hash_key::{HashKey, HashKeyRange};
pub use id::{SequenceNumber, ShardId};
