//! Effects exactly once, over an AWS embedded in this process: `cargo run -p examples --example positions`.
//!
//! Adds 2,000 trades to the positions of their symbols in DynamoDB, each exactly once although four workers crash, and
//! compares with an independent count. `docs/exactly-once.md` says why that holds.

use kinesis_local::LocalAws;

mod crashes;
mod ledger;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (positions, expected) = crashes::run(&LocalAws::start().await).await?;
    for (symbol, shares) in &positions {
        println!("{symbol:6} {shares:>10}");
    }
    anyhow::ensure!(positions == expected, "the independent count is {expected:?}");
    println!("All as counted independently.");
    Ok(())
}
