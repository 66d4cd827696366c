//! Marks that tell the trades of this run from those that earlier runs left in the stream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::trade::Trade;

/// Random id of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(u32);

impl RunId {
    pub(super) fn random() -> Self {
        Self(fastrand::u32(..))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// A trade's JSON with one more field, which other readers ignore.
#[derive(Debug, Serialize, Deserialize)]
struct Marked<T> {
    #[serde(flatten)]
    trade: T,
    #[serde(default)]
    run: String,
}

/// The bytes of a record.
pub(super) fn mark(trade: &Trade, run_id: RunId) -> Vec<u8> {
    serde_json::to_vec(&Marked { trade, run: run_id.to_string() }).expect("a trade has only strings and numbers")
}

/// Reads the bytes of a record; None if its trade is of another run.
pub(super) fn read(json: &[u8], run_id: RunId) -> Result<Option<Trade>, serde_json::Error> {
    let marked: Marked<Trade> = serde_json::from_slice(json)?;
    Ok((marked.run.parse() == Ok(run_id)).then_some(marked.trade))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Generator;

    #[test]
    fn a_trade_is_read_in_its_own_run_only_and_by_other_readers() {
        let trade = Generator::new(1).next().unwrap();
        let json = mark(&trade, RunId(0xAB));

        assert_eq!(read(&json, RunId(0xAB)).unwrap(), Some(trade.clone()));
        assert_eq!(read(&json, RunId(0xAC)).unwrap(), None);
        assert_eq!(read(&trade.to_json(), RunId(0xAB)).unwrap(), None);
        assert_eq!(Trade::from_json(&json).unwrap(), trade);
    }
}
