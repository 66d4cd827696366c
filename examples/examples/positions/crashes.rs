//! Trades that are put and processed while workers crash again and again.

use std::time::Duration;

use examples::{generator::Generator, trade::Trade};
use kcl::{InitialPosition, ShardContext, Worker, WorkerBuilder};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use tokio::time::sleep;

use crate::ledger::{self, Ledger, Positions};

const STREAM: &str = "StockTradeStream";
const TRADES: usize = 2_000;
const CRASHES: usize = 3;

/// Puts trades and processes them by workers that crash. Returns positions by the ledger, and by an independent count.
pub(crate) async fn run(local: &LocalAws) -> anyhow::Result<(Positions, Positions)> {
    local.create_stream(STREAM, 2)?;
    let aws = local.sdk_config();
    let client = aws_sdk_dynamodb::Client::new(&aws);
    ledger::create_table(&client).await?;
    let trades: Vec<Trade> = Generator::new(1).take(TRADES).collect();
    let expected = ledger::positions(trades.iter().cloned());
    // Short leases: those of a worker that crashed are taken over soon.
    let worker = |id: usize| {
        Worker::builder(&aws, "StockTradesProcessor", STREAM)
            .worker_id(format!("worker-{id}"))
            .lease_duration(Duration::from_secs(2))
            .initial_position(InitialPosition::TrimHorizon)
    };

    let producer = Producer::builder(&aws, STREAM).build()?;
    for (crash, trades) in trades.chunks(TRADES / (CRASHES + 1)).enumerate() {
        let running = start(worker(crash))?;
        for trade in trades {
            drop(producer.put(UserRecord::new(&*trade.ticker_symbol, trade.to_json())).await?); // the flush waits for it
        }
        producer.flush().await;
        sleep(Duration::from_millis(2_500)).await;
        running.abort(); // no last checkpoint, no release
    }
    producer.shutdown().await;

    let last = start(worker(CRASHES + 1))?;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        if ledger::read(&client).await? == expected {
            break;
        }
    }
    // What was counted twice would come now.
    sleep(Duration::from_secs(1)).await;
    last.abort();
    Ok((ledger::read(&client).await?, expected))
}

fn start(worker: WorkerBuilder) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let worker = worker.build(|_: &ShardContext| Ledger)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = worker.run().await {
            eprintln!("worker ended: {error}");
        }
    }))
}
