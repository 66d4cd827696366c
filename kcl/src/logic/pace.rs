//! Pauses between looks at something that rarely changes. Pure.
//!
//! (A) A pause is never longer than `slow`, and never shorter than nine tenths of `fast`.
//! (B) After a sign of change the next pause is `fast`.
//! (C) Each look after that which finds nothing lengthens the pause by half, until it is `slow`.
//! (D) Chance shortens a pause by up to a tenth, so that workers started together do not look in step.

use std::time::Duration;

/// Time added to a pause that must not end too early: clocks of timers have whole milliseconds.
pub(crate) const TICK: Duration = Duration::from_millis(1);
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.1;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// The next pause, before it is bounded.
    next: Duration,
}

impl Pace {
    /// Something changed, or is about to.
    pub(crate) fn sign(&mut self) {
        self.next = Duration::ZERO;
    }

    /// True if the last pause was `slow`: no sign for long.
    pub(crate) fn rests(&self, slow: Duration) -> bool {
        self.next >= slow.mul_f64(GROWTH)
    }

    /// Pause until the next look, and the end of the one before. `random` is from 0 to 1.
    pub(crate) fn pause(&mut self, fast: Duration, slow: Duration, random: f64) -> Duration {
        let pause = self.next.clamp(fast, slow.max(fast));
        self.next = pause.mul_f64(GROWTH);
        pause.mul_f64(1.0 - JITTER * random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAST: Duration = Duration::from_millis(500);
    const SLOW: Duration = Duration::from_secs(2);

    #[test]
    fn stretches_by_half_with_each_quiet_look_and_shrinks_at_a_sign() {
        let mut pace = Pace::default();
        let mut pauses = || [(); 6].map(|()| pace.pause(FAST, SLOW, 0.0).as_millis());

        assert_eq!(pauses(), [500, 750, 1_125, 1_687, 2_000, 2_000]);
        assert!(pace.rests(SLOW));
        pace.sign();
        assert_eq!(pace.pause(FAST, SLOW, 0.0), FAST);
        assert!(!pace.rests(SLOW));
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds_and_is_slow_after_enough_quiet_looks(
            fast in 1_u64..5_000,
            slow in 1_u64..60_000,
            looks in prop::collection::vec((any::<bool>(), 0.0..1.0), 1..100),
        ) {
            let (fast, slow) = (Duration::from_millis(fast), Duration::from_millis(slow));
            let (mut pace, mut quiet) = (Pace::default(), 0);
            for (sign, random) in looks {
                if sign {
                    pace.sign();
                    quiet = 0;
                }
                let pause = pace.pause(fast, slow, random);
                prop_assert!(pause <= slow.max(fast) && pause >= fast.mul_f64(0.899), "{pause:?}");
                prop_assert!(quiet > 0 || pause <= fast, "after a sign {pause:?}");
                // 1.5 to the power of 30 is more than 60,000.
                prop_assert!(quiet < 30 || pause >= slow.mul_f64(0.899), "at rest {pause:?}");
                quiet += 1;
            }
        }
    }
}
