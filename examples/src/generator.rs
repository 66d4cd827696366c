//! Random trades, by the tutorial's rules.

use crate::trade::{Trade, TradeType};

/// Symbols and mean prices in dollars.
const STOCKS: [(&str, f64); 25] = [
    ("AAPL", 119.72),
    ("XOM", 91.56),
    ("GOOG", 527.83),
    ("BRK.A", 223_999.88),
    ("MSFT", 42.36),
    ("WFC", 54.21),
    ("JNJ", 99.78),
    ("WMT", 85.91),
    ("CHL", 66.96),
    ("GE", 24.64),
    ("NVS", 102.46),
    ("PG", 85.05),
    ("JPM", 57.82),
    ("RDS.A", 66.72),
    ("CVX", 110.43),
    ("PFE", 33.07),
    ("FB", 74.44),
    ("VZ", 49.09),
    ("PTR", 111.08),
    ("BUD", 120.39),
    ("ORCL", 43.40),
    ("KO", 41.23),
    ("T", 34.64),
    ("DIS", 101.73),
    ("AMZN", 370.56),
];
/// Maximum difference of a price from the mean, as a part of it.
const MAX_DEVIATION: f64 = 0.2;
/// Part of the trades that are sales.
const PROBABILITY_OF_SALE: f64 = 0.4;
/// Maximum number of shares of one trade.
const MAX_QUANTITY: i64 = 10_000;

/// Makes random trades numbered from 1; the same seed makes the same trades.
#[derive(Debug)]
pub struct Generator {
    random: fastrand::Rng,
    next_id: i64,
}

impl Generator {
    /// Trades of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), next_id: 1 }
    }
}

impl Iterator for Generator {
    type Item = Trade;

    /// Never ends.
    fn next(&mut self) -> Option<Trade> {
        let (symbol, mean) = STOCKS[self.random.usize(..STOCKS.len())];
        let deviation = MAX_DEVIATION * (2.0 * self.random.f64() - 1.0);
        let sale = self.random.f64() < PROBABILITY_OF_SALE;
        let id = self.next_id;
        self.next_id += 1;
        Some(Trade {
            ticker_symbol: symbol.to_owned(),
            trade_type: if sale { TradeType::Sell } else { TradeType::Buy },
            price: (mean * (1.0 + deviation) * 100.0).round() / 100.0,
            quantity: self.random.i64(1..=MAX_QUANTITY),
            id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_follow_the_tutorials_rules() {
        let trades: Vec<Trade> = Generator::new(1).take(10_000).collect();

        for (index, trade) in trades.iter().enumerate() {
            let (_, mean) = STOCKS.iter().find(|(symbol, _)| *symbol == trade.ticker_symbol).unwrap();
            assert!((trade.price / mean - 1.0).abs() <= MAX_DEVIATION + 0.001, "{trade}");
            assert!((1..=MAX_QUANTITY).contains(&trade.quantity), "{trade}");
            assert_eq!(trade.id, i64::try_from(index).unwrap() + 1);
        }
        let sales = trades.iter().filter(|trade| trade.trade_type == TradeType::Sell).count();
        assert!((3_700..4_300).contains(&sales), "{sales} of 10,000 are sales");
    }

    #[test]
    fn the_same_seed_makes_the_same_trades() {
        let first = |seed| Generator::new(seed).take(100).collect::<Vec<_>>();

        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
