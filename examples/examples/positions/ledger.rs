//! Positions in DynamoDB: shares bought less shares sold, by symbol, in one transaction with the checkpoint.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TransactWriteItem, Update,
    },
};
use examples::trade::{Trade, TradeType};
use kcl::{BoxError, Checkpointer, RecordBatch, RecordProcessor};

const TABLE: &str = "Positions";

/// Shares by symbol.
pub(crate) type Positions = BTreeMap<String, i64>;

/// Positions after these trades.
pub(crate) fn positions(trades: impl IntoIterator<Item = Trade>) -> Positions {
    let mut positions = Positions::new();
    for trade in trades {
        *positions.entry(trade.ticker_symbol).or_default() += match trade.trade_type {
            TradeType::Buy => trade.quantity,
            TradeType::Sell => -trade.quantity,
        };
    }
    positions
}

/// Adds each trade to the position of its symbol exactly once.
pub(crate) struct Ledger;

impl RecordProcessor for Ledger {
    type Error = BoxError;

    async fn process_records(&mut self, batch: RecordBatch, checkpointer: &Checkpointer) -> Result<(), BoxError> {
        let trades = batch.records.iter().map(|record| Trade::from_json(&record.data));
        // 25 symbols at most: below the 99 items of a transaction.
        let changes = positions(trades.collect::<Result<Vec<_>, _>>()?);
        let items = changes.into_iter().map(|(symbol, change)| add(&symbol, change)).collect::<Result<_, _>>()?;
        Ok(checkpointer.checkpoint_with(items).await?)
    }
}

fn add(symbol: &str, change: i64) -> Result<TransactWriteItem, BoxError> {
    let update = Update::builder()
        .table_name(TABLE)
        .key("symbol", AttributeValue::S(symbol.to_owned()))
        .update_expression("ADD shares :change")
        .expression_attribute_values(":change", AttributeValue::N(change.to_string()))
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}

/// Creates the table of the positions.
pub(crate) async fn create_table(client: &Client) -> anyhow::Result<()> {
    let symbol = AttributeDefinition::builder().attribute_name("symbol").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("symbol").key_type(KeyType::Hash);
    let create = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    create.attribute_definitions(symbol.build()?).key_schema(key.build()?).send().await?;
    Ok(())
}

/// Reads all positions.
pub(crate) async fn read(client: &Client) -> anyhow::Result<Positions> {
    let scan = client.scan().table_name(TABLE).consistent_read(true).send().await?;
    let position = |item: &std::collections::HashMap<String, AttributeValue>| {
        let shares = item.get("shares")?.as_n().ok()?.parse().ok()?;
        Some((item.get("symbol")?.as_s().ok()?.clone(), shares))
    };
    Ok(scan.items().iter().filter_map(position).collect())
}
