//! The result of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use indicatif::HumanCount;
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
    /// Time from the first trade put to the last one processed.
    pub elapsed_seconds: f64,
    /// True if reading the file broke off before its end.
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

    /// True if nothing was lost and the whole input was understood.
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
        let symbols = self.by_symbol.len();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_record = *trades_put as f64 / (*kinesis_records).max(1) as f64;
        let [put, processed, lost_trades] = [trades_put, trades_processed, lost].map(|count| HumanCount(*count));
        let kinesis_records = HumanCount(*kinesis_records as u64);
        writeln!(f, "Put        {put} trades in {kinesis_records} Kinesis records, {per_record:.1} in each")?;
        writeln!(
            f,
            "Processed  {processed} trades of {symbols} symbols from {shards} shards, in {:.1} s",
            self.elapsed_seconds
        )?;
        writeln!(f, "Lost       {lost_trades}, duplicates {duplicates}, out of order {out_of_order}")?;
        if self.rejected_rows > 0 {
            writeln!(f, "Rejected   {} rows of the file", self.rejected_rows)?;
        }
        f.write_str(match (self.is_success(), *lost, duplicates + out_of_order) {
            (true, _, 0) => "OK: every trade arrived once and in order.",
            (true, ..) => "OK: every trade arrived.",
            (false, 0, _) => "FAILED: not every row of the file is a trade.",
            (false, ..) => "FAILED: trades were lost.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_short_summary_with_a_verdict() {
        let tally = Tally::default();
        (0..1_234).for_each(|_| tally.put());

        let lost = Summary::new(&tally, &Input::default(), Duration::from_millis(1_250)).to_string();
        let none = Summary::new(&Tally::default(), &Input::default(), Duration::ZERO).to_string();

        let expected = "Put        1,234 trades in 0 Kinesis records, 1234.0 in each\n\
            Processed  0 trades of 0 symbols from 0 shards, in 1.2 s\n\
            Lost       1,234, duplicates 0, out of order 0\n\
            FAILED: trades were lost.";
        assert_eq!(lost, expected);
        assert!(none.ends_with("\nOK: every trade arrived once and in order."), "{none}");
    }
}
