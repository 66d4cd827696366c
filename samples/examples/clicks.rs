//! Keywords of a click stream in windows, on an AWS embedded in this process: `cargo run -p samples --example clicks
//! -- FILE.svg`.

use kinesis_local::LocalAws;
use samples::clicks;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (windows, expected) = clicks::run(&LocalAws::start().await).await.map_err(anyhow::Error::from_boxed)?;
    for (window, counts) in &windows.0 {
        println!(
            "window {window:2}: {}",
            counts.iter().map(|(word, count)| format!("{word} {count}  ")).collect::<String>()
        );
    }
    anyhow::ensure!(windows == expected, "the independent count is {expected:?}");
    println!("All as counted independently.");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, windows.picture())?;
    }
    Ok(())
}
