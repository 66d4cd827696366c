//! kcl

use std::error::Error;

mod checkpoint;
mod checkpointer;
mod clock;
mod config;
mod coordination;
mod error;
mod event;
mod kinesis;
mod lease;
mod logic;
mod processor;
mod record;
mod retrieval;
mod shard;
mod worker;

pub use checkpoint::{Checkpoint, Position};
pub use checkpointer::Checkpointer;
pub use config::{InitialPosition, WorkerBuilder};
pub use error::{CheckpointError, ConfigError, WorkerError};
pub use event::Event;
pub use kinesis::{KinesisError, KinesisErrorKind};
pub use kpl::{HashKey, HashKeyRange, SequenceNumber, ShardId};
pub use lease::{WorkerId, store::StoreError};
pub use processor::{ProcessorFactory, RecordProcessor, ShardContext};
pub use record::{Record, RecordBatch};
pub use worker::Worker;

/// Any error of user code, of the SDK or of a service.
pub type BoxError = Box<dyn Error + Send + Sync>;
