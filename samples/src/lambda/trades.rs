//! The consumer's application: prints each stock trade, and gives a record up that is none.

use serde::Deserialize;

use super::consumer::{BoxError, FunctionRecord};

/// A trade, as the stock-trade samples put it. Other members are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trade {
    ticker_symbol: String,
    quantity: i64,
}

/// Processes a record. At the last of `max_attempts` it gives a record up: the others of its aggregate are processed then, which they
/// would not be if Lambda gave up, since that gives up the Kinesis record.
///
/// # Errors
/// If the record is no trade.
pub fn process(record: &FunctionRecord, max_attempts: u32) -> Result<(), BoxError> {
    match trade_of(record) {
        Ok(trade) => println!("processed {record} {} {}", trade.ticker_symbol, trade.quantity),
        // An application keeps it in a queue, a table or an object here.
        Err(error) if record.attempt >= max_attempts => println!("given up {record} {error}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn trade_of(record: &FunctionRecord) -> Result<Trade, BoxError> {
    match &record.damage {
        Some(damage) => Err(damage.clone().into()),
        None => Ok(serde_json::from_slice(&record.data)?),
    }
}
