//! Kinesis producer.

pub mod aggregated;
pub mod hash_key;
pub mod id;
pub mod record;

#[cfg(feature = "producer")]
pub mod builder;
#[cfg(feature = "producer")]
pub mod config;
#[cfg(feature = "producer")]
pub mod delivery;
#[cfg(feature = "producer")]
pub mod error;
#[cfg(feature = "producer")]
pub mod event;
#[cfg(feature = "producer")]
pub mod kinesis;
#[cfg(feature = "producer")]
mod logic;
#[cfg(feature = "producer")]
mod pipeline;
#[cfg(feature = "producer")]
pub mod producer;
#[cfg(all(feature = "producer", any(test, feature = "test-util")))]
pub mod testing;

pub use hash_key::{HashKey, HashKeyRange};
pub use id::{SequenceNumber, ShardId};
pub use record::UserRecord;
#[cfg(feature = "producer")]
pub use {
    builder::ProducerBuilder,
    config::{Aggregation, ConfigError, Ordering},
    delivery::{Delivered, Delivery},
    error::{Attempt, DeliveryError, DeliveryErrorKind, PutError},
    event::Event,
    kinesis::Kinesis,
    producer::Producer,
};
