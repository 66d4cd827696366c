//! The consumer's application: prints each stock trade, and keeps a record that is none as a dead letter.

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use kcl::DeadLetter;
use serde::Deserialize;
use serde_json::json;

use super::{
    clock,
    consumer::{BoxError, FunctionRecord},
};
use crate::letters::ObjectLetters;

/// A trade, as the stock-trade samples put it. Other members are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trade {
    ticker_symbol: String,
    quantity: i64,
}

/// The application, which gives no record up unless it keeps it.
#[derive(Debug, Default)]
pub struct Trades {
    give_up: Option<GiveUp>,
}

/// Settings for records that are given up.
#[derive(Debug)]
struct GiveUp {
    max_attempts: u32,
    application: String,
    letters: ObjectLetters,
}

impl Trades {
    /// Application that gives no record up: one that is no trade fails until Lambda gives up its Kinesis record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a record up at the last of `max_attempts`, by keeping it as a letter of `application`: the others of its aggregate are
    /// processed then, which they would not be if Lambda gave up, since that gives up the Kinesis record. Attempts are counted if
    /// the consumer has a table for progress.
    #[must_use = "the application is returned with the letters set"]
    pub fn giving_up_after(self, max_attempts: u32, application: impl Into<String>, letters: ObjectLetters) -> Self {
        Self { give_up: Some(GiveUp { max_attempts, application: application.into(), letters }) }
    }

    /// Processes a record.
    ///
    /// # Errors
    /// If the record is no trade, and is not kept as a letter.
    ///
    /// # Cancellation
    /// Dropping the future may leave a letter kept, which the next attempt keeps again in its place.
    pub async fn process(&self, record: &FunctionRecord) -> Result<(), BoxError> {
        let error = match trade_of(record) {
            Ok(trade) => {
                println!("processed {record} {} {}", trade.ticker_symbol, trade.quantity);
                return Ok(());
            }
            Err(error) => error,
        };
        let Some(give_up) = self.give_up.as_ref().filter(|give_up| record.attempt >= give_up.max_attempts) else {
            return Err(error);
        };
        // First, so that no record counts as done that is not kept.
        give_up.letters.put(&letter(&give_up.application, record, &error)?).await?;
        println!("given up {record} {error}");
        Ok(())
    }
}

fn trade_of(record: &FunctionRecord) -> Result<Trade, BoxError> {
    match &record.damage {
        Some(damage) => Err(damage.clone().into()),
        None => Ok(serde_json::from_slice(&record.data)?),
    }
}

fn letter(application: &str, record: &FunctionRecord, error: &BoxError) -> Result<DeadLetter, BoxError> {
    let text = std::str::from_utf8(&record.data).ok();
    let data = text.is_none().then(|| base64_simd::STANDARD.encode_to_string(&record.data));
    let failed_at = DateTime::from(clock::now()).fmt(DateTimeFormat::DateTime)?;
    let explicit_hash_key = record.explicit_hash_key.map(|key| key.to_string());
    let letter = json!({
        "application": application,
        "stream": record.stream(),
        "shardId": record.shard_id.to_string(),
        "sequenceNumber": record.sequence_number.to_string(),
        "subSequenceNumber": record.sub_sequence_number,
        "partitionKey": record.partition_key.to_string(),
        "explicitHashKey": explicit_hash_key,
        "failedAt": failed_at,
        "attempts": record.attempt,
        "error": error.to_string(),
        "dataBytes": record.data.len(),
        "text": text,
        "data": data,
    });
    Ok(serde_json::from_value(letter)?)
}
