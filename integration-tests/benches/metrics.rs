//! Cost of recording metrics to a producer: CPU time a record of 100 B, with the recorder that publishes to CloudWatch, and
//! without any, against metrics that are off. `cargo bench -p integration-tests --bench metrics`.

use std::num::NonZero;

use bytes::Bytes;
use integration_tests::bench::{argument, canned::Canned, compare, report};
use kinesis_cloudwatch::Recorder;
use kpl::{Metrics, MetricsGranularity, Producer, UserRecord};

const ROUNDS: usize = 7;
const SHARDS: u128 = 16;

/// Puts records through a producer of its own, and waits until all are stored.
async fn put(canned: &Canned, metrics: Metrics, records: usize) {
    let producer = Producer::builder(&canned.config(), "StockTradeStream")
        .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
        .metrics(metrics)
        .build()
        .expect("valid settings");
    let (keys, data): (Vec<String>, _) =
        ((0..10_000).map(|n| format!("key-{n}")).collect(), Bytes::from(vec![b'x'; 100]));
    for n in 0..records {
        drop(producer.put(UserRecord::new(keys[n % keys.len()].as_str(), data.clone())).await.expect("accepted"));
    }
    producer.shutdown().await;
}

async fn compare_with(name: &str, recorder: Option<&Recorder>, records: usize) {
    let canned = Canned::new(SHARDS);
    let recorded = async || {
        let _guard = recorder.map(|recorder| metrics::set_default_local_recorder(recorder));
        put(&canned, Metrics::new().granularity(MetricsGranularity::Shard), records).await;
    };
    let off = async || put(&canned, Metrics::new().granularity(MetricsGranularity::Off), records).await;
    let (ours, floor) = compare(ROUNDS, records, recorded, off).await;
    report(&format!("{name}, CPU a record"), ours, "ns");
    report(&format!("{name}, more than without metrics"), (ours / floor - 1.0) * 100.0, "%");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let records = argument(1_000_000);
    let local = kinesis_local::LocalAws::start().await;
    let built = kinesis_cloudwatch::builder(&local.sdk_config()).build();
    let (recorder, publisher) = built.expect("valid settings");
    compare_with("no recorder", None, records).await;
    compare_with("recorder for CloudWatch, by shard", Some(&recorder), records).await;
    publisher.shutdown().await;
}
