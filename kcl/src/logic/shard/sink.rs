//! The progress of a shard that its sink stores: where the processing starts by it, and who may write it. Pure.
//!
//! (A) The sink's position counts if it is further than the lease's checkpoint, unless the lease was reset since.
//! (B) A sink that somebody wrote with a greater token, or in a later epoch, is not written.
//! (C) Nor is one that anybody wrote since its mark was read, whatever the token: a worker that lost the lease, or a processor
//!     that failed, may commit at any time, and what it wrote must not be written again.

use crate::model::{Checkpoint, Position, SinkMark};

/// Verdict on the mark that a transaction found before it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Write,
    /// Another worker has taken the shard.
    Fenced,
    /// A transaction of before took effect meanwhile: start after it.
    Moved,
}

/// Judges the mark `found` in the sink, where `known` was, before `next` replaces it.
pub(crate) fn turn(known: Option<&SinkMark>, found: Option<&SinkMark>, next: &SinkMark) -> Turn {
    match found {
        _ if found == known => Turn::Write,
        Some(found) if found.owner() > next.owner() => Turn::Fenced,
        _ => Turn::Moved,
    }
}

/// A sink that was written under a greater token than the lease has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sink was written in epoch {} with fencing token {}, the lease has epoch {epoch} and token {fencing_token}: either another worker has the shard now, or the lease was deleted and made anew; in that case reset the application's checkpoints, which begins a new epoch, or delete the sink's mark to start from the lease's checkpoint",
    stored.epoch, stored.fencing_token
)]
pub(crate) struct SinkAhead {
    pub(crate) stored: SinkMark,
    pub(crate) epoch: u64,
    pub(crate) fencing_token: u64,
}

/// Position after which the processing starts, if it is not the lease's checkpoint; `epoch` and `token` are the lease's.
pub(crate) fn resume(
    stored: SinkMark,
    checkpoint: &Checkpoint,
    (epoch, fencing_token): (u64, u64),
) -> Result<Option<Position>, SinkAhead> {
    if stored.owner() > (epoch, fencing_token) {
        return Err(SinkAhead { stored, epoch, fencing_token });
    }
    let counts = stored.epoch == epoch && Checkpoint::At(stored.position.clone()) > *checkpoint;
    Ok(counts.then_some(stored.position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u32) -> Position {
        Position::new(number.to_string().parse().unwrap(), 0)
    }

    fn mark(epoch: u64, token: u64, number: u32) -> SinkMark {
        SinkMark::new(epoch, token, at(number))
    }

    #[test]
    fn the_sinks_position_wins_if_it_is_further() {
        let lease = Checkpoint::At(at(10));

        assert_eq!(resume(mark(0, 3, 12), &lease, (0, 5)), Ok(Some(at(12))));
        assert_eq!(resume(mark(0, 5, 12), &Checkpoint::Latest, (0, 5)), Ok(Some(at(12))));
        assert_eq!(resume(mark(0, 3, 10), &lease, (0, 5)), Ok(None));
        assert_eq!(resume(mark(0, 3, 9), &lease, (0, 5)), Ok(None));
    }

    #[test]
    fn a_reset_since_makes_the_sinks_position_void() {
        assert_eq!(resume(mark(0, 9, 12), &Checkpoint::TrimHorizon, (7, 1)), Ok(None));
    }

    #[test]
    fn a_sink_with_a_greater_token_on_a_lease_made_anew_is_an_error_that_says_how_to_go_on() {
        for stored in [mark(0, 6, 12), mark(1, 1, 12)] {
            let error = resume(stored, &Checkpoint::TrimHorizon, (0, 5)).unwrap_err().to_string();

            assert!(error.contains("reset the application's checkpoints"), "{error}");
        }
    }

    #[test]
    fn writes_only_what_nobody_has_written_since_it_was_read() {
        let (known, next) = (mark(0, 5, 10), mark(0, 5, 20));
        let found = |found: SinkMark| turn(Some(&known), Some(&found), &next);

        assert_eq!(found(known.clone()), Turn::Write);
        assert_eq!(found(mark(0, 6, 15)), Turn::Fenced);
        assert_eq!(found(mark(1, 1, 5)), Turn::Fenced);
        assert_eq!(found(mark(0, 5, 15)), Turn::Moved, "of this worker's former processor");
        assert_eq!(found(mark(0, 4, 15)), Turn::Moved, "of the former owner, late");
        assert_eq!(turn(None, None, &next), Turn::Write);
        assert_eq!(turn(None, Some(&known), &next), Turn::Moved);
        assert_eq!(turn(Some(&known), None, &next), Turn::Moved, "deleted meanwhile");
    }
}
