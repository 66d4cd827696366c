//! Keys: schemas, and the positions of items by them. Pure.

use super::error::Error;
use super::number::Number;
use super::value::{Item, Value};

/// Maximum sizes of the parts of a key in bytes.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_PARTITION_KEY: usize = 2048;
const MAX_SORT_KEY: usize = 1024;

/// The key of a table or an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeySchema {
    pub(super) partition: KeyAttribute,
    pub(super) sort: Option<KeyAttribute>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyAttribute {
    pub(super) name: String,
    /// `S`, `N` or `B`.
    pub(super) kind: String,
}

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyPart {
    S(String),
    N(Number),
    B(Vec<u8>),
}

/// The place of an item: by the hash of its partition key, as the service scans, then by its sort key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) hash: u64,
    pub(super) partition: KeyPart,
    pub(super) sort: Option<KeyPart>,
}

impl KeyPart {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::S(text) => Some(Self::S(text.clone())),
            Value::N(number) => Some(Self::N(*number)),
            Value::B(bytes) => Some(Self::B(bytes.clone())),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size(),
            Self::B(bytes) => bytes.len(),
        }
    }

    /// Spreads keys evenly, and the same in every process: FNV-1a, with the bits of the end mixed into all.
    fn hash(&self) -> u64 {
        let fnv = |bytes: &[u8]| {
            let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
        };
        let hash = match self {
            Self::S(text) => fnv(text.as_bytes()),
            Self::N(number) => fnv(number.to_string().as_bytes()),
            Self::B(bytes) => fnv(bytes),
        };
        let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }
}

impl KeyAttribute {
    /// The value as a part of the key, if it has the right type.
    pub(super) fn part(&self, value: &Value) -> Option<KeyPart> {
        if value.type_name() == self.kind { KeyPart::of(value) } else { None }
    }
}

impl Position {
    /// Before all others.
    pub(super) const FIRST: Self = Self { hash: 0, partition: KeyPart::S(String::new()), sort: None };

    /// The start of a partition.
    pub(super) fn of_partition(partition: KeyPart) -> Self {
        Self { hash: partition.hash(), partition, sort: None }
    }

    /// Before all positions of that hash.
    pub(super) fn of_hash(hash: u64) -> Self {
        Self { hash, ..Self::FIRST }
    }
}

impl KeySchema {
    pub(super) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes().map(|attribute| attribute.name.as_str())
    }

    /// The position of an item; `None` if it has no such key.
    pub(super) fn position(&self, item: &Item) -> Option<Position> {
        let part = |attribute: &KeyAttribute| attribute.part(item.get(&attribute.name)?);
        let partition = part(&self.partition)?;
        let sort = match &self.sort {
            Some(sort) => Some(part(sort)?),
            None => None,
        };
        Some(Position { sort, ..Position::of_partition(partition) })
    }

    /// The key alone.
    pub(super) fn key(&self, item: &Item) -> Item {
        self.names().filter_map(|name| item.get_key_value(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// The position of a whole item that is written.
    pub(super) fn require_in(&self, item: &Item) -> Result<Position, Error> {
        for KeyAttribute { name, kind } in self.attributes() {
            let value = item.get(name);
            let value = value.ok_or_else(|| Error::invalid(format!("Missing the key {name} in the item")))?;
            if value.type_name() != kind {
                let actual = value.type_name();
                let detail = format!("Type mismatch for key {name} expected: {kind} actual: {actual}");
                return Err(Error::invalid(detail));
            }
        }
        self.sized(item)
    }

    /// The position that a request names by exactly the key.
    pub(super) fn require_key(&self, key: &Item) -> Result<Position, Error> {
        let fits = |attribute: &KeyAttribute| key.get(&attribute.name).is_some_and(|v| v.type_name() == attribute.kind);
        if key.len() != self.attributes().count() || !self.attributes().all(fits) {
            return Err(Error::validation("The provided key element does not match the schema"));
        }
        self.sized(key)
    }

    fn sized(&self, item: &Item) -> Result<Position, Error> {
        let mismatch = || Error::validation("The provided key element does not match the schema");
        let position = self.position(item).ok_or_else(mismatch)?;
        let parts = self.names().zip(std::iter::once(&position.partition).chain(&position.sort));
        for (n, (name, part)) in parts.enumerate() {
            if part.bytes() == 0 {
                let kind = if matches!(part, KeyPart::B(_)) { "binary" } else { "string" };
                return Err(Error::validation(format!(
                    "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                     empty {kind} value. Key: {name}"
                )));
            }
            if n == 0 && part.bytes() > MAX_PARTITION_KEY {
                return Err(Error::invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes"));
            }
            if n == 1 && part.bytes() > MAX_SORT_KEY {
                return Err(Error::invalid(
                    "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
                ));
            }
        }
        Ok(position)
    }
}
