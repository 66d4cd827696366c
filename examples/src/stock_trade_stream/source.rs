//! The source of a run's trades: random ones, or a file.

use std::{fmt, path::Path};

use indicatif::HumanCount;

use crate::{
    generator::Generator,
    replay::{RejectedRow, Replay, ReplayError},
    trade::Trade,
};

/// Random trades, or those of a file.
pub(super) enum Source {
    Random { seed: u64, trades: u64 },
    Replay { replay: Box<Replay>, rows: u64 },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { seed, trades } => write!(f, "{} random trades (seed {seed})", HumanCount(*trades)),
            Self::Replay { replay, rows } => write!(f, "{} trades of {}", HumanCount(*rows), replay.path().display()),
        }
    }
}

/// Trades, rows that are none, and possibly an error that ends the reading.
type Trades = Box<dyn Iterator<Item = Result<Result<Trade, RejectedRow>, ReplayError>> + Send>;

impl Source {
    pub(super) fn random(trades: u64, seed: Option<u64>) -> Self {
        Self::Random { seed: seed.unwrap_or_else(|| fastrand::u64(..)), trades }
    }

    pub(super) fn replay(path: &Path) -> Result<Self, ReplayError> {
        // A first pass counts the rows, so that the half is known.
        let rows = Replay::open(path)?.take_while(Result::is_ok).count();
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        Ok(Self::Replay { replay: Box::new(Replay::open(path)?), rows })
    }

    /// Number of trades to expect.
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
