//! Formats of the objects: records in, an object's bytes out, and what an object says of itself. Pure.

use bytes::Bytes;
use kcl::{BoxError, Position, Record};

use super::{json_lines, parquet, schema::Schema};

/// Format of the objects of an archive.
#[derive(Debug, Clone, Default)]
pub enum Format {
    /// A JSON object in each line. The default.
    #[default]
    JsonLines,
    /// Parquet with the columns of a schema. None: with those that the records of the stream's first object have.
    Parquet(Option<Schema>),
}

impl Format {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::JsonLines => Kind::JsonLines,
            Self::Parquet(_) => Kind::Parquet,
        }
    }
}

/// Kind of an object, which its name ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    JsonLines,
    Parquet,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::JsonLines, Self::Parquet];

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// Number of an object's records.
    pub(super) fn records(self, object: Bytes) -> Result<usize, BoxError> {
        match self {
            Self::JsonLines => Ok(object.iter().filter(|byte| **byte == b'\n').count()),
            Self::Parquet => parquet::records(object),
        }
    }

    /// Position of an object's last record.
    pub(super) fn end(self, object: Bytes) -> Result<Position, BoxError> {
        match self {
            Self::JsonLines => json_lines::end(&object),
            Self::Parquet => parquet::end(object),
        }
    }
}

/// The object of these records: of JSON lines, or of Parquet with the columns of a schema.
pub(super) fn encode(records: &[Record], schema: Option<&Schema>) -> Result<Vec<u8>, BoxError> {
    match schema {
        None => json_lines::encode(records),
        Some(schema) => parquet::encode(records, schema),
    }
}
