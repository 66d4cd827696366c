//! A service with probes, for Kubernetes or a load balancer: `cargo run -p examples --example probes`.
//!
//! Puts a trade a second and processes it, on an AWS embedded in this process, and answers on http://127.0.0.1:8080:
//! `/livez`, `/readyz` and `/metrics`. Another address is the first argument; Ctrl-C stops it in good order.

use std::{env, time::Duration};

use anyhow::Context as _;
use kcl::{BoxError, CheckpointEvery, InitialPosition, Worker};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{net::TcpListener, signal::ctrl_c, time::interval};

mod routes;

const STREAM: &str = "StockTradeStream";
/// Pause between two compactions of the exporter's histograms.
const UPKEEP: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let local = LocalAws::start().await;
    local.create_stream(STREAM, 2)?;
    let aws = local.sdk_config();

    let producer = Producer::builder(&aws, STREAM).metrics(kpl::Metrics::new().prefixed()).build()?;
    let worker = Worker::builder(&aws, "StockTradesProcessor", STREAM)
        .initial_position(InitialPosition::TrimHorizon)
        .metrics(kcl::Metrics::new().prefixed())
        .build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) })?
        .start();
    let trades = tokio::spawn(put_trades(producer.clone()));
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut due = interval(UPKEEP);
        loop {
            due.tick().await;
            upkeep.run_upkeep();
        }
    });

    let listener = TcpListener::bind(&address).await.with_context(|| format!("{address} cannot be listened on"))?;
    println!("http://{}/livez, /readyz and /metrics; Ctrl-C stops", listener.local_addr()?);
    let routes = routes::routes(producer.clone(), worker.clone(), metrics);
    let stop = async { ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;

    trades.abort();
    producer.shutdown().await;
    worker.stop().await?;
    Ok(())
}

async fn put_trades(producer: Producer) -> anyhow::Result<()> {
    let mut due = interval(Duration::from_secs(1));
    for number in 0.. {
        due.tick().await;
        let delivery = producer.put(UserRecord::new("AMZN", format!("trade {number}"))).await?;
        drop(delivery); // what fails is in the metrics and in the producer's health
    }
    Ok(())
}
