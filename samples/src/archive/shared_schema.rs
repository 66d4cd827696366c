//! The columns that all objects of a stream share, as its first object's records have them.

use kcl::{BoxError, Record};
use object_store::path::Path;
use tokio::task::spawn_blocking;

use super::schema::Schema;
use crate::objects::Objects;

/// Name of the object that has them. Readers of data sets leave names aside that begin so.
const NAME: &str = "_schema.json";

/// An object `<application>/<stream>@<creation>/_schema.json`. It is created once, by whichever shard is first, and never
/// replaced.
#[derive(Debug)]
pub(super) struct SharedSchema {
    objects: Objects,
    path: Path,
}

impl SharedSchema {
    /// The schema of a stream, below this folder.
    pub(super) fn new(objects: Objects, folder: [&String; 2]) -> Self {
        let path = objects.path(folder.into_iter().map(String::as_str).chain([NAME]));
        Self { objects, path }
    }

    /// The schema, inferred from these records if there is none. None: no record is a JSON object.
    ///
    /// # Errors
    /// The store fails, or what is there is no schema.
    pub(super) async fn of(&self, records: &[Record]) -> Result<Option<Schema>, BoxError> {
        if let Some(schema) = self.read().await? {
            return Ok(Some(schema));
        }
        let records = records.to_vec();
        let infer = move || Schema::inferred(records.iter().map(|record| &*record.data));
        let schema = spawn_blocking(infer).await?;
        if schema.columns().is_empty() {
            return Ok(None);
        }
        let json = serde_json::to_vec_pretty(&schema)?;
        if self.objects.create(&self.path, json.into()).await? { Ok(Some(schema)) } else { self.read().await }
    }

    async fn read(&self) -> Result<Option<Schema>, BoxError> {
        let Some(object) = self.objects.get(&self.path).await? else { return Ok(None) };
        let schema = serde_json::from_slice::<Schema>(&object);
        Ok(Some(schema.map_err(|error| format!("{} is no schema: {error}", self.path))?))
    }
}
