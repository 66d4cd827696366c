//! A consumer on an AWS embedded in this process: `cargo run -p kinesis-kcl --example consume`.
//!
//! On the real one, `aws` is what `aws_config::load_defaults(BehaviorVersion::latest()).await` returns.

use aws_sdk_kinesis::{Client, primitives::Blob};
use kcl::{BoxError, CheckpointEvery, InitialPosition, Worker};
use kinesis_local::LocalAws;
use tokio::sync::mpsc;

const STREAM: &str = "StockTradeStream";
const TRADES: usize = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let aws = LocalAws::start().await.sdk_config();
    let kinesis = Client::new(&aws);
    kinesis.create_stream().stream_name(STREAM).shard_count(2).send().await?;
    for number in 0..TRADES {
        let trade = Blob::new(format!("trade {number}"));
        let ticker = ["AMZN", "MSFT", "ORCL"][number % 3];
        kinesis.put_record().stream_name(STREAM).partition_key(ticker).data(trade).send().await?;
    }

    let (processed, mut count) = mpsc::channel(TRADES);
    let worker = Worker::builder(&aws, "StockTradesProcessor", STREAM)
        .initial_position(InitialPosition::TrimHorizon)
        .build_for_each(CheckpointEvery::default(), 1, move |record| {
        println!("{}: {}", record.partition_key, String::from_utf8_lossy(&record.data));
        let processed = processed.clone();
        async move { processed.send(()).await }
    })?;
    let last = async {
        for _ in 0..TRADES {
            count.recv().await;
        }
    };
    // Ends after the last trade: writes the checkpoints and releases the leases.
    Ok(worker.run_until(last).await?)
}
