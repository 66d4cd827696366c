//! The tutorial's statistics of one shard.

use std::{collections::HashMap, fmt};

use crate::trade::{Trade, TradeType};

/// Counts trades by symbol and knows the most popular one.
#[derive(Debug, Default)]
struct Popularity {
    counts: HashMap<String, u64>,
    most_popular: Option<String>,
}

impl Popularity {
    fn add(&mut self, symbol: &str) {
        let count = self.counts.entry(symbol.to_owned()).or_default();
        *count += 1;
        let count = *count;
        // The first to reach a count keeps the lead.
        if count > self.lead() {
            self.most_popular = Some(symbol.to_owned());
        }
    }

    fn lead(&self) -> u64 {
        self.most_popular.as_ref().and_then(|symbol| self.counts.get(symbol)).copied().unwrap_or(0)
    }
}

/// The most popular stocks.
#[derive(Debug, Default)]
pub struct Stats {
    buys: Popularity,
    sells: Popularity,
}

impl Stats {
    /// Adds a trade.
    pub fn add(&mut self, trade: &Trade) {
        match trade.trade_type {
            TradeType::Buy => self.buys.add(&trade.ticker_symbol),
            TradeType::Sell => self.sells.add(&trade.ticker_symbol),
        }
    }

    /// True if nothing was traded.
    pub fn is_empty(&self) -> bool {
        self.buys.counts.is_empty() && self.sells.counts.is_empty()
    }

    /// The tutorial's report for a shard and a period, such as "1 minute".
    pub fn report(&self, shard: &str, period: &str) -> String {
        let title = format!("****** Shard {shard} stats for last {period} ******");
        format!("{title}\n{self}\n{}", "*".repeat(title.len()))
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |popularity: &Popularity| popularity.most_popular.clone().unwrap_or_else(|| "none".to_owned());
        writeln!(f, "Most popular stock being bought: {}, {} buys.", name(&self.buys), self.buys.lead())?;
        write!(f, "Most popular stock being sold: {}, {} sells.", name(&self.sells), self.sells.lead())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(symbol: &str, trade_type: TradeType) -> Trade {
        Trade { ticker_symbol: symbol.to_owned(), trade_type, price: 1.0, quantity: 1, id: 1 }
    }

    #[test]
    fn the_first_symbol_to_reach_a_count_keeps_the_lead() {
        let mut stats = Stats::default();
        for symbol in ["A", "B", "B", "A"] {
            stats.add(&trade(symbol, TradeType::Buy));
        }
        stats.add(&trade("C", TradeType::Sell));

        let expected = "Most popular stock being bought: B, 2 buys.\nMost popular stock being sold: C, 1 sells.";
        assert_eq!(stats.to_string(), expected);
    }

    #[test]
    fn names_nothing_most_popular_without_trades() {
        assert!(Stats::default().is_empty());
        assert!(Stats::default().to_string().contains("bought: none, 0 buys."));
    }

    #[test]
    fn a_report_is_framed() {
        let report = Stats::default().report("shardId-000000000001", "1 minute");

        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], "****** Shard shardId-000000000001 stats for last 1 minute ******");
        assert_eq!(lines[3], "*".repeat(lines[0].len()));
    }
}
