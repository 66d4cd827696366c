//! Monitoring of a shop, on an AWS embedded in this process: `cargo run -p samples --example shop -- FILE.svg`.

use kinesis_local::LocalAws;
use samples::shop;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let report = |alert: &shop::Alert| {
        let shop::Alert { window, declined, expected_at_most } = alert;
        println!("ALERT: {declined} payments declined in window {window}, expected are at most {expected_at_most:.1}");
    };
    let ran = shop::run(&LocalAws::start().await, report).await;
    let (tally, expected) = ran.map_err(anyhow::Error::from_boxed)?;
    let (is_right, picture) = tally.look(|shop| {
        for (window, counts) in &shop.windows {
            println!("window {window:2}: {:3} orders, {:3} payments declined", counts.ordered, counts.declined);
        }
        (shop.windows == expected, shop.picture())
    });
    anyhow::ensure!(is_right, "the independent count is {expected:?}");
    println!("All as counted independently.");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, picture)?;
    }
    Ok(())
}
