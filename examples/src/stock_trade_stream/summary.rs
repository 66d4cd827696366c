//! How a run ended.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::{
    put::Input,
    tally::{SymbolTotals, Tally},
};

/// The result of a run; its JSON is one line.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Trades given to the producer.
    pub trades_put: u64,
    /// Different trades that were processed.
    pub trades_processed: u64,
    /// Trades put and never processed.
    pub lost: u64,
    /// Times that a trade was processed again.
    pub duplicates: u64,
    /// Times that a trade was processed after a later one of its symbol.
    pub out_of_order: u64,
    /// Rows of the file that are no trades.
    pub rejected_rows: u64,
    /// Kinesis records that carry the trades.
    pub kinesis_records: usize,
    /// Shards that were read.
    pub shards: usize,
    /// Totals of the processed trades.
    pub by_symbol: BTreeMap<String, SymbolTotals>,
    /// From the first trade put to the last one processed.
    pub elapsed_seconds: f64,
    /// Whether reading the file broke off before its end.
    #[serde(skip)]
    pub broken_off: bool,
}

impl Summary {
    pub(super) fn new(tally: &Tally, input: &Input, elapsed: Duration) -> Self {
        let counts = tally.counts();
        Self {
            trades_put: counts.put,
            trades_processed: counts.processed,
            lost: counts.put.saturating_sub(counts.processed),
            duplicates: counts.duplicates,
            out_of_order: counts.out_of_order,
            rejected_rows: input.rejected_rows,
            kinesis_records: tally.kinesis_records(),
            shards: tally.shards(),
            by_symbol: tally.by_symbol(),
            elapsed_seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            broken_off: input.broken_off,
        }
    }

    /// Nothing was lost, and the whole input was understood.
    pub fn is_success(&self) -> bool {
        self.lost == 0 && self.rejected_rows == 0 && !self.broken_off
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a summary has only strings and numbers")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trades_put, trades_processed, lost, duplicates, out_of_order, kinesis_records, shards, .. } = self;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_record = *trades_put as f64 / (*kinesis_records).max(1) as f64;
        writeln!(f, "Put {trades_put} trades as {kinesis_records} Kinesis records, {per_record:.1} trades each.")?;
        writeln!(f, "Processed {trades_processed} trades of {} symbols from {shards} shards.", self.by_symbol.len())?;
        writeln!(f, "Lost {lost}, duplicates {duplicates}, out of order {out_of_order}.")?;
        if self.rejected_rows > 0 {
            writeln!(f, "Rejected {} rows of the file.", self.rejected_rows)?;
        }
        write!(f, "Took {:.1} s.", self.elapsed_seconds)
    }
}
