//! The main job as a library function, under virtual time.

use std::{io::Write as _, path::PathBuf};

use examples::{
    metrics::Exporter,
    stock_trade_stream::{self, Options, console::Console, summary::Summary},
};
use kinesis_local::LocalAws;
use tokio_util::sync::CancellationToken;

#[path = "../examples/positions/crashes.rs"]
mod crashes;
#[path = "../examples/positions/ledger.rs"]
mod ledger;

fn options() -> Options {
    Options {
        trades: 20_000,
        shards: 2,
        workers: 2,
        reshard: true,
        seed: Some(1),
        aws: false,
        stream: "StockTradeStream".to_owned(),
        application: "StockTradesProcessor".to_owned(),
        replay: None,
        metrics: Exporter::None,
    }
}

async fn run(options: Options) -> anyhow::Result<Summary> {
    stock_trade_stream::run(&options, &Console::quiet(), CancellationToken::new()).await
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

#[tokio::test(start_paused = true)]
async fn loses_doubles_and_disorders_nothing_in_the_default_run() {
    let summary = run(options()).await.unwrap();

    assert!(summary.is_success());
    assert_eq!((summary.trades_put, summary.trades_processed), (20_000, 20_000));
    assert_eq!((summary.lost, summary.duplicates, summary.out_of_order), (0, 0, 0));
    assert_eq!(summary.shards, 4, "two shards, and the two children of the one that is split");
    assert!(summary.kinesis_records * 30 <= 20_000, "{} Kinesis records", summary.kinesis_records);
}

#[tokio::test(start_paused = true)]
async fn any_number_of_shards_and_workers_works() {
    for (shards, workers, reshard) in [(1, 1, false), (1, 3, true), (8, 2, true), (5, 4, true)] {
        let summary = run(Options { trades: 3_000, shards, workers, reshard, ..options() }).await.unwrap();

        let outcome = (summary.trades_processed, summary.lost, summary.duplicates, summary.out_of_order);
        assert_eq!(outcome, (3_000, 0, 0, 0), "{shards} shards, {workers} workers");
    }
}

#[tokio::test(start_paused = true)]
async fn replays_a_file_and_counts_rows_that_are_no_trades() {
    let file = file(
        "Ticker,Date,Open,High,Low,Close,Volume,Adj Close\n\
         AAPL,2000-03-01,1,1,1,2,10,1\n\
         AAPL,2000-03-02,2,1,1,1,20,1\n\
         ,2000-03-02,2,1,1,1,20,1\n\
         IBM,2000-03-02,2,1,1,two,20,1\n\
         IBM,2000-03-03,2,1,1,2,30,1\n",
    );

    let summary = run(Options { replay: Some(file.path().to_owned()), ..options() }).await.unwrap();

    assert_eq!((summary.trades_put, summary.trades_processed, summary.rejected_rows), (3, 3, 2));
    assert!(!summary.is_success(), "rows were rejected");
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    let expected = serde_json::json!({
        "AAPL": {"buys": 1, "sells": 1, "shares_bought": 10, "shares_sold": 20},
        "IBM": {"buys": 1, "sells": 0, "shares_bought": 30, "shares_sold": 0},
    });
    assert_eq!(json["by_symbol"], expected);
}

#[tokio::test(start_paused = true)]
async fn a_partition_key_that_kinesis_does_not_accept_is_a_rejected_row() {
    let long = "X".repeat(257);
    let file = file(&format!("Ticker,Open,Close,Volume\n{long},1,1,1\nIBM,1,1,1\n"));

    let summary = run(Options { replay: Some(file.path().to_owned()), ..options() }).await.unwrap();

    assert_eq!((summary.trades_processed, summary.rejected_rows, summary.lost), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_used_is_named() {
    let missing = run(Options { replay: Some(PathBuf::from("no-such-file.csv")), ..options() }).await.unwrap_err();
    assert_eq!(missing.to_string(), "cannot open no-such-file.csv");

    let folder = run(Options { replay: Some(std::env::temp_dir()), ..options() }).await.unwrap_err();
    assert!(folder.to_string().starts_with("cannot open"), "{folder}");
}

#[tokio::test(start_paused = true)]
async fn a_run_stopped_early_still_processes_what_was_put() {
    let stop = CancellationToken::new();
    stop.cancel();

    let summary = stock_trade_stream::run(&options(), &Console::quiet(), stop).await.unwrap();

    assert_eq!((summary.trades_put, summary.lost), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn positions_are_as_counted_independently_although_workers_crash() {
    let (positions, expected) = crashes::run(&LocalAws::start().await).await.unwrap();

    assert_eq!(positions, expected);
}
