//! A stream with a past: records over time, a split, a merge, and times in between.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::{Journal, STREAM, World};

/// The service's present time, by a record put for the purpose, whose number is `id`.
pub async fn now(world: &World, id: u64) -> SystemTime {
    let put = world.kinesis.put_record().stream_name(STREAM).partition_key("clock");
    let data = aws_sdk_kinesis::primitives::Blob::new(id.to_string());
    let stored = put.data(data).send().await.expect("put succeeds");
    let read = world.kinesis.get_shard_iterator().stream_name(STREAM).shard_id(stored.shard_id());
    let read = read.shard_iterator_type("AT_SEQUENCE_NUMBER".into());
    let at = read.starting_sequence_number(stored.sequence_number()).send().await.expect("record is there");
    let got = world.kinesis.get_records().shard_iterator(at.shard_iterator().expect("answer is whole"));
    let got = got.limit(1).send().await.expect("record is there");
    let arrival = got.records()[0].approximate_arrival_timestamp().expect("record has a time");
    SystemTime::try_from(*arrival).expect("time can be told")
}

/// Puts 400 records, ten each 5 s, with a split among the second hundred and a merge among the third. Returns the times
/// at which the records 100, 200, 300 were about to be put.
pub async fn history(world: &World) -> [SystemTime; 3] {
    let mut times = Vec::new();
    for round in 0..40_u64 {
        if round % 10 == 0 && round > 0 {
            sleep(Duration::from_secs(10)).await;
            times.push(now(world, 1_000_000).await);
        }
        match round {
            15 => {
                let open = world.open_shards().await;
                world.split(&open[0]).await;
            }
            25 => world.merge_neighbours().await,
            _ => {}
        }
        world.put(round * 10..round * 10 + 10).await;
        sleep(Duration::from_secs(5)).await;
    }
    times.try_into().expect("three times were noted")
}

/// Numbers of records but for those that told the time.
pub fn numbers(journal: &Journal) -> Vec<u64> {
    journal.ids().into_iter().filter(|id| *id < 1_000_000).collect()
}
