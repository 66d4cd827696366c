//! A shard into which more than an aggregate a round trip is put: several are under way, and each key keeps its order.

use std::{num::NonZero, time::Duration};

use integration_tests::{STREAM, World, user_record};
use kpl::{Aggregation, Producer};
use tokio::time::{Instant, sleep};

const RECORDS: u64 = 40_000;

#[tokio::test(start_paused = true)]
async fn stripes_keep_each_keys_order_over_splits_and_merges_and_save_round_trips() {
    let world = World::start(2).await;
    world.local.faults().on("kinesis:PutRecords").delay(Duration::from_millis(20));
    let worker = world.run("w1");
    let producer = Producer::builder(&world.aws, STREAM)
        .aggregation(Aggregation::default().with_max_records(50))
        .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
        .build()
        .expect("settings are right");
    let begun = Instant::now();

    // Four aggregates of each shard in a round trip.
    let putting = async {
        let mut deliveries = Vec::new();
        for id in 0..RECORDS {
            deliveries.push(producer.put(user_record(id)).await.expect("record is fine"));
            if id % 100 == 99 {
                sleep(Duration::from_millis(5)).await;
            }
        }
        producer.flush().await;
        deliveries
    };
    let (deliveries, ()) = tokio::join!(putting, async {
        sleep(Duration::from_millis(800)).await;
        world.split(&world.open_shards().await[0]).await;
        sleep(Duration::from_millis(500)).await;
        world.merge_neighbours().await;
    });
    let took = begun.elapsed();
    for delivery in deliveries {
        delivery.await.expect("stored");
    }

    // 400 aggregates of a shard, one after the other, take 8 s.
    assert!(took < Duration::from_secs(5), "{took:?}");
    world.journal.processed(usize::try_from(RECORDS).expect("not that many")).await;
    world.settled().await;
    assert_eq!(world.journal.ids().len() as u64, RECORDS, "no duplicates");
    assert!(world.journal.keys_out_of_order().is_empty(), "{:?}", world.journal.keys_out_of_order());
    worker.stop().await.expect("worker stops");
}
