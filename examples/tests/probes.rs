//! The probes of the sample of that name and of the stock consumer, asked over HTTP.

use std::time::Duration;

use examples::{probes, stock_consumer};
use kcl::{BoxError, CheckpointEvery, Worker, WorkerSettings};
use kinesis_local::LocalAws;
use kpl::{Producer, UserRecord};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

#[path = "../examples/probes/routes.rs"]
mod routes;

/// Status and body of an answer.
async fn get(address: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("it has a status"), body.to_owned())
}

/// Waits for this status, and returns the health.
async fn until(address: &str, path: &str, status: u16) -> Value {
    let answered = async {
        loop {
            let (answered, body) = get(address, path).await;
            if answered == status {
                return serde_json::from_str(&body).expect("it is JSON");
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), answered).await.expect("it comes within half a minute")
}

#[tokio::test]
async fn probes_follow_a_worker_from_its_start_to_its_end() {
    let metrics = PrometheusBuilder::new().install_recorder().expect("it is the first");
    let local = LocalAws::start().await;
    local.create_stream("StockTradeStream", 1).expect("it is new");
    let aws = local.sdk_config();
    let producer = Producer::builder(&aws, "StockTradeStream").build().expect("settings are right");
    let worker = Worker::builder(&aws, "StockTradesProcessor", "StockTradeStream")
        .build_for_each(CheckpointEvery::default(), 1, |_| async { Ok::<(), BoxError>(()) })
        .expect("settings are right")
        .start();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let routes = routes::routes(producer.clone(), worker.clone(), metrics);
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let health = until(&address, "/readyz", 200).await;
    assert_eq!(health["worker"]["problems"], Value::Array(Vec::new()));
    assert_eq!(get(&address, "/livez").await.0, 200);
    producer.put(UserRecord::new("AMZN", "trade")).await.expect("accepted").await.expect("stored");
    let (status, text) = get(&address, "/metrics").await;
    assert!(status == 200 && text.contains("UserRecordsPut"), "{text}");

    producer.shutdown().await;
    let health = until(&address, "/readyz", 503).await;
    assert_eq!(health["producer"]["problems"][0]["problem"], "shut_down");
    assert_eq!(get(&address, "/livez").await.0, 200, "a stop in good order is no reason to kill it");
    worker.stop().await.expect("worker stops");
    let health = until(&address, "/livez", 503).await;
    assert_eq!(health["worker"]["problems"][0]["problem"], "ended");
}

/// Asks as the program in an image does.
async fn ask(url: &str) -> anyhow::Result<()> {
    let url = url.to_owned();
    tokio::task::spawn_blocking(move || probes::ask(&url)).await.expect("it does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_consumer_is_healthy_from_its_start_to_its_end() {
    let local = LocalAws::start().await;
    local.create_stream("StockTradeStream", 1).expect("it is new");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = free.expect("a port is free").to_string();
    let options = stock_consumer::Options {
        application: "StockTradesProcessor".to_owned(),
        stream: "StockTradeStream".to_owned(),
        settings: WorkerSettings::default(),
        prefixed_metrics: false,
        probes: Some(address.clone()),
    };
    let (aws, stop) = (local.sdk_config(), CancellationToken::new());
    let stopped = stop.clone().cancelled_owned();
    let consumer = tokio::spawn(async move { stock_consumer::run(&aws, options, stopped).await });

    let live = format!("http://{address}/livez");
    let is_live = async {
        while ask(&live).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), is_live).await.expect("it is live within half a minute");
    let health = until(&address, "/readyz", 200).await;
    assert_eq!(health["problems"], Value::Array(Vec::new()));
    assert!(ask(&format!("http://{address}/")).await.is_err_and(|error| error.to_string().contains("answers 404")));

    stop.cancel();
    consumer.await.expect("it does not panic").expect("it ends in good order");
    assert!(ask(&live).await.is_err_and(|error| error.to_string().contains("does not answer")));
}
