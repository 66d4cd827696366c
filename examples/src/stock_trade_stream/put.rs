//! The producing half: puts trades and follows each to its outcome.

use std::sync::Arc;

use anyhow::Context as _;
use kpl::{Delivery, Producer, PutError, UserRecord};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use super::{Options, Source, tally::Tally};
use crate::{generator::Generator, replay::RejectedRow, trade::Trade};

/// Deliveries that wait to be looked at; when full, putting waits.
const DELIVERIES: usize = 10_000;

/// What the input came to.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Rows that are no trades, or that the producer did not accept.
    pub(super) rejected_rows: u64,
    /// Whether reading broke off.
    pub(super) broken_off: bool,
}

/// Puts all trades of the source, has the stream resharded half-way, and waits until each trade is stored or failed.
pub(super) async fn put_all(
    options: &Options,
    source: Source,
    producer: &Producer,
    tally: &Arc<Tally>,
    reshard: impl AsyncFnOnce() -> anyhow::Result<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Input> {
    let half = source.expected(options.trades) / 2;
    let mut input = Input::default();
    let (deliveries, follower) = follow(Arc::clone(tally));
    let mut reshard = Some(reshard);
    let mut seen = 0;
    for trade in trades(source, options) {
        if stop.is_cancelled() {
            info!("stopping early");
            break;
        }
        seen += 1;
        if seen > half
            && let Some(reshard) = reshard.take()
        {
            reshard().await?;
        }
        match trade {
            Ok(Ok(trade)) => put(trade, producer, tally, &deliveries, &mut input).await?,
            Ok(Err(row)) => reject(&row.to_string(), &mut input),
            Err(failure) => {
                error!(error = crate::setup::one_line(&failure), "reading breaks off");
                input.broken_off = true;
                break;
            }
        }
    }
    drop(deliveries);
    producer.flush().await;
    follower.await.context("following deliveries failed")?;
    Ok(input)
}

type Trades = Box<dyn Iterator<Item = anyhow::Result<Result<Trade, RejectedRow>>> + Send>;

fn trades(source: Source, options: &Options) -> Trades {
    match source {
        Source::Random { seed } => {
            let count = usize::try_from(options.trades).unwrap_or(usize::MAX);
            Box::new(Generator::new(seed).take(count).map(|trade| Ok(Ok(trade))))
        }
        Source::Replay { replay, .. } => Box::new(replay.map(|row| row.map_err(anyhow::Error::from))),
    }
}

async fn put(
    trade: Trade,
    producer: &Producer,
    tally: &Tally,
    deliveries: &mpsc::Sender<(i64, Delivery)>,
    input: &mut Input,
) -> anyhow::Result<()> {
    match producer.put(UserRecord::new(trade.ticker_symbol.as_str(), trade.to_json())).await {
        Ok(delivery) => {
            tally.put();
            deliveries.send((trade.id, delivery)).await.context("following deliveries failed")
        }
        Err(refused @ (PutError::TooLarge { .. } | PutError::InvalidPartitionKey { .. })) => {
            reject(&format!("trade {}: {refused}", trade.id), input);
            Ok(())
        }
        Err(failure) => Err(failure).context("cannot put trades"),
    }
}

fn reject(reason: &str, input: &mut Input) {
    warn!("row rejected, {reason}");
    input.rejected_rows += 1;
}

/// Looks at each delivery in the order of putting.
fn follow(tally: Arc<Tally>) -> (mpsc::Sender<(i64, Delivery)>, AbortOnDropHandle<()>) {
    let (sender, mut deliveries) = mpsc::channel::<(i64, Delivery)>(DELIVERIES);
    let follower = tokio::spawn(async move {
        while let Some((id, delivery)) = deliveries.recv().await {
            match delivery.await {
                Ok(stored) => tally.resolved(Some((stored.shard_id, stored.sequence_number))),
                Err(failure) => {
                    error!(id, error = crate::setup::one_line(&failure.into()), "trade not stored");
                    tally.resolved(None);
                }
            }
        }
    });
    (sender, AbortOnDropHandle::new(follower))
}
