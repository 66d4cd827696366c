//! A stock trade, and its JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Purchase or sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeType {
    /// Shares were bought.
    Buy,
    /// Shares were sold.
    Sell,
}

/// One trade, as the tutorial's writer puts it: camel-case JSON. Unknown fields are ignored when read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trade {
    /// Symbol, for example `AMZN`; the partition key.
    pub ticker_symbol: String,
    /// Purchase or sale.
    pub trade_type: TradeType,
    /// Price of a share in dollars.
    pub price: f64,
    /// Number of shares.
    pub quantity: i64,
    /// Number of the trade, from 1.
    pub id: i64,
}

impl Trade {
    /// The bytes of a record.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a trade has only strings and numbers")
    }

    /// Reads the bytes of a record.
    ///
    /// # Errors
    /// The bytes are not the JSON of a trade.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl fmt::Display for Trade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticker_symbol, trade_type, price, quantity, id } = self;
        let trade_type = match trade_type {
            TradeType::Buy => "BUY",
            TradeType::Sell => "SELL",
        };
        write!(f, "ID {id}: {trade_type} {quantity} shares of {ticker_symbol} for ${price:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade() -> Trade {
        let ticker_symbol = "AMZN".to_owned();
        Trade { ticker_symbol, trade_type: TradeType::Sell, price: 370.5, quantity: 12, id: 7 }
    }

    #[test]
    fn json_has_the_tutorials_field_names() {
        let json = String::from_utf8(trade().to_json()).unwrap();

        assert_eq!(json, r#"{"tickerSymbol":"AMZN","tradeType":"SELL","price":370.5,"quantity":12,"id":7}"#);
        assert_eq!(Trade::from_json(json.as_bytes()).unwrap(), trade());
    }

    #[test]
    fn unknown_fields_are_ignored_and_other_bytes_are_no_trade() {
        let more = r#"{"tickerSymbol":"AMZN","tradeType":"SELL","price":370.5,"quantity":12,"id":7,"venue":"X"}"#;

        assert_eq!(Trade::from_json(more.as_bytes()).unwrap(), trade());
        assert!(Trade::from_json(b"AMZN").is_err());
    }

    #[test]
    fn text_shows_the_price_in_cents() {
        assert_eq!(trade().to_string(), "ID 7: SELL 12 shares of AMZN for $370.50");
    }
}
