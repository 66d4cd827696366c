//! [`ConsumedCapacity`]: the units that requests have consumed up to now.

/// Capacity units that all requests to DynamoDB have consumed since the start, of tables and indexes, whether their answers
/// showed it or not. By the public rules: a read unit is 4 KB read consistently, or twice that eventually; a write unit 1 KB.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ConsumedCapacity {
    /// Read units.
    pub read_units: f64,
    /// Write units, those of single writes whose condition failed included.
    pub write_units: f64,
}
