//! Records that every candidate writes or reads: numbered, with a sum by which a reader shows that it has seen all.

use bytes::Bytes;

/// Name of the stream.
pub(crate) const STREAM: &str = "StockTradeStream";
/// Shards of the stream.
pub(crate) const SHARDS: u32 = 16;
/// Partition keys, which records have in turn.
pub(crate) const KEYS: usize = 10_000;

/// Records of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) aggregated: bool,
}

impl Work {
    /// `100 B aggregated`.
    pub(crate) fn name(self) -> String {
        let kind = if self.aggregated { "aggregated" } else { "plain" };
        format!("{} {kind}", integration_tests::bench::size(self.bytes))
    }

    /// Sum of all bytes of all records.
    pub(crate) fn sum(self) -> u64 {
        let numbers: u64 = (0..self.records as u64).flat_map(u64::to_be_bytes).map(u64::from).sum();
        numbers + self.records as u64 * (self.bytes - size_of::<u64>()) as u64 * u64::from(b'x')
    }
}

/// All partition keys.
pub(crate) fn keys() -> Vec<String> {
    (0..KEYS).map(|n| format!("key-{n}")).collect()
}

/// The data of a record.
pub(crate) fn record(number: usize, bytes: usize) -> Bytes {
    let mut data = vec![b'x'; bytes];
    data[..size_of::<u64>()].copy_from_slice(&(number as u64).to_be_bytes());
    data.into()
}
