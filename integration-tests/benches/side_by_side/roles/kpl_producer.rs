//! `kpl` under measurement, with default settings.

use integration_tests::bench::window::Window;
use kpl::{Aggregation, Delivery, Producer, UserRecord};

use super::{Produce, dismissed};
use crate::work::{KEYS, STREAM, keys, record};

pub(super) async fn run(produce: &Produce) -> anyhow::Result<()> {
    let (config, _) = produce.services.configs()?;
    let work = produce.work();
    let aggregation = if work.aggregated { Aggregation::default() } else { Aggregation::Off };
    let producer = Producer::builder(&config, STREAM).aggregation(aggregation).build()?;
    let keys = keys();
    let mut window = Window::default();
    for number in 0..work.records {
        let user_record = UserRecord::new(keys[number % KEYS].as_str(), record(number, work.bytes));
        let delivery = producer.put(user_record).await?;
        if number == 0 {
            tokio::spawn(first(delivery));
            continue;
        }
        window.add(delivery).await?;
    }
    window.settle(&producer).await?;
    println!("done {}", work.records);
    dismissed().await
}

/// Tells when the first record is stored. Without it, the run has failed.
async fn first(delivery: Delivery) {
    match delivery.await {
        Ok(_) => println!("first"),
        Err(error) => eprintln!("{error}"),
    }
}
