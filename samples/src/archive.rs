//! Records of a stream as JSON lines or Parquet, in a folder or in S3; each record is in exactly one object.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kcl::{BoxError, ShardContext, Worker};
//! use samples::{
//!     archive::{Archive, Format},
//!     objects::Objects,
//! };
//!
//! # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
//! let archive = Archive::new(Objects::open("s3://lake/orders")?)
//!     .format(Format::Parquet(Some("customer:string,quantity:int64,price:double".parse()?)))
//!     .max_bytes(64 * 1024 * 1024)
//!     .max_age(Duration::from_secs(300));
//! Worker::builder(&aws, "archive", "orders").build(move |shard: &ShardContext| archive.processor(shard))?.run().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A line is a JSON object: `kinesis` with the record's position, partition key and time, and its data as `record`, if
//! they are a JSON object, `text` if they are other UTF-8, or else `base64`.
//!
//! Parquet has a row for each record: `_sequence_number`, `_sub_sequence_number`, `_partition_key` and `_arrival`; the
//! columns of the [`Schema`] for the fields of JSON objects; `_rest` with the fields that have no column, or a value that
//! their column cannot hold, as a JSON object; `_data` with the bytes that are no JSON object.
//!
//! # Guarantees
//! An object begins after the position that its name has, and has its own end in its last line. It is created, never
//! replaced: a worker that finds one of that name continues at its end. So the objects of a shard are a chain, in which
//! each begins where the one before ends, and
//!
//! - (A) a crash between an object and its checkpoint repeats nothing: the next worker follows the chain behind the
//!   checkpoint;
//! - (B) of a worker that lost the shard and the one that has it now, one creates the next object, whichever is late;
//! - (C) objects are atomic: no part of one is visible, in a folder neither.
//!
//! After a reset of the application the records are archived again, in a chain of their own: the names of its objects
//! begin with a greater epoch. Records that a producer puts twice are twice in the archive.

mod chain;
mod fields;
mod format;
mod json_lines;
mod keeper;
mod parquet;
mod processor;
mod schema;
mod shared_schema;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kcl::{BoxError, ShardContext};

use self::format::Kind;
pub use self::{
    format::Format,
    processor::ArchiveProcessor,
    schema::{Column, ColumnKind, Schema, SchemaError},
};
use crate::objects::Objects;

/// Default of [`Archive::max_bytes`].
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Default of [`Archive::max_age`].
const MAX_AGE: Duration = Duration::from_secs(300);

/// Settings of an archive. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Archive {
    objects: Objects,
    format: Format,
    max_bytes: usize,
    max_age: Duration,
}

impl Archive {
    /// An archive of JSON lines in a store.
    pub fn new(objects: Objects) -> Self {
        Self { objects, format: Format::default(), max_bytes: MAX_BYTES, max_age: MAX_AGE }
    }

    /// Sets the format of the objects. Default JSON lines.
    ///
    /// All workers of an archive have the same. Before it is changed, all are stopped: two that write objects of different
    /// formats would not notice each other.
    #[must_use = "the archive is returned with its format set"]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the bytes of data beyond which an object is written. Default 32 MiB. A shard holds as much in memory, and one batch
    /// more. While an object is encoded, JSON lines take as much again, or in base64 a third more; Parquet takes three to
    /// five times as much.
    #[must_use = "the archive is returned with its limit set"]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the time after which a record is written, even if no other follows. Default 5 minutes.
    #[must_use = "the archive is returned with its limit set"]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Paths of all objects of the archive, with the number of their records, in the order of the paths.
    ///
    /// # Errors
    /// The store cannot be read, or something else has the name of an object.
    ///
    /// # Cancellation
    /// Changes nothing.
    pub async fn contents(&self) -> Result<Vec<(String, usize)>, BoxError> {
        let mut contents = Vec::new();
        for path in self.objects.paths().await? {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| path.extension() == Some(kind.extension())) else {
                continue;
            };
            let object = self.objects.get(&path).await?.ok_or_else(|| format!("{path} was deleted"))?;
            contents.push((path.to_string(), kind.records(object)?));
        }
        Ok(contents)
    }

    /// The processor of a shard, for [`WorkerBuilder::build`](kcl::WorkerBuilder::build). It checkpoints by itself.
    pub fn processor(&self, shard: &ShardContext) -> ArchiveProcessor {
        ArchiveProcessor::new(self.clone(), shard.clone())
    }
}
