//! Splits and merges shards of a stream.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_kinesis::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Maximum time of a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// A change of a stream's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The widest shard becomes two.
    Split,
    /// The two narrowest neighbours become one.
    Merge,
}

/// Changes made while producing.
pub(super) const CHANGES: [Change; 6] =
    [Change::Split, Change::Split, Change::Merge, Change::Split, Change::Merge, Change::Merge];

/// An open shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    first: u128,
    last: u128,
    id: String,
}

impl Open {
    fn width(&self) -> u128 {
        self.last - self.first
    }
}

/// Makes the changes one after the other, evenly spread over the way of `progress` to `total`. The sender of `progress`
/// gone, the rest is made at once; so many changes as were made before are returned.
pub(super) async fn while_producing(
    kinesis: &Client,
    stream: &str,
    mut progress: watch::Receiver<u64>,
    total: u64,
) -> anyhow::Result<usize> {
    let mut meanwhile = 0;
    for (n, made) in CHANGES.into_iter().zip(1..) {
        let at = total * made / (CHANGES.len() as u64 + 1);
        let waited = progress.wait_for(|done| *done >= at).await.map(|_| ());
        change(kinesis, stream, n).await?;
        meanwhile += usize::from(waited.is_ok() && progress.has_changed().is_ok());
    }
    Ok(meanwhile)
}

/// Makes one change, and waits until the stream has it.
pub(super) async fn change(kinesis: &Client, stream: &str, change: Change) -> anyhow::Result<()> {
    let before = open(kinesis, stream).await?;
    match change {
        Change::Split => {
            let widest = before.iter().max_by_key(|shard| shard.width()).context("a stream has shards")?;
            let middle = widest.first + widest.width() / 2 + 1;
            let split = kinesis.split_shard().stream_name(stream).shard_to_split(&widest.id);
            split.new_starting_hash_key(middle.to_string()).send().await?;
        }
        Change::Merge => {
            let pairs = before.windows(2).min_by_key(|pair| pair[0].width().saturating_add(pair[1].width()));
            let [left, right] = pairs.context("a stream to be merged has two shards")? else {
                anyhow::bail!("windows of two have two");
            };
            let merge = kinesis.merge_shards().stream_name(stream).shard_to_merge(&left.id);
            merge.adjacent_shard_to_merge(&right.id).send().await?;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while open(kinesis, stream).await? == before {
        ensure!(Instant::now() < deadline, "the stream still has the same shards");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Open shards in the order of their hash keys.
async fn open(kinesis: &Client, stream: &str) -> anyhow::Result<Vec<Open>> {
    let mut open = Vec::new();
    let mut page = kinesis.list_shards().stream_name(stream).send().await?;
    loop {
        for shard in page.shards() {
            if shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some()) {
                continue;
            }
            let range = shard.hash_key_range().context("a shard has a range")?;
            let (first, last) = (range.starting_hash_key().parse()?, range.ending_hash_key().parse()?);
            open.push(Open { first, last, id: shard.shard_id().to_owned() });
        }
        let Some(token) = page.next_token() else { break };
        page = kinesis.list_shards().next_token(token).send().await?;
    }
    open.sort();
    Ok(open)
}
