//! Kinesis producer.

pub mod aggregated;
pub mod hash_key;
pub mod id;
pub mod record;

pub use hash_key::{HashKey, HashKeyRange};
pub use id::{SequenceNumber, ShardId};
pub use record::UserRecord;
