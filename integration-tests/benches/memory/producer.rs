//! A producer at the default limit of its buffer, 64 MiB, when the service does not answer.

use std::{num::NonZero, time::Duration};

use integration_tests::bench::{canned::Canned, report, resident_bytes, size};
use kpl::{Producer, PutError, UserRecord};

const LIMIT: usize = 64 << 20;
/// Bytes of a record, and shards.
pub(super) const CASES: [(usize, usize); 5] = [(100, 16), (1024, 1), (1024, 16), (1024, 1024), (10 * 1024, 16)];

/// Puts until nothing more is accepted, and again for as long as records still move on.
async fn fill(producer: &Producer, bytes: usize) {
    let (mut accepted, mut refused) = (0_usize, 0);
    while refused < 50 {
        // Data of its own for each record, as a service has it.
        match producer.try_put(UserRecord::new(format!("key-{accepted}"), vec![b'x'; bytes])) {
            Ok(delivery) => {
                drop(delivery);
                accepted += 1;
                if accepted.is_multiple_of(100) {
                    tokio::task::yield_now().await;
                }
            }
            Err(PutError::BufferFull { .. }) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

pub(super) fn measure(bytes: usize, shards: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let canned = Canned::new(shards as u128).stalled();
        let producer = Producer::builder(&canned.config(), "StockTradeStream")
            .rate_limit_percent(const { NonZero::new(1_000_000).expect("not zero") })
            .record_ttl(None)
            .request_timeout(Duration::from_secs(600))
            .build()
            .expect("valid settings");
        let before = resident_bytes();
        fill(&producer, bytes).await;
        let (taken, buffered) = (resident_bytes() - before, producer.outstanding_bytes());
        let what = format!("producer, service stalled, {}, {shards} shards", size(bytes));
        report(&format!("{what}: buffered, of the limit"), buffered as f64 / LIMIT as f64, "ratio");
        report(&format!("{what}: resident, over the limit"), taken as f64 / LIMIT as f64, "ratio");
        report(&format!("{what}: resident, over what is buffered"), taken as f64 / buffered as f64, "ratio");
        std::process::exit(0); // records are left on purpose
    });
}
