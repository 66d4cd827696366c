//! Ticks: moments that the shards at the tip of one worker share for their reads, so that many calls are made one right
//! after the other, which costs less than calls spread over time. Pure.
//!
//! Within each idle time there are ten ticks; a shard reads at one of them, its place. (A) With fewer shards at the tip than
//! [`MANY`], each reads its own pause after its last read. (B) A tick is never later than that pause, nor earlier than the
//! service allows; a shard for which no tick is left in between reads at its own time. (C) A shard that comes to the tip
//! takes the place with the fewest shards. (D) A shard that is behind, or whose read failed, has no place.

use std::time::{Duration, Instant};

use super::pacing::MIN_INTERVAL;

/// Shards at the tip from which on they share ticks; below half of it they share them no more.
pub(crate) const MANY: usize = 50;
/// Ticks within an idle time: 100 ms apart by default. Calls at the same tick are then as many as fit on one connection at
/// 1,000 shards. Measured by `cargo bench -p integration-tests --bench fleet -- polling 1000`, beside `polling_apart`.
const TICKS: u32 = 10;

/// Part of a shard at the tip in its worker's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Seat {
    /// The shard is not at the tip.
    #[default]
    Away,
    /// It reads at its own time.
    Apart,
    Place(usize),
}

#[derive(Debug)]
pub(crate) struct Ticks {
    /// First tick of the first place. Random, so that the ticks of two workers differ.
    origin: Instant,
    idle: Duration,
    /// Shards with each place.
    places: [usize; TICKS as usize],
    /// Shards at the tip.
    shards: usize,
    shared: bool,
}

impl Ticks {
    /// Ticks for shards that are read each `idle`. `jitter` is random, from 0 to 1.
    pub(crate) fn new(idle: Duration, now: Instant, jitter: f64) -> Self {
        let idle = idle.max(MIN_INTERVAL);
        let origin = now + (idle / TICKS).mul_f64(jitter);
        Self { origin, idle, places: [0; TICKS as usize], shards: 0, shared: false }
    }

    /// Time of the next read of a shard at the tip whose last one began at `begun`, and is followed after `pause`.
    pub(crate) fn next(&mut self, seat: &mut Seat, begun: Instant, pause: Duration) -> Instant {
        if *seat == Seat::Away {
            self.shards += 1;
            *seat = Seat::Apart;
        }
        self.shared = self.shards >= if self.shared { MANY / 2 } else { MANY };
        let due = begun + pause;
        let kept = match *seat {
            Seat::Place(place) if self.shared => self.last_tick(place, begun, due),
            _ => None,
        };
        if let Some(tick) = kept {
            return tick;
        }
        self.stand_up(seat);
        if self.shared
            && let Some((place, tick)) = self.best(begun, due)
        {
            self.places[place] += 1;
            *seat = Seat::Place(place);
            return tick;
        }
        due
    }

    /// The shard is not at the tip, or not read, any more.
    pub(crate) fn leave(&mut self, seat: &mut Seat) {
        if *seat != Seat::Away {
            self.stand_up(seat);
            self.shards -= 1;
            *seat = Seat::Away;
        }
    }

    fn stand_up(&mut self, seat: &mut Seat) {
        if let Seat::Place(place) = *seat {
            self.places[place] -= 1;
            *seat = Seat::Apart;
        }
    }

    /// The place with the fewest shards that has a tick for this read; of several that with the latest.
    fn best(&self, begun: Instant, due: Instant) -> Option<(usize, Instant)> {
        let ticks = (0..TICKS as usize).filter_map(|place| Some((place, self.last_tick(place, begun, due)?)));
        ticks.min_by_key(|(place, tick)| (self.places[*place], due - *tick))
    }

