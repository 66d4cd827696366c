//! The producer on a slow link: filled, not flooded.

use std::time::Duration;

use integration_tests::{STREAM, World};
use kinesis_local::Link;
use kpl::{Aggregation, Producer, ProducerBuilder, UserRecord};
use tokio::time::Instant;

/// A producer at the other end of the link.
fn behind(world: &World, link: &Link) -> ProducerBuilder {
    Producer::builder(&world.local.sdk_config_over(link), STREAM)
}

/// Puts `count` records of `bytes` at once; checks that they are stored, and that little was sent in vain. Returns how long it
/// took.
async fn assert_filled(producer: &Producer, link: &Link, count: usize, bytes: usize) -> f64 {
    let (sent, begun) = (link.bytes_sent(), Instant::now());

    let records = (0..count).map(|n| UserRecord::new(format!("key-{n}"), vec![7; bytes]));
    let failed: Vec<_> = producer.put_all(records).await.into_iter().filter_map(Result::err).collect();

    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    let (sent, needed) = ((link.bytes_sent() - sent) as f64, (count * bytes) as f64 * 4.0 / 3.0);
    assert!(sent <= 1.3 * needed, "{sent} bytes sent, {needed} of data in base64");
    begun.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_filled_and_everything_is_stored_in_time() {
    for (bytes_per_second, count) in [(60_000, 2_600), (100_000, 4_285)] {
        for shards in [1, 16] {
            let world = World::start(shards).await;
            let link = Link::new(bytes_per_second);
            let producer =
                behind(&world, &link).record_ttl(Duration::from_secs(60)).build().expect("settings are right");

            let took = assert_filled(&producer, &link, count, 500).await;
            assert!((28.0..36.0).contains(&took), "{took} s for 29 s of the link");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_filled_without_aggregation_and_by_default_settings() {
    let world = World::start(1).await;
    let link = Link::new(60_000);
    let producer = behind(&world, &link).aggregation(Aggregation::Off).build().expect("settings are right");

    let took = assert_filled(&producer, &link, 65, 10_000).await;
    assert!(took < 20.0, "{took} s for 15 s of the link");
}

#[tokio::test(start_paused = true)]
async fn a_link_that_becomes_slow_is_not_flooded_for_long() {
    let world = World::start(16).await;
    let link = Link::new(20_000_000);
    let producer = behind(&world, &link).record_ttl(Duration::from_secs(300)).build().expect("settings are right");
    let took = assert_filled(&producer, &link, 12_000, 500).await;
    assert!(took < 3.0, "{took} s");

    link.limit(100_000);
    let took = assert_filled(&producer, &link, 8_500, 500).await;
    assert!(took < 75.0, "{took} s for 57 s of the link");

    link.limit(20_000_000);
    assert_filled(&producer, &link, 1_000, 500).await;
}
