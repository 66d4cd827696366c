//! Consumption of the lease table: requests and the capacity units that they are billed for.

use std::ops::{Add, Sub};

/// Requests to the lease table, and the capacity units that DynamoDB billed for them.
///
/// A read unit is a read of up to 4 KB, half a unit if the read is eventually consistent; a write unit is a write of up
/// to 1 KB. Source: `ConsumedCapacity` of each answer.
/// A write refused by its condition counts as one unit, which is the minimum: DynamoDB bills such a write by the item's
/// size and names no figure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct TableUsage {
    /// Answered requests that read or write items, pages of scans one by one.
    pub requests: u64,
    /// Read units.
    pub read_units: f64,
    /// Write units.
    pub write_units: f64,
}

impl TableUsage {
    pub(crate) fn new(requests: u64, read_units: f64, write_units: f64) -> Self {
        Self { requests, read_units, write_units }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.read_units += other.read_units;
        self.write_units += other.write_units;
    }
}

impl Sub for TableUsage {
    type Output = Self;

    /// The usage since an earlier one.
    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
        }
    }
}

/// Usage of the lease table by a worker in a minute, on average over its last minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct UsageRate {
    /// Requests a minute.
    pub requests: f64,
    /// Read units a minute.
    pub read_units: f64,
    /// Write units a minute.
    pub write_units: f64,
}

impl UsageRate {
    pub(crate) fn new(requests: f64, read_units: f64, write_units: f64) -> Self {
        Self { requests, read_units, write_units }
    }
}

impl Add for UsageRate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            read_units: self.read_units + other.read_units,
            write_units: self.write_units + other.write_units,
        }
    }
}