    /// The last tick of a place up to `due`, unless the service would not allow it.
    fn last_tick(&self, place: usize, begun: Instant, due: Instant) -> Option<Instant> {
        let first = self.origin + self.idle.mul_f64(place as f64 / f64::from(TICKS));
        let since = due.checked_duration_since(first)?;
        let over = Duration::from_nanos(u64::try_from(since.as_nanos() % self.idle.as_nanos()).ok()?);
        let tick = due - over;
        (tick >= begun + MIN_INTERVAL).then_some(tick)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::some_time;

    const SECOND: Duration = Duration::from_secs(1);

    /// The shards of a worker, each at the start of its last read.
    struct Shards {
        ticks: Ticks,
        seats: Vec<Seat>,
        begun: Vec<Instant>,
    }

    impl Shards {
        /// Their first reads are spread over a second.
        fn new(count: usize, idle: Duration) -> Self {
            let now = some_time();
            let begun = (0..count).map(|n| now + SECOND.mul_f64(n as f64 / count as f64)).collect();
            Self { ticks: Ticks::new(idle, now, 0.3), seats: vec![Seat::Away; count], begun }
        }

        /// Reads each shard once; returns the time since its read before.
        fn read(&mut self, pause: Duration) -> Vec<Duration> {
            let shards = self.seats.iter_mut().zip(&mut self.begun);
            let read = shards.map(|(seat, begun)| {
                let next = self.ticks.next(seat, *begun, pause);
                next - std::mem::replace(begun, next)
            });
            read.collect()
        }

        /// Reads at each moment that there are some.
        fn at_each_moment(&self) -> Vec<usize> {
            let mut begun = self.begun.clone();
            begun.sort();
            begun.chunk_by(|a, b| a == b).map(<[Instant]>::len).collect()
        }
    }

    #[test]
    fn few_shards_read_at_their_own_times() {
        let mut shards = Shards::new(MANY - 1, SECOND);

        for _ in 0..3 {
            assert!(shards.read(SECOND).iter().all(|pause| *pause == SECOND));
        }
        assert_eq!(shards.at_each_moment(), [1; MANY - 1]);
    }

    #[test]
    fn many_shards_share_ten_ticks_evenly_and_read_once_a_second() {
        let mut shards = Shards::new(1_000, SECOND);

        shards.read(SECOND);
        let second = shards.read(SECOND);
        assert!(second.iter().all(|pause| *pause <= SECOND && *pause >= MIN_INTERVAL));
        for _ in 0..3 {
            assert!(shards.read(SECOND).iter().all(|pause| *pause == SECOND));
        }

        let places = shards.ticks.places;
        assert!(places.iter().all(|shards| (85..=110).contains(shards)), "{places:?}");
    }

    #[test]
    fn shards_that_start_in_one_moment_are_spread() {
        let mut shards = Shards::new(200, SECOND);
        let begun = shards.begun[0];
        shards.begun.fill(begun);

        for _ in 0..3 {
            shards.read(SECOND);
        }

        let most = shards.at_each_moment().into_iter().max();
        assert!(most.is_some_and(|most| most <= 26), "{most:?}");
    }

    #[test]
    fn ticks_end_when_few_shards_are_left() {
        let mut shards = Shards::new(MANY, SECOND);
        shards.read(SECOND);
        let placed = |shards: &Shards| shards.seats.iter().filter(|seat| matches!(seat, Seat::Place(_))).count();
        shards.read(SECOND);
        assert_eq!(placed(&shards), MANY);

        for _ in 0..=MANY / 2 {
            shards.begun.pop();
            let mut seat = shards.seats.pop().unwrap();
            shards.ticks.leave(&mut seat);
            shards.ticks.leave(&mut seat);
            assert_eq!(seat, Seat::Away);
        }
        shards.read(SECOND);

        assert_eq!((placed(&shards), shards.ticks.places), (0, [0; 10]));
        assert!(shards.read(SECOND).iter().all(|pause| *pause == SECOND));
    }

    #[test]
    fn a_pause_as_short_as_the_service_allows_has_no_ticks() {
        let mut shards = Shards::new(100, MIN_INTERVAL);

        for _ in 0..3 {
            assert!(shards.read(MIN_INTERVAL).iter().all(|pause| *pause == MIN_INTERVAL));
        }
    }

    proptest! {
        #[test]
        fn a_read_is_neither_later_than_its_pause_nor_earlier_than_allowed(
            idle in 200_u64..10_000,
            steps in prop::collection::vec((0_usize..80, 0_u64..3_000, 1_u32..5, any::<bool>()), 1..400),
        ) {
            let (idle, now) = (Duration::from_millis(idle), some_time());
            let (mut ticks, mut seats) = (Ticks::new(idle, now, 0.7), [Seat::Away; 80]);
            for (shard, begun, grown, leaves) in steps {
                let (begun, pause) = (now + Duration::from_millis(begun), idle * grown);
                if leaves {
                    ticks.leave(&mut seats[shard]);
                    continue;
                }
                let next = ticks.next(&mut seats[shard], begun, pause);
                prop_assert!(next <= begun + pause && next >= begun + MIN_INTERVAL);
                prop_assert!(next + idle > begun + pause);
            }
            let placed = seats.iter().filter(|seat| matches!(seat, Seat::Place(_))).count();
            prop_assert_eq!(placed, ticks.places.iter().sum::<usize>());
            prop_assert_eq!(seats.iter().filter(|seat| **seat != Seat::Away).count(), ticks.shards);
        }
    }
}
