//! The tables of an aggregate: each key once, encoded when it is added.

use std::{collections::HashMap, hash::BuildHasher as _};

use foldhash::quality::RandomState;

use crate::{
    aggregated::{
        tag,
        wire::{bytes_field_len, put_bytes},
    },
    hash_key::HashKey,
};

/// Place of a key in its table, present or not.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) index: u32,
    /// Bytes by which the table would grow; 0 if the key is there.
    pub(super) adds_bytes: usize,
    hash: u32,
}

const MIN_SLOTS: usize = 64;

/// Partition keys. Finds them by open addressing over their indexes.
#[derive(Debug, Clone, Default)]
pub(super) struct PartitionKeys {
    hasher: RandomState,
    /// One more than the index of a key, or 0; a power of two in number, at most half of them taken.
    slots: Vec<u32>,
    keys: Vec<Key>,
    pub(super) fields: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    hash: u32,
    /// Of the key, in the fields.
    begin: u32,
    end: u32,
}

impl PartitionKeys {
    #[cfg(feature = "producer")]
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.keys.clear();
        self.fields.clear();
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.keys.first().and_then(|key| str::from_utf8(self.bytes(*key)).ok())
    }

    #[cfg(feature = "producer")]
    pub(super) fn first_range(&self) -> std::ops::Range<usize> {
        self.keys.first().map_or(0..0, |key| key.begin as usize..key.end as usize)
    }

    pub(super) fn find(&self, key: &str) -> Place {
        let hash = self.hasher.hash_one(key) as u32;
        let is_found = |index: u32| {
            let known = self.keys[index as usize];
            known.hash == hash && self.bytes(known) == key.as_bytes()
        };
        match self.probe(hash, is_found).1 {
            Some(index) => Place { index, adds_bytes: 0, hash },
            None => Place { index: self.keys.len() as u32, adds_bytes: bytes_field_len(key.len()), hash },
        }
    }

    /// Adds the key that was not found; nothing if it was.
    pub(super) fn fill(&mut self, place: &Place, key: &str) {
        if place.adds_bytes == 0 {
            return;
        }
        put_bytes(&mut self.fields, tag::PARTITION_KEY, key.as_bytes());
        let end = self.fields.len() as u32;
        self.keys.push(Key { hash: place.hash, begin: end - key.len() as u32, end });
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        } else {
            self.insert(place.hash, place.index);
        }
    }

    fn bytes(&self, key: Key) -> &[u8] {
        &self.fields[key.begin as usize..key.end as usize]
    }

    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(MIN_SLOTS)];
        self.keys.reserve_exact(self.slots.len() / 2 - self.keys.len());
        for index in 0..self.keys.len() {
            self.insert(self.keys[index].hash, index as u32);
        }
    }

    fn insert(&mut self, hash: u32, index: u32) {
        let (position, _) = self.probe(hash, |_| false);
        self.slots[position] = index + 1;
    }

    /// Goes from slot to slot, until the key is found or a slot is free: its position.
    fn probe(&self, hash: u32, is_found: impl Fn(u32) -> bool) -> (usize, Option<u32>) {
        if self.slots.is_empty() {
            return (0, None);
        }
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        while let Some(index) = self.slots[position].checked_sub(1) {
            if is_found(index) {
                return (position, Some(index));
            }
            position = (position + 1) & mask;
        }
        (position, None)
    }
}

/// Explicit hash keys; most aggregates have none.
#[derive(Debug, Clone, Default)]
pub(super) struct HashKeys {
    indexes: HashMap<HashKey, u32, RandomState>,
    pub(super) fields: Vec<u8>,
}

impl HashKeys {
    #[cfg(feature = "producer")]
    pub(super) fn clear(&mut self) {
        self.indexes.clear();
        self.fields.clear();
    }

    pub(super) fn find(&self, key: HashKey) -> Place {
        match self.indexes.get(&key) {
            Some(&index) => Place { index, adds_bytes: 0, hash: 0 },
            None => {
                let adds_bytes = bytes_field_len(decimal_len(key));
                Place { index: self.indexes.len() as u32, adds_bytes, hash: 0 }
            }
        }
    }

    /// Adds the key that was not found; nothing if it was.
    pub(super) fn fill(&mut self, place: &Place, key: HashKey) {
        if place.adds_bytes > 0 {
            self.indexes.insert(key, place.index);
            put_bytes(&mut self.fields, tag::EXPLICIT_HASH_KEY, key.to_string().as_bytes());
        }
    }
}

fn decimal_len(key: HashKey) -> usize {
    key.0.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_keys_have_as_many_digits_as_printed() {
        for key in [0, 1, 9, 10, 99, 100, u128::MAX / 10, u128::MAX] {
            assert_eq!(decimal_len(HashKey(key)), key.to_string().len(), "{key}");
        }
    }
}
