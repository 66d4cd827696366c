//! Click stream: keywords of searches, counted in windows of ten seconds by the time of the click.
//!
//! Guarantees: each click counts once, in the window of its own time, whichever shard it comes from and however late
//! it is read, also when workers crash; while the process lives, since the counts are in its memory. A click that a
//! producer puts twice counts twice. One that cannot be read fails its batch, which is delivered again until it can or
//! an error policy says otherwise.

use std::{collections::BTreeMap, time::Duration};

use kcl::{BoxError, CheckpointEvery, InitialPosition, Record, ShardContext, ShardId, Worker};
use kinesis_local::LocalAws;
use kpl::{Delivery, Producer, UserRecord};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::{
    picture::{Line, chart},
    tally::{Effects, Tally},
};

const STREAM: &str = "Clicks";
const WINDOW_MILLIS: u64 = 10_000;
/// Minutes of clicks, and clicks of a second.
const MINUTES: u64 = 4;
const CLICKS_PER_SECOND: u64 = 25;
const KEYWORDS: [&str; 6] = ["tea", "kettle", "cup", "coffee", "sugar", "umbrella"];
/// Seconds in which it rains, and umbrellas are looked for.
const RAIN: std::ops::Range<u64> = 100..160;
const PATIENCE: Duration = Duration::from_secs(60);

/// A click on a result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Click {
    /// Visitor; the partition key.
    pub visitor: String,
    /// Milliseconds since the start of the day.
    pub at_millis: u64,
    /// Words that were searched for.
    pub search: String,
}

/// Clicks by window and keyword.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Windows(pub BTreeMap<u64, BTreeMap<String, u64>>);

impl Windows {
    /// Counts a click.
    pub fn count(&mut self, click: &Click) {
        let window = self.0.entry(click.at_millis / WINDOW_MILLIS).or_default();
        for word in click.search.split_whitespace() {
            *window.entry(word.to_lowercase()).or_default() += 1;
        }
    }

    /// The counts of each keyword as a picture.
    pub fn picture(&self) -> String {
        let (first, last) = (self.0.keys().next().copied(), self.0.keys().last().copied());
        let windows = first.zip(last).map(|(first, last)| first..last + 1).unwrap_or_default();
        let count = |window: u64, word: &str| self.0.get(&window).and_then(|counts| counts.get(word)).copied();
        let lines = KEYWORDS.map(|word| Line {
            name: word.to_owned(),
            values: windows.clone().map(|window| count(window, word).unwrap_or_default() as f64).collect(),
        });
        chart("Clicks by keyword, in windows of 10 seconds", &lines, &[])
    }
}

impl Effects for Windows {
    type Event = Click;

    fn read(record: &Record) -> Result<Click, BoxError> {
        Ok(serde_json::from_slice(&record.data)?)
    }

    fn add(&mut self, _: &ShardId, click: Click) {
        self.count(&click);
    }
}

/// Clicks of a few minutes, the same each time.
fn clicks() -> Vec<Click> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut one = |second: u64| {
        let rains = RAIN.contains(&second) && random.u8(..3) > 0;
        let search = match (rains, random.usize(..KEYWORDS.len() - 1)) {
            (true, _) => "Umbrella".to_owned(),
            (false, 0) => format!("{} {}", KEYWORDS[0], KEYWORDS[1]),
            (false, word) => KEYWORDS[word].to_owned(),
        };
        let at_millis = second * 1_000 + random.u64(..1_000);
        Click { visitor: format!("visitor-{}", random.u16(..500)), at_millis, search }
    };
    (0..MINUTES * 60).flat_map(|second| vec![second; CLICKS_PER_SECOND as usize]).map(&mut one).collect()
}

/// Puts clicks and counts them, by workers of which one crashes. Returns the counts, and an independent count.
///
/// # Errors
/// The clicks cannot be put, or are not processed within a minute.
pub async fn run(local: &LocalAws) -> Result<(Windows, Windows), BoxError> {
    local.create_stream(STREAM, 3)?;
    let (aws, tally) = (local.sdk_config(), Tally::<Windows>::default());
    let start = |id: &str| -> Result<_, BoxError> {
        let worker =
            Worker::builder(&aws, "keywords", STREAM).worker_id(id).initial_position(InitialPosition::TrimHorizon);
        let tally = tally.clone();
        let worker = worker.lease_duration(Duration::from_secs(2));
        Ok(tokio::spawn(worker.build_sink(CheckpointEvery::default(), move |_: &ShardContext| tally.clone())?.run()))
    };
    let clicks = clicks();
    let mut expected = Windows::default();
    clicks.iter().for_each(|click| expected.count(click));
    let first = start("worker-1")?;

    let producer = Producer::builder(&aws, STREAM).build()?;
    let (before, after) = clicks.split_at(clicks.len() / 2);
    put(&producer, before).await?;
    sleep(Duration::from_secs(3)).await;
    first.abort(); // no last checkpoint, no release
    let second = start("worker-2")?;
    put(&producer, after).await?;
    producer.shutdown().await;

    let counted = async {
        while tally.look(|windows| *windows != expected) {
            sleep(Duration::from_millis(200)).await;
        }
        // What would count twice comes now.
        sleep(Duration::from_secs(2)).await;
    };
    let _ = timeout(PATIENCE, counted).await; // the caller compares
    second.abort();
    Ok((tally.look(|windows| windows.clone()), expected))
}

async fn put(producer: &Producer, clicks: &[Click]) -> Result<(), BoxError> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for click in clicks {
        deliveries.push(producer.put(UserRecord::new(&*click.visitor, serde_json::to_vec(click)?)).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keywords_are_as_counted_independently_and_as_in_the_picture_of_the_docs() {
        let (windows, expected) = run(&LocalAws::start().await).await.unwrap();

        assert_eq!(windows, expected);
        assert_eq!(windows.0.len(), 24);
        assert_eq!(windows.picture(), include_str!("../../docs/pictures/clicks.svg"));
    }
}
