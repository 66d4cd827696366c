//! A shard in work: its progress, failures, order, stalls and renewals.

pub(crate) use copies::Numbers;
pub(crate) use failures::{BatchSpan, Failures, Piece, Verdict, range};
pub(crate) use progress::Progress;
pub(crate) use renewal::{RENEWALS, RETRY, Refusal, average_throughput, is_news, judge};
pub(crate) use rounds::{ROUND, Rounds};
pub(crate) use sink::{Turn, resume, turn};

mod copies;
pub(crate) mod due;
mod failures;
pub(crate) mod key_order;
mod lag;
mod progress;
mod renewal;
mod rounds;
mod sink;
pub(crate) mod stall;
