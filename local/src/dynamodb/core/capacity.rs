//! Capacity units that requests consume, by the public rules. Pure.
//!
//! docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::consumed::ConsumedCapacity;

/// Bytes of a write unit, and of a read unit.
const WRITE_UNIT: usize = 1024;
const READ_UNIT: usize = 4096;

/// Part of the consumption that an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Total,
    Indexes,
}

/// Units that one table and its indexes gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Units {
    pub(super) table: f64,
    pub(super) indexes: BTreeMap<String, f64>,
}

/// Units by table, as a request consumed them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::dynamodb) struct Consumed {
    pub(super) reads: BTreeMap<String, Units>,
    pub(super) writes: BTreeMap<String, Units>,
    /// The same by place.
    pub(super) touched: Vec<Touched>,
}

/// Units of one place of a table, or of an index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Touched {
    pub(super) table: String,
    pub(super) index: Option<String>,
    /// Hash of the partition key.
    pub(super) hash: u64,
    pub(super) is_write: bool,
    pub(super) units: f64,
}

/// Units of reading so many bytes at once.
pub(super) fn read_units(bytes: usize, is_consistent: bool) -> f64 {
    let units = bytes.div_ceil(READ_UNIT).max(1) as f64;
    if is_consistent { units } else { units / 2.0 }
}

/// Units of writing so many bytes, in a table or an index.
pub(super) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT).max(1) as f64
}

impl Units {
    pub(super) fn of_table(table: f64) -> Self {
        Self { table, ..Self::default() }
    }

    pub(super) fn of_index(index: &str, units: f64) -> Self {
        Self { table: 0.0, indexes: BTreeMap::from([(index.to_owned(), units)]) }
    }

    pub(super) fn total(&self) -> f64 {
        self.table + self.indexes.values().sum::<f64>()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.table += other.table;
        for (index, units) in &other.indexes {
            *self.indexes.entry(index.clone()).or_default() += units;
        }
    }

    /// So many times as much.
    pub(super) fn times(mut self, factor: f64) -> Self {
        self.table *= factor;
        self.indexes.values_mut().for_each(|units| *units *= factor);
        self
    }
}

impl Consumed {
    /// Counts a read at the hash of a partition key.
    pub(super) fn read(&mut self, table: &str, hash: u64, units: &Units) {
        self.reads.entry(table.to_owned()).or_default().add(units);
        self.touch(table, units, false, |_| hash);
    }

    /// Counts a write at the hash of a partition key, and of each index'.
    pub(super) fn write(&mut self, table: &str, hash: impl Fn(Option<&str>) -> u64, units: &Units) {
        self.writes.entry(table.to_owned()).or_default().add(units);
        self.touch(table, units, true, hash);
    }

    fn touch(&mut self, table: &str, units: &Units, is_write: bool, hash: impl Fn(Option<&str>) -> u64) {
        let indexes = units.indexes.iter().map(|(index, units)| (Some(index.as_str()), *units));
        for (index, units) in [(None, units.table)].into_iter().chain(indexes).filter(|(_, units)| *units > 0.0) {
            let (hash, table, index) = (hash(index), table.to_owned(), index.map(str::to_owned));
            self.touched.push(Touched { table, index, hash, is_write, units });
        }
    }

    /// So many times as much.
    pub(super) fn times(mut self, factor: f64) -> Self {
        for units in self.reads.values_mut().chain(self.writes.values_mut()) {
            *units = std::mem::take(units).times(factor);
        }
        self.touched.iter_mut().for_each(|touched| touched.units *= factor);
        self
    }

    pub(super) fn add(&mut self, other: Self) {
        for (all, more) in [(&mut self.reads, &other.reads), (&mut self.writes, &other.writes)] {
            more.iter().for_each(|(table, units)| all.entry(table.clone()).or_default().add(units));
        }
        self.touched.extend(other.touched);
    }

    pub(super) fn add_to(&self, sum: &mut ConsumedCapacity) {
        sum.read_units += self.reads.values().map(Units::total).sum::<f64>();
        sum.write_units += self.writes.values().map(Units::total).sum::<f64>();
    }

    /// As answers show it: an entry for each table, or nothing at all. Those of transactions tell reads from writes.
    pub(super) fn shown(&self, shown: Shown, is_transaction: bool) -> Option<Vec<Json>> {
        if shown == Shown::Nothing || self.reads.is_empty() && self.writes.is_empty() {
            return None;
        }
        let all = [(&self.reads, "ReadCapacityUnits"), (&self.writes, "WriteCapacityUnits")];
        let mut tables: BTreeMap<&str, (Units, Map<String, Json>)> = BTreeMap::new();
        for (units, kind) in all {
            for (table, units) in units {
                let (sum, kinds) = tables.entry(table).or_default();
                sum.add(units);
                kinds.insert(kind.to_owned(), units.total().into());
            }
        }
        let entry = |(table, (units, kinds)): (&str, (Units, Map<String, Json>))| {
            let mut entry = json!({ "TableName": table, "CapacityUnits": units.total() });
            if let (true, Some(entry)) = (is_transaction, entry.as_object_mut()) {
                entry.extend(kinds.clone());
            }
            if shown == Shown::Indexes {
                entry["Table"] = detail(units.table, &kinds, is_transaction);
                if !units.indexes.is_empty() {
                    let index = |(name, units): (&String, &f64)| (name.clone(), detail(*units, &kinds, is_transaction));
                    entry["GlobalSecondaryIndexes"] = Json::Object(units.indexes.iter().map(index).collect());
                }
            }
            entry
        };
        Some(tables.into_iter().map(entry).collect())
    }
}

/// The units of a table or an index alone.
fn detail(units: f64, kinds: &Map<String, Json>, is_transaction: bool) -> Json {
    let mut detail = json!({ "CapacityUnits": units });
    if let (true, 1, Some(kind)) = (is_transaction, kinds.len(), kinds.keys().next()) {
        detail[kind] = units.into();
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_up_and_at_least_one() {
        assert_eq!([0, 1, 4096, 4097, 8193].map(|bytes| read_units(bytes, true)), [1.0, 1.0, 1.0, 2.0, 3.0]);
        assert_eq!(read_units(4097, false), 1.0);
        assert_eq!([0, 1024, 1025].map(write_units), [1.0, 1.0, 2.0]);
    }

    #[test]
    fn indexes_are_shown_beside_their_table() {
        let mut consumed = Consumed::default();
        consumed.write("t", |_| 0, &Units::of_table(2.0));
        consumed.write("t", |_| 0, &Units::of_index("i", 1.0));
        let total = json!({ "TableName": "t", "CapacityUnits": 3.0 });
        assert_eq!(consumed.shown(Shown::Total, false).unwrap(), [total]);
        let indexes = json!({
            "TableName": "t", "CapacityUnits": 3.0, "Table": { "CapacityUnits": 2.0 },
            "GlobalSecondaryIndexes": { "i": { "CapacityUnits": 1.0 } },
        });
        assert_eq!(consumed.shown(Shown::Indexes, false).unwrap(), [indexes]);
        assert_eq!(consumed.shown(Shown::Nothing, false), None);
    }
}
