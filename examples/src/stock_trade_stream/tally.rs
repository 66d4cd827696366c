//! A tally of trades put and processed, by id: finds lost, duplicate and disordered trades.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kcl::{SequenceNumber, ShardId};
use serde::Serialize;

use crate::trade::{Trade, TradeType};

/// Totals of one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SymbolTotals {
    /// Purchases.
    pub buys: u64,
    /// Sales.
    pub sells: u64,
    /// Shares of all purchases.
    pub shares_bought: i64,
    /// Shares of all sales.
    pub shares_sold: i64,
}

/// Progress of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Trades given to the producer.
    pub put: u64,
    /// Trades whose outcome the producer reported.
    pub resolved: u64,
    /// Different trades processed.
    pub processed: u64,
    /// Times that a trade was processed again.
    pub duplicates: u64,
    /// Times that a trade was processed after a later one of its symbol.
    pub out_of_order: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    processed: HashSet<i64>,
    latest: HashMap<String, i64>,
    by_symbol: BTreeMap<String, SymbolTotals>,
    kinesis_records: HashSet<(ShardId, SequenceNumber)>,
    shards: HashSet<ShardId>,
}

/// Shared by the producer's side and all processors.
#[derive(Debug, Default)]
pub struct Tally {
    /// Plain counters and sets; locked for a few lines.
    state: Mutex<State>,
}

impl Tally {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking processor leaves nothing half done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a trade given to the producer.
    pub fn put(&self) {
        self.state().counts.put += 1;
    }

    /// Counts an outcome of the producer: the place of a stored trade, or None for one that failed.
    pub fn resolved(&self, stored_at: Option<(ShardId, SequenceNumber)>) {
        let mut state = self.state();
        state.counts.resolved += 1;
        state.kinesis_records.extend(stored_at);
    }

    /// Counts a shard whose processor was started.
    pub fn reads(&self, shard_id: &ShardId) {
        self.state().shards.insert(shard_id.clone());
    }

    /// Counts a trade delivered to a processor.
    pub fn processed(&self, trade: &Trade) {
        let mut state = self.state();
        if !state.processed.insert(trade.id) {
            state.counts.duplicates += 1;
            return;
        }
        state.counts.processed += 1;
        let latest = state.latest.entry(trade.ticker_symbol.clone()).or_insert(trade.id);
        let late = *latest > trade.id;
        *latest = trade.id.max(*latest);
        state.counts.out_of_order += u64::from(late);
        let totals = state.by_symbol.entry(trade.ticker_symbol.clone()).or_default();
        match trade.trade_type {
            TradeType::Buy => {
                totals.buys += 1;
                totals.shares_bought += trade.quantity;
            }
            TradeType::Sell => {
                totals.sells += 1;
                totals.shares_sold += trade.quantity;
            }
        }
    }

    /// Progress so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Number of Kinesis records that carry the stored trades.
    pub fn kinesis_records(&self) -> usize {
        self.state().kinesis_records.len()
    }

    /// Number of different shards read.
    pub fn shards(&self) -> usize {
        self.state().shards.len()
    }

    /// Totals of the processed trades.
    pub fn by_symbol(&self) -> BTreeMap<String, SymbolTotals> {
        self.state().by_symbol.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(symbol: &str, id: i64, quantity: i64) -> Trade {
        Trade { ticker_symbol: symbol.to_owned(), trade_type: TradeType::Buy, price: 1.0, quantity, id }
    }

    #[test]
    fn counts_a_trade_processed_again_once_and_as_a_duplicate() {
        let tally = Tally::default();
        tally.processed(&trade("A", 1, 10));
        tally.processed(&trade("A", 1, 10));

        assert_eq!((tally.counts().processed, tally.counts().duplicates), (1, 1));
        assert_eq!(tally.by_symbol()["A"].shares_bought, 10);
    }

    #[test]
    fn order_counts_per_symbol() {
        let tally = Tally::default();
        for (symbol, id) in [("A", 5), ("B", 1), ("A", 6), ("A", 4), ("A", 3), ("B", 2)] {
            tally.processed(&trade(symbol, id, 1));
        }

        assert_eq!(tally.counts().out_of_order, 2);
    }

    #[test]
    fn user_records_of_one_aggregate_count_as_one_kinesis_record() {
        let tally = Tally::default();
        for number in ["1", "1", "2"] {
            tally.resolved(Some(("shardId-000000000000".into(), number.parse().unwrap())));
        }
        tally.resolved(None);

        assert_eq!((tally.kinesis_records(), tally.counts().resolved), (2, 4));
    }
}
