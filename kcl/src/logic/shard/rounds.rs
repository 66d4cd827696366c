//! Rounds of renewals: leases of a worker that are renewed in the same moment, so that one request renews them. Pure.
//!
//! (A) The next renewal comes half to 1.1 renewal intervals after the last one.
//! (B) Leases of one round go on together. A round takes as many as a request does.
//! (C) A lease of a round that is half full at most goes over to another one, at the price of one renewal that comes early.
//! (D) Rounds of leases that were taken in one moment are spread: none must be as large as the table's limit.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Statements of one request.
/// docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html
pub(crate) const ROUND: usize = 25;
/// Bounds of the time to the next renewal, in parts of the interval.
const EARLIEST: f64 = 0.5;
const LATEST: f64 = 1.1;

#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Those to come, and those of the last two intervals, by their times.
    rounds: BTreeMap<Instant, Round>,
}

#[derive(Debug, Default)]
struct Round {
    leases: usize,
    /// The round in which its leases go on.
    next: Option<Instant>,
}

impl Rounds {
    /// Time of the next renewal of a lease that was renewed at `begun`, of the round `last` if it is of one. `chance` is
    /// between 0 and 1.
    pub(crate) fn next(&mut self, last: Option<Instant>, begun: Instant, interval: Duration, chance: f64) -> Instant {
        if let Some(last) = last.filter(|last| *last > begun) {
            return last;
        }
        self.forget_before(begun.checked_sub(interval * 2));
        let next = self.followed(last, begun, interval).or_else(|| self.joined(last, begun, interval));
        let next = next.unwrap_or_else(|| {
            let is_crowded = last.is_none() && self.in_time(begun, interval).next().is_some();
            let earliest = if is_crowded { EARLIEST } else { 1.0 };
            self.vacant(begun + interval.mul_f64(earliest + (LATEST - earliest) * chance))
        });
        self.rounds.entry(next).or_default().leases += 1;
        if let Some(round) = last.and_then(|last| self.rounds.get_mut(&last)) {
            round.next = Some(next);
        }
        next
    }

    /// The round that companions of the last one have gone over to.
    fn followed(&self, last: Option<Instant>, begun: Instant, interval: Duration) -> Option<Instant> {
        let next = self.rounds.get(&last?)?.next?;
        self.has_room(next)
            .then_some(next)
            .filter(|next| *next >= begun + interval.mul_f64(EARLIEST) && *next <= begun + interval.mul_f64(LATEST))
    }

    /// The fullest round with room that comes in time, if the lease's own is no better.
    fn joined(&self, last: Option<Instant>, begun: Instant, interval: Duration) -> Option<Instant> {
        if last.and_then(|last| self.rounds.get(&last)).is_some_and(|round| round.leases > ROUND / 2) {
            return None;
        }
        let with_room = self.in_time(begun, interval).filter(|(_, round)| round.leases < ROUND);
        with_room.max_by_key(|(_, round)| round.leases).map(|(at, _)| *at)
    }

    fn in_time(&self, begun: Instant, interval: Duration) -> impl Iterator<Item = (&Instant, &Round)> {
        self.rounds.range(begun + interval.mul_f64(EARLIEST)..=begun + interval.mul_f64(LATEST))
    }

    fn has_room(&self, at: Instant) -> bool {
        self.rounds.get(&at).is_some_and(|round| round.leases < ROUND)
    }

    /// This time, or the first one after it that no round has.
    fn vacant(&self, mut at: Instant) -> Instant {
        while self.rounds.contains_key(&at) {
            at += Duration::from_millis(1);
        }
        at
    }

