//! Memory of a producer: the documented ceiling holds under a service that does not answer, nothing is kept
//! of what is resolved, and a record costs few allocations.

use std::{alloc::System, sync::Mutex, time::Duration};

use aws_types::SdkConfig;
use kpl::{
    HashKey, HashKeyRange, Kinesis, Producer, ProducerBuilder, PutError, UserRecord,
    kinesis::{BoxFuture, EntryResult, KinesisError, PutRecordsRequest, Shard, Stored, Stream},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One measurement at a time: the allocator counts for all threads.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Takes requests and keeps them, with or without an answer; keeps no copy.
struct Service {
    answers: bool,
    shards: u128,
}

impl Service {
    fn shard(&self, number: u128) -> Shard {
        let width = u128::MAX / self.shards;
        let end = if number + 1 == self.shards { u128::MAX } else { (number + 1) * width - 1 };
        let hash_key_range = HashKeyRange { start: HashKey(number * width), end: HashKey(end) };
        Shard::new(format!("shardId-{number:012}"), hash_key_range)
    }

    fn store(&self, key: HashKey) -> Stored {
        let number = (key.0 / (u128::MAX / self.shards)).min(self.shards - 1);
        Stored::new(self.shard(number).shard_id, "1".parse().expect("digits"))
    }
}

impl Kinesis for Service {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        Box::pin(async move {
            if !self.answers {
                std::future::pending::<()>().await;
            }
            Ok(request.entries.iter().map(|entry| Ok(self.store(entry.explicit_hash_key))).collect())
        })
    }

    fn list_shards(&self, _stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        Box::pin(async move { Ok((0..self.shards).map(|number| self.shard(number)).collect()) })
    }
}

fn builder(answers: bool) -> ProducerBuilder {
    let service = Service { answers, shards: 8 };
    Producer::builder(&SdkConfig::builder().build(), "StockTradeStream").kinesis(service)
}

/// Bytes allocated and not given back since `region` began.
fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

fn measured<F: Future<Output = T>, T>(test: impl FnOnce() -> F) -> T {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(test())
}

/// Puts until nothing more is accepted while the service does not answer; returns the bytes held at most, and the records.
async fn fill(builder: ProducerBuilder, record: impl Fn(usize) -> UserRecord) -> (usize, usize) {
    let producer = builder.record_ttl(None).request_timeout(Duration::from_secs(600)).build().expect("valid settings");
    let region = Region::new(ALLOCATOR);
    let (mut max, mut accepted, mut refused) = (0, 0, 0);
    let mut deliveries = Vec::new();
    while refused < 100 {
        match producer.try_put(record(accepted)) {
            Ok(delivery) => {
                deliveries.push(delivery);
                accepted += 1;
            }
            Err(PutError::BufferFull { .. }) => {
                refused += 1;
                sleep(Duration::from_millis(20)).await;
                max = max.max(held(&region));
            }
            Err(other) => panic!("{other}"),
        }
    }
    (max, accepted)
}

/// Figures that the documentation of `max_outstanding_bytes` states.
fn ceiling(bytes: usize, records: usize) -> usize {
    bytes + bytes / 4 + (5 << 20) + 160 * records + (2 << 20)
}

#[test]
fn small_records_stay_below_the_ceiling() {
    let (max, accepted) = measured(|| fill(builder(false), |n| UserRecord::new(format!("key-{n}"), vec![0; 100])));

    assert_eq!(accepted, 100_000, "max_outstanding_records");
    println!("100,000 records of 109 bytes: {} bytes each, all included", max / accepted);
    let bytes: usize = (0..accepted).map(|n| 100 + format!("key-{n}").len()).sum();
    assert!(max <= ceiling(bytes, accepted), "{max} bytes are held");
}

#[test]
fn large_records_stay_below_the_ceiling() {
    let (max, accepted) = measured(|| fill(builder(false), |n| UserRecord::new(format!("key-{n}"), vec![0; 500_000])));

    println!("{accepted} records of 500 kB: {max} bytes held");
    assert!(accepted > 130);
    assert!(max <= ceiling(64 << 20, accepted), "{max} bytes are held");
}

#[test]
fn records_that_are_all_ready_to_be_sent_stay_below_the_ceiling() {
    let builder = Producer::builder(&SdkConfig::builder().build(), "StockTradeStream")
        .kinesis(Service { answers: false, shards: 1024 });
    let (max, accepted) = measured(|| fill(builder, |n| UserRecord::new(format!("key-{n}"), vec![0; 1024])));

    println!("{accepted} records of 1 KiB for 1,024 shards: {max} bytes held");
    assert!(accepted > 60_000);
    assert!(max <= ceiling(64 << 20, accepted), "{max} bytes are held");
}

#[test]
fn nothing_is_kept_of_what_is_resolved() {
    measured(async || {
        let producer = builder(true).build().expect("valid settings");
        let round = async || {
            for n in 0..50_000 {
                drop(producer.put(UserRecord::new(format!("key-{n}"), vec![0; 100])).await.expect("accepted"));
            }
            producer.flush().await;
        };
        round().await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..5 {
            round().await;
        }

        let held = held(&region);
        assert!(held < 1 << 20, "{held} bytes are held after 250,000 records");
    });
}

#[test]
fn a_record_costs_few_allocations() {
    measured(async || {
        let producer = builder(true).build().expect("valid settings");
        let data = bytes::Bytes::from_static(&[0; 100]);
        let keys: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
        let round = async || {
            for n in 0..50_000 {
                let record = UserRecord::new(keys[n % 1000].as_str(), data.clone());
                drop(producer.put(record).await.expect("accepted"));
            }
            producer.flush().await;
        };
        round().await;
        let region = Region::new(ALLOCATOR);
        round().await;

        let each = region.change().allocations as f64 / 50_000.0;
        println!("{each:.2} allocations for each record");
        assert!(each < 4.0, "{each} allocations for each record");
    });
}

#[test]
fn a_put_that_is_refused_allocates_nothing_for_other_streams() {
    measured(async || {
        let producer = builder(false).max_outstanding_records(1).build().expect("valid settings");
        let streams: Vec<_> = (0..1000).map(|n| producer.to_stream(format!("stream-{n}")).expect("a name")).collect();
        drop(producer.try_put(UserRecord::new("k", "v")).expect("there is space"));
        let refused = |producer: &Producer| assert!(producer.try_put(UserRecord::new("k", "v")).is_err());

        let region = Region::new(ALLOCATOR);
        streams.iter().for_each(refused);

        let each = region.change().bytes_allocated / streams.len();
        assert!(each < 1000, "{each} bytes allocated for each record that is refused");
    });
}

#[test]
fn gives_over_2_kib_a_stream_back_when_an_idle_pipeline_ends() {
    measured(async || {
        const STREAMS: usize = 1000;
        let producer = builder(true).build().expect("valid settings");
        let streams: Vec<_> = (0..STREAMS).map(|n| producer.to_stream(format!("s{n}")).expect("a name")).collect();
        let region = Region::new(ALLOCATOR);
        for stream in &streams {
            stream.put(UserRecord::new("k", "v")).await.expect("accepted").await.expect("stored");
        }
        let running = held(&region) / STREAMS;

        sleep(Duration::from_secs(600)).await;

        let ended = held(&region) / STREAMS;
        println!("{running} bytes held for each stream with an idle pipeline, {ended} after its end");
        assert!(running > ended + 2048, "{running} and {ended} bytes");
    });
}
