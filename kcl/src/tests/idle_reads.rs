//! Reads of shards that are empty, by a whole worker.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::simulation::{Idle, QuietStream};
use crate::{model::Polling, processor::ShardContext, table::memory::MemoryLeaseTable, worker::Worker};

const SECOND: Duration = Duration::from_secs(1);

/// Reads of each shard within `measured`, once the worker had a minute to come to rest.
async fn reads(shards: u32, polling: Polling, measured: Duration) -> Vec<Vec<Instant>> {
    let (stream, stop) = (Arc::new(QuietStream::noting(shards)), CancellationToken::new());
    let builder = Worker::builder(&super::without_services(), "application", "stream").worker_id("w1");
    let (settings, events, catalog) = builder.retrieval(polling).into_parts_on(stream.clone());
    let worker = Worker::new(settings, events, catalog, MemoryLeaseTable::default().into(), |_: &ShardContext| Idle);
    let running = tokio::spawn(worker.run_until(stop.clone().cancelled_owned()));
    sleep(60 * SECOND).await;
    stream.take_reads();
    sleep(measured).await;
    let reads = stream.take_reads();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(reads.len(), shards as usize);
    reads
}

fn gaps(reads: &[Vec<Instant>]) -> impl Iterator<Item = Duration> {
    reads.iter().flat_map(|reads| reads.windows(2).map(|pair| pair[1] - pair[0]))
}

/// Timers have ticks of a millisecond.
fn is_about(gap: Duration, expected: Duration) -> bool {
    gap.abs_diff(expected) <= Duration::from_millis(3)
}

#[tokio::test(start_paused = true)]
async fn many_shards_are_read_in_step_and_each_once_a_second() {
    let reads = reads(100, Polling::new(), 10 * SECOND).await;

    assert!(gaps(&reads).all(|gap| is_about(gap, SECOND)));
    let mut moments = BTreeMap::<Instant, usize>::new();
    reads.iter().flatten().for_each(|read| *moments.entry(*read).or_default() += 1);
    let most = moments.values().max().copied().unwrap_or_default();
    // Shards that start in one moment have no use for the ticks within 200 ms of it.
    assert!((80..=110).contains(&moments.len()) && (9..=15).contains(&most), "{} moments, {most}", moments.len());
}

#[tokio::test(start_paused = true)]
async fn the_pause_of_empty_shards_grows_where_it_may() {
    for shards in [1, 100] {
        let polling = Polling::new().max_idle_between_reads(8 * SECOND);

        let reads = reads(shards, polling, 60 * SECOND).await;

        let gaps: Vec<Duration> = gaps(&reads).collect();
        // A tick may be up to a second earlier.
        assert!(gaps.iter().all(|gap| *gap > 6 * SECOND && *gap < 9 * SECOND), "{shards} shards: {gaps:?}");
    }
}
