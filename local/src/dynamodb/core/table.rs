//! A table: its items by position, and its indexes, which follow every write at once. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::Value as Json;

use super::capacity::{Units, write_units};
use super::error::Error;
use super::key::{KeySchema, Position};
use super::path::Path;
use super::value::{Item, stored_bytes};
use crate::timestamp::Millis;

/// Maximum size of an item in bytes.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const MAX_ITEM: usize = 400 * 1024;

/// A table of the account.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) key: KeySchema,
    pub(super) items: BTreeMap<Position, Item>,
    pub(super) indexes: BTreeMap<String, Index>,
    pub(super) settings: Settings,
    /// Sum of the sizes of the items.
    pub(super) bytes: usize,
}

/// Settings that a table's description shows besides its key and indexes.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) id: String,
    pub(super) created: Millis,
    /// Types of attributes, as they were defined.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) is_on_demand: bool,
    pub(super) on_demand_since: Option<Millis>,
    pub(super) provisioned: Throughput,
    pub(super) on_demand: Option<Json>,
    pub(super) is_protected: bool,
    pub(super) class: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// The attribute of times to live, while they are on.
    pub(super) time_to_live: Option<String>,
}

/// Provisioned units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Throughput {
    pub(super) reads: i64,
    pub(super) writes: i64,
}

/// A global secondary index.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) key: KeySchema,
    pub(super) projection: Projection,
    pub(super) provisioned: Throughput,
    pub(super) on_demand: Option<Json>,
    /// Positions in the index, each with that in the table.
    pub(super) entries: BTreeSet<(Position, Position)>,
}

/// The attributes that an index holds besides the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Projection {
    KeysOnly,
    Include(Vec<String>),
    All,
}

impl Index {
    /// Part of an item that the index holds.
    pub(super) fn projected(&self, item: &Item, table: &KeySchema) -> Item {
        match &self.projection {
            Projection::All => item.clone(),
            _ => item.iter().filter(|(name, _)| self.holds(name, table)).map(|(n, v)| (n.clone(), v.clone())).collect(),
        }
    }

    /// True if it holds an attribute.
    pub(super) fn holds(&self, name: &str, table: &KeySchema) -> bool {
        let is_included = match &self.projection {
            Projection::All => true,
            Projection::Include(names) => names.iter().any(|included| included == name),
            Projection::KeysOnly => false,
        };
        is_included || self.key.names().chain(table.names()).any(|key| key == name)
    }

    /// The paths of which it lacks the attribute.
    pub(super) fn lacks<'a>(&self, paths: &'a [Path], table: &KeySchema) -> Vec<&'a str> {
        let attributes = paths.iter().map(|path| path.attribute.as_str());
        attributes.filter(|attribute| !self.holds(attribute, table)).collect()
    }

    /// Passes when the item can be in the index, or left out of it.
    fn require_fit(&self, name: &str, item: &Item) -> Result<(), Error> {
        for attribute in self.key.attributes() {
            let Some(value) = item.get(&attribute.name) else { continue };
            let key = &attribute.name;
            if value.type_name() != attribute.kind {
                let (kind, actual) = (&attribute.kind, value.type_name());
                return Err(Error::invalid(format!(
                    "Type mismatch for Index Key {key} Expected: {kind} Actual: {actual} IndexName: {name}"
                )));
            }
            if value.stored_bytes() == 0 {
                let kind = if attribute.kind == "B" { "binary" } else { "string" };
                return Err(Error::validation(format!(
                    "One or more parameter values are not valid. A value specified for a secondary index key is not \
                     supported. The AttributeValue for a key attribute cannot contain an empty {kind} value. IndexName: \
                     {name}, IndexKey: {key}"
                )));
            }
        }
        Ok(())
    }

    /// Units of the change of an item: none when the index does not see it, two when the entry moves.
    fn units(&self, table: &KeySchema, old: Option<&Item>, new: Option<&Item>) -> f64 {
        let held = |item: &Item| self.key.position(item).map(|_| self.projected(item, table));
        match (old.and_then(held), new.and_then(held)) {
            (None, None) => 0.0,
            (Some(one), None) | (None, Some(one)) => write_units(stored_bytes(&one)),
            (Some(old), Some(new)) if old == new => 0.0,
            (Some(old), Some(new)) => {
                let (before, after) = (write_units(stored_bytes(&old)), write_units(stored_bytes(&new)));
                let is_moved = self.key.position(&old) != self.key.position(&new);
                if is_moved { before + after } else { before.max(after) }
            }
        }
    }
}

