//! Writes of one item: what a request asks for, what it would do, and doing it. All operations that write come here.

use std::collections::BTreeMap;

use super::capacity::{Consumed, Units, write_units};
use super::error::{Error, Kind};
use super::expression::condition::Condition;
use super::expression::update::Update;
use super::key::Position;
use super::table::Table;
use super::value::{Item, stored_bytes};

/// All tables by name.
pub(super) type Tables = BTreeMap<String, Table>;

/// A write of one item.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) table: String,
    pub(super) change: Change,
    pub(super) condition: Option<Condition>,
    /// True if a condition that fails shows the item.
    pub(super) shows_failed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Put(Item),
    /// As Put, refused as a duplicate where an item is.
    Insert(Item),
    /// Of the item with that key.
    Update(Item, Update),
    Delete(Item),
    /// Only checks the condition.
    Check(Item),
}

/// Effect of a write, found before it is done.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) table: String,
    pub(super) position: Position,
    pub(super) old: Option<Item>,
    pub(super) new: Option<Item>,
    pub(super) units: Units,
    /// Hashes in the indexes that see it.
    index_hashes: BTreeMap<String, u64>,
}

pub(super) fn table<'a>(tables: &'a Tables, name: &str) -> Result<&'a Table, Error> {
    tables.get(name).ok_or_else(Error::no_table)
}

impl Write {
    /// Without a condition.
    pub(super) fn new(table: &str, change: Change) -> Self {
        Self { table: table.to_owned(), change, condition: None, shows_failed: false }
    }

    /// The table and the place that it is about.
    pub(super) fn place<'a>(&self, tables: &'a Tables) -> Result<(&'a Table, Position), Error> {
        let table = table(tables, &self.table)?;
        let position = match &self.change {
            Change::Put(item) | Change::Insert(item) => table.key.require_in(item)?,
            Change::Update(key, _) | Change::Delete(key) | Change::Check(key) => table.key.require_key(key)?,
        };
        Ok((table, position))
    }

    /// Effect that it would have. Nothing is changed yet.
    pub(super) fn plan(&self, tables: &Tables) -> Result<Planned, Error> {
        let (table, position) = self.place(tables)?;
        if let Change::Update(_, update) = &self.change {
            require_no_key(table, update)?;
        }
        let old = table.items.get(&position);
        let empty = Item::new();
        if let Some(condition) = &self.condition
            && !condition.holds(old.unwrap_or(&empty))
        {
            let units = write_units(old.map_or(0, stored_bytes));
            return Err(Error::condition_failed(old.filter(|_| self.shows_failed).cloned(), units));
        }
        let new = match &self.change {
            Change::Put(item) => Some(item.clone()),
            Change::Insert(_) if old.is_some() => {
                return Err(Error::new(Kind::DuplicateItem, "Duplicate primary key exists in table"));
            }
            Change::Insert(item) => Some(item.clone()),
            Change::Update(key, update) => Some(update.applied(old.unwrap_or(key))?),
            Change::Delete(_) => None,
            Change::Check(_) => old.cloned(),
        };
        if let Some(new) = &new {
            table.require_fit(new, matches!(self.change, Change::Update(..)))?;
        }
        let units = table.units(old, new.as_ref());
        let index_hashes = units.indexes.keys().map(|name| (name.clone(), table.index_hash(name, old, new.as_ref())));
        let index_hashes = index_hashes.collect();
        Ok(Planned { table: self.table.clone(), position, old: old.cloned(), new, units, index_hashes })
    }
}

impl Planned {
    /// The hash of its partition key, in the table or in an index.
    fn hash(&self, index: Option<&str>) -> u64 {
        index.and_then(|index| self.index_hashes.get(index).copied()).unwrap_or(self.position.hash)
    }

    /// Counts it, so many times as much as it is.
    pub(super) fn count(&self, consumed: &mut Consumed, factor: f64) {
        consumed.write(&self.table, |index| self.hash(index), &self.units.clone().times(factor));
    }

    pub(super) fn commit(self, tables: &mut Tables) {
        if let Some(table) = tables.get_mut(&self.table)
            && self.old != self.new
        {
            table.replace(&self.position, self.new);
        }
    }
}

fn require_no_key(table: &Table, update: &Update) -> Result<(), Error> {
    let paths = update.actions.iter().map(|(path, _)| &path.attribute);
    match paths.into_iter().find(|attribute| table.key.names().any(|key| key == *attribute)) {
        Some(key) => Err(Error::invalid(format!("Cannot update attribute {key}. This attribute is part of the key"))),
        None => Ok(()),
    }
}