    fn forget_before(&mut self, time: Option<Instant>) {
        if let Some(time) = time {
            self.rounds = self.rounds.split_off(&time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(3);

    /// Renews `taken.len()` leases, taken at these times in milliseconds, for as long as `intervals`. Times of the renewals
    /// of each lease.
    fn renewed(taken: &[u64], intervals: u32, chance: impl Fn(usize) -> f64) -> Vec<Vec<Instant>> {
        let (mut rounds, start) = (Rounds::default(), crate::tests::some_time());
        let mut leases: Vec<Vec<Instant>> =
            taken.iter().map(|millis| vec![start + Duration::from_millis(*millis)]).collect();
        let mut due: BTreeMap<(Instant, usize), Option<Instant>> =
            leases.iter().enumerate().map(|(index, times)| ((times[0], index), None)).collect();
        let mut turn = 0;
        while let Some(((at, index), last)) = due.pop_first() {
            if at > start + INTERVAL * intervals {
                break;
            }
            if last.is_some() {
                leases[index].push(at);
            }
            turn += 1;
            let next = rounds.next(last, at, INTERVAL, chance(turn));
            due.insert((next, index), Some(next));
        }
        leases
    }

    fn pseudo_random(turn: usize) -> f64 {
        f64::from(u32::try_from(turn * 7919 % 1009).expect("small")) / 1009.0
    }

    /// Rounds within the last interval but one, and the leases of the fullest.
    fn rounds_at_the_end(leases: &[Vec<Instant>]) -> (usize, usize) {
        let end = leases.iter().filter_map(|times| times.last()).max().copied().expect("renewals");
        let mut rounds: BTreeMap<Instant, usize> = BTreeMap::new();
        for at in leases.iter().flatten().filter(|at| **at > end - INTERVAL - INTERVAL && **at <= end - INTERVAL) {
            *rounds.entry(*at).or_default() += 1;
        }
        (rounds.len(), rounds.values().max().copied().unwrap_or(0))
    }

    #[test]
    fn leases_taken_apart_are_renewed_together_before_long() {
        for taken in [[0, 1], [0, 400], [0, 1_500], [0, 2_900]] {
            let leases = renewed(&taken, 5, pseudo_random);

            assert_eq!(leases[0].last(), leases[1].last(), "taken at {taken:?}");
        }
    }

    #[test]
    fn many_leases_fill_as_few_rounds_as_they_can() {
        let taken: Vec<u64> = (0..100).map(|index| index * 31 % 3_000).collect();

        let (rounds, fullest) = rounds_at_the_end(&renewed(&taken, 12, pseudo_random));

        assert!(rounds <= 5, "{rounds} rounds an interval for 4 requests' worth of leases");
        assert_eq!(fullest, ROUND);
    }

    #[test]
    fn no_lease_waits_longer_than_1_1_intervals_nor_less_than_half_a_one() {
        let taken: Vec<u64> = (0..330).map(|index| index * 17 % 5_000).collect();
        for chance in [|_| 0.0, |_| 1.0, pseudo_random] {
            for times in renewed(&taken, 12, chance) {
                for pair in times.windows(2) {
                    let parts = (pair[1] - pair[0]).as_secs_f64() / INTERVAL.as_secs_f64();
                    assert!((EARLIEST - 0.001..LATEST + 0.02).contains(&parts), "renewed after {parts} intervals");
                }
            }
        }
    }

    #[test]
    fn the_price_of_going_together_is_paid_once() {
        let taken: Vec<u64> = (0..64).map(|index| index * 53 % 3_000).collect();

        let renewals: usize = renewed(&taken, 100, pseudo_random).iter().map(Vec::len).sum();

        assert!(renewals <= 64 * 100, "{renewals} renewals of 64 leases in 100 intervals");
    }

    #[test]
    fn rounds_of_leases_taken_in_one_moment_are_spread() {
        let leases = renewed(&[0; 1_000], 20, pseudo_random);

        let end = leases.iter().filter_map(|times| times.last()).max().copied().expect("renewals");
        let in_a_tenth = |begin: Instant| {
            let times = leases.iter().flatten();
            times.filter(|at| **at >= begin && **at < begin + INTERVAL / 10).count()
        };
        let most = (0..20).map(|tenth| in_a_tenth(end - INTERVAL / 10 * (20 - tenth))).max();
        assert!(most <= Some(400), "{most:?} of 1,000 leases in a tenth of the interval");
    }

    #[test]
    fn a_lease_renewed_before_its_round_stays_in_it() {
        let (mut rounds, start) = (Rounds::default(), crate::tests::some_time());
        let at = rounds.next(None, start, INTERVAL, 0.5);

        assert_eq!(rounds.next(Some(at), start + Duration::from_millis(100), INTERVAL, 0.9), at);
    }

    #[test]
    fn forgets_rounds_that_are_over() {
        let (mut rounds, mut at) = (Rounds::default(), crate::tests::some_time());
        let mut last = None;
        for _ in 0..100 {
            at = rounds.next(last, at, INTERVAL, 0.0);
            last = Some(at);
        }

        assert!(rounds.rounds.len() <= 4, "{}", rounds.rounds.len());
    }
}
