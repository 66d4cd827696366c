//! Where the trades of a run come from.

use std::path::Path;

use tracing::info;

use crate::{
    generator::Generator,
    replay::{RejectedRow, Replay, ReplayError},
    trade::Trade,
};

/// Random trades, or a file's.
pub(super) enum Source {
    Random { seed: u64, trades: u64 },
    Replay { replay: Box<Replay>, rows: u64 },
}

/// What a source gives: trades, rows that are none, and perhaps an error that ends it.
type Trades = Box<dyn Iterator<Item = Result<Result<Trade, RejectedRow>, ReplayError>> + Send>;

impl Source {
    pub(super) fn random(trades: u64, seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        info!(seed, trades, "random trades");
        Self::Random { seed, trades }
    }

    pub(super) fn replay(path: &Path) -> Result<Self, ReplayError> {
        // Once to count the rows, in order to know the half.
        let rows = Replay::open(path)?.take_while(Result::is_ok).count();
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        info!(file = %path.display(), rows, "replaying trades");
        Ok(Self::Replay { replay: Box::new(Replay::open(path)?), rows })
    }

    /// How many trades to expect.
    pub(super) fn expected(&self) -> u64 {
        match self {
            Self::Random { trades, .. } => *trades,
            Self::Replay { rows, .. } => *rows,
        }
    }

    pub(super) fn trades(self) -> Trades {
        match self {
            Self::Random { seed, trades } => {
                let trades = usize::try_from(trades).unwrap_or(usize::MAX);
                Box::new(Generator::new(seed).take(trades).map(|trade| Ok(Ok(trade))))
            }
            Self::Replay { replay, .. } => replay,
        }
    }
}
