//! The producing half: puts trades and follows each to its outcome.

use std::sync::Arc;

use anyhow::Context as _;
use kpl::{Delivery, Producer, PutError, UserRecord};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use super::{
    run_id::{self, RunId},
    source::Source,
    tally::Tally,
};
use crate::{setup::one_line, trade::Trade};

/// Maximum number of deliveries that are not looked at yet; beyond it putting waits.
const DELIVERIES: usize = 10_000;

/// The outcome of reading the input.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Rows that are no trades, or that the producer did not accept.
    pub(super) rejected_rows: u64,
    /// True if reading broke off.
    pub(super) broken_off: bool,
}

/// Puts all trades of the source, has the stream resharded half-way, and waits until each trade is stored or failed.
pub(super) async fn put_all(
    source: Source,
    producer: &Producer,
    (tally, run_id): (&Arc<Tally>, RunId),
    reshard: impl AsyncFnOnce() -> anyhow::Result<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Input> {
    let half = source.expected() / 2;
    let (deliveries, follower) = follow(Arc::clone(tally));
    let mut putter = Putter { producer, run_id, tally, deliveries, input: Input::default() };
    let mut reshard = Some(reshard);
    for (number, trade) in (1..).zip(source.trades()) {
        if stop.is_cancelled() {
            info!("stopping early");
            break;
        }
        if number > half
            && let Some(reshard) = reshard.take()
        {
            reshard().await?;
        }
        match trade {
            Ok(Ok(trade)) => putter.put(trade).await?,
            Ok(Err(row)) => putter.reject(&row.to_string()),
            Err(failure) => {
                error!(error = one_line(&failure.into()), "reading broke off");
                putter.input.broken_off = true;
                break;
            }
        }
    }
    let Putter { input, deliveries, .. } = putter;
    drop(deliveries);
    producer.flush().await;
    follower.await.context("following deliveries failed")?;
    Ok(input)
}

/// Puts one trade after the other.
struct Putter<'a> {
    producer: &'a Producer,
    run_id: RunId,
    tally: &'a Tally,
    deliveries: mpsc::Sender<(i64, Delivery)>,
    input: Input,
}

impl Putter<'_> {
    async fn put(&mut self, trade: Trade) -> anyhow::Result<()> {
        let record = UserRecord::new(trade.ticker_symbol.as_str(), run_id::mark(&trade, self.run_id));
        match self.producer.put(record).await {
            Ok(delivery) => {
                self.tally.put();
                self.deliveries.send((trade.id, delivery)).await.context("following deliveries failed")
            }
            Err(refused @ (PutError::TooLarge { .. } | PutError::InvalidPartitionKey { .. })) => {
                self.reject(&format!("trade {}: {refused}", trade.id));
                Ok(())
            }
            Err(failure) => Err(failure).context("cannot put trades"),
        }
    }

    fn reject(&mut self, reason: &str) {
        warn!("row rejected, {reason}");
        self.input.rejected_rows += 1;
    }
}

/// Looks at each delivery in the order of putting.
fn follow(tally: Arc<Tally>) -> (mpsc::Sender<(i64, Delivery)>, AbortOnDropHandle<()>) {
    let (sender, mut deliveries) = mpsc::channel::<(i64, Delivery)>(DELIVERIES);
    let follower = tokio::spawn(async move {
        while let Some((id, delivery)) = deliveries.recv().await {
            match delivery.await {
                Ok(stored) => {
                    tally.resolved(Some((stored.shard_id().clone(), stored.sequence_number().clone())));
                }
                Err(failure) => {
                    error!(id, error = one_line(&failure.into()), "trade not stored");
                    tally.resolved(None);
                }
            }
        }
    });
    (sender, AbortOnDropHandle::new(follower))
}
