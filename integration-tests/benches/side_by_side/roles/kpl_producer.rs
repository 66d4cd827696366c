//! `kpl` under measurement, with default settings.

use std::collections::VecDeque;

use kpl::{Aggregation, Delivery, Producer, UserRecord};

use super::{Produce, dismissed};
use crate::work::{KEYS, STREAM, WINDOW, keys, record};

pub(super) async fn run(produce: &Produce) -> anyhow::Result<()> {
    let (config, _) = produce.services.configs()?;
    let work = produce.work();
    let aggregation = if work.aggregated { Aggregation::default() } else { Aggregation::Off };
    let producer = Producer::builder(&config, STREAM).aggregation(aggregation).build()?;
    let keys = keys();
    let mut deliveries = VecDeque::with_capacity(WINDOW);
    for number in 0..work.records {
        let user_record = UserRecord::new(keys[number % KEYS].as_str(), record(number, work.bytes));
        let delivery = producer.put(user_record).await?;
        if number == 0 {
            tokio::spawn(first(delivery));
            continue;
        }
        deliveries.push_back(delivery);
        if deliveries.len() == WINDOW {
            for delivery in deliveries.drain(..WINDOW / 2) {
                delivery.await?;
            }
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await?;
    }
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
