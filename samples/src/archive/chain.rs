//! The objects of a shard, each of which begins where the one before ends.

use bytes::Bytes;
use kcl::{BoxError, Checkpoint, Position, ShardContext};
use object_store::path::Path;

use super::{format::Kind, shared_schema::SharedSchema};
use crate::objects::Objects;

/// Names of a shard's objects: application, stream with its creation time, shard, then the epoch and the position after which
/// the object begins, in digits that have the order of the positions.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    objects: Objects,
    folder: [String; 3],
    epoch: u64,
    kind: Kind,
}

/// Outcome of an attempt to append an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    Created,
    /// There is one that begins here.
    Taken,
}

impl Chain {
    /// The chain of a shard, to which objects of this kind are appended.
    pub(super) fn of(shard: &ShardContext, objects: Objects, kind: Kind) -> Self {
        let key = &shard.sink_key;
        let stream = format!("{}@{}", key.stream_id, key.stream_created_seconds);
        Self { objects, folder: [key.application.clone(), stream, key.shard_id.to_string()], epoch: shard.epoch, kind }
    }

    /// The columns of Parquet that are inferred, for all shards of the stream.
    pub(super) fn shared_schema(&self) -> SharedSchema {
        let [application, stream, _] = &self.folder;
        SharedSchema::new(self.objects.clone(), [application, stream])
    }

    /// The end of the chain from `start` on: None if there is no object that begins there, of either kind.
    ///
    /// # Errors
    /// The store cannot say, or what is there is not an object of an archive.
    pub(super) async fn end(&self, start: &Checkpoint) -> Result<Option<Position>, BoxError> {
        let mut end = None;
        let mut next = self.end_of_next(start).await?;
        while let Some(position) = next {
            next = self.end_of_next(&Checkpoint::At(position.clone())).await?;
            end = Some(position);
        }
        Ok(end)
    }

    /// The end of the object that begins after `start`.
    async fn end_of_next(&self, start: &Checkpoint) -> Result<Option<Position>, BoxError> {
        for kind in Kind::ALL {
            let path = self.path(start, kind);
            let Some(object) = self.objects.get(&path).await? else { continue };
            let end = kind.end(object).map_err(|error| format!("{path} is not an object of the archive: {error}"))?;
            if Checkpoint::At(end.clone()) <= *start {
                return Err(format!("{path} is not an object of the archive: it ends at {end}").into());
            }
            return Ok(Some(end));
        }
        Ok(None)
    }

    /// Creates the object that begins after `start`.
    ///
    /// # Errors
    /// It may be there all the same.
    pub(super) async fn append(&self, start: &Checkpoint, object: Bytes) -> Result<Appended, BoxError> {
        let is_new = self.objects.create(&self.path(start, self.kind), object).await?;
        Ok(if is_new { Appended::Created } else { Appended::Taken })
    }

    fn path(&self, start: &Checkpoint, kind: Kind) -> Path {
        let start = match start {
            Checkpoint::At(position) => {
                format!("{:0>56}-{:020}", position.sequence_number.as_str(), position.sub_sequence_number)
            }
            sentinel => format!("{:0>56}-{sentinel}", ""),
        };
        let name = format!("{:020}-{start}.{}", self.epoch, kind.extension());
        self.objects.path(self.folder.iter().map(String::as_str).chain([name.as_str()]))
    }
}
