//! A producer on an AWS embedded in this process: `cargo run -p kinesis-kpl --example produce`.
//!
//! On the real one, `aws` is what `aws_config::load_defaults(BehaviorVersion::latest()).await` returns.

use std::{collections::BTreeMap, error::Error};

use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};

const STREAM: &str = "StockTradeStream";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let aws = LocalAws::start().await.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    kinesis.create_stream().stream_name(STREAM).shard_count(2).send().await?;

    let producer = Producer::builder(&aws, STREAM).build()?;
    let mut deliveries = Vec::new();
    for number in 0..1_000 {
        let ticker = ["AMZN", "MSFT", "ORCL"][number % 3];
        // Waits while the buffer is full.
        deliveries.push(producer.put(UserRecord::new(ticker, format!("trade {number}"))).await?);
    }
    producer.flush().await;

    let mut stored = BTreeMap::new();
    for delivery in deliveries {
        *stored.entry(delivery.await?.shard_id().to_string()).or_insert(0) += 1;
    }
    println!("user records stored in each shard: {stored:?}");
    producer.shutdown().await;
    Ok(())
}