impl Table {
    pub(super) fn index(&self, name: &str) -> Result<&Index, Error> {
        self.indexes
            .get(name)
            .ok_or_else(|| Error::validation(format!("The table does not have the specified index: {name}")))
    }

    /// Passes when the item can be written.
    pub(super) fn require_fit(&self, item: &Item, is_update: bool) -> Result<(), Error> {
        if stored_bytes(item) > MAX_ITEM {
            let what = if is_update { "Item size to update" } else { "Item size" };
            return Err(Error::new(
                super::error::Kind::ItemTooLarge,
                format!("{what} has exceeded the maximum allowed size"),
            ));
        }
        self.indexes.iter().try_for_each(|(name, index)| index.require_fit(name, item))
    }

    /// Units of a write that finds `old` and leaves `new`.
    pub(super) fn units(&self, old: Option<&Item>, new: Option<&Item>) -> Units {
        let bytes = |item: Option<&Item>| item.map_or(0, stored_bytes);
        let mut units = Units::of_table(write_units(bytes(old).max(bytes(new))));
        for (name, index) in &self.indexes {
            let index = index.units(&self.key, old, new);
            if index > 0.0 {
                units.indexes.insert(name.clone(), index);
            }
        }
        units
    }

    /// Hash in an index of an item that is written: where it will be, else where it was.
    pub(super) fn index_hash(&self, name: &str, old: Option<&Item>, new: Option<&Item>) -> u64 {
        let position = |item: &Item| self.indexes.get(name)?.key.position(item);
        new.and_then(position).or_else(|| old.and_then(position)).map_or(0, |position| position.hash)
    }

    /// Puts an item, or removes what is there.
    pub(super) fn replace(&mut self, position: &Position, new: Option<Item>) {
        let old = match &new {
            Some(_) => self.items.get(position).cloned(),
            None => self.items.remove(position),
        };
        for index in self.indexes.values_mut() {
            let entry = |item: &Item| Some((index.key.position(item)?, position.clone()));
            let (before, after) = (old.as_ref().and_then(entry), new.as_ref().and_then(entry));
            if before != after {
                before.iter().for_each(|entry| _ = index.entries.remove(entry));
                index.entries.extend(after);
            }
        }
        self.bytes -= old.as_ref().map_or(0, stored_bytes);
        if let Some(new) = new {
            self.bytes += stored_bytes(&new);
            self.items.insert(position.clone(), new);
        }
    }

    /// Adds an index of the items that are there.
    pub(super) fn add_index(&mut self, name: &str, mut index: Index) {
        let entry = |(position, item): (&Position, &Item)| Some((index.key.position(item)?, position.clone()));
        index.entries = self.items.iter().filter_map(entry).collect();
        self.indexes.insert(name.to_owned(), index);
    }

    /// Items between two positions, in order.
    pub(super) fn range(
        &self,
        from: Bound<Position>,
        to: Bound<Position>,
    ) -> impl DoubleEndedIterator<Item = (&Position, &Item)> {
        self.items.range((from, to))
    }

    /// Items in an index between two positions of it, in order.
    pub(super) fn index_range<'a>(
        &'a self,
        index: &'a Index,
        from: Bound<(Position, Position)>,
        to: Bound<(Position, Position)>,
    ) -> impl DoubleEndedIterator<Item = (&'a (Position, Position), &'a Item)> {
        index.entries.range((from, to)).filter_map(|entry| Some((entry, self.items.get(&entry.1)?)))
    }
}
