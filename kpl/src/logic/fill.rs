//! Estimate of the content that fills a compressed Kinesis record. Pure.
//!
//! - (A) Without knowledge it is what fills one that is not compressed.
//! - (B) A worse ratio counts at once, a better one by and by: what fitted before is no proof that more will.
//! - (C) Contents far below the estimate say little of those that reach it, and count only if they did not fit.

/// Share of the limit that is aimed at: neighbours differ by few percent.
const AIM: f64 = 0.96;
/// Part of the difference by which the estimate follows a better ratio.
const FOLLOWS: f64 = 0.5;

/// Compressed length over that of the content, as expected of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Fill(Option<f64>);

impl Fill {
    /// Bytes of content that are expected to fill `max_bytes`; no more than `max_content`.
    pub(crate) fn content_bytes(self, max_bytes: usize, max_content: usize) -> usize {
        let Self(Some(share)) = self else { return max_bytes };
        let expected = max_bytes as f64 * AIM / share;
        (expected as usize).min(max_content).max(max_bytes)
    }

    /// Learns from a content that became `compressed`, when `estimate` was expected to fill `max_bytes`.
    pub(crate) fn learn(&mut self, content: usize, compressed: usize, estimate: usize, max_bytes: usize) {
        if compressed <= max_bytes && content < estimate / 2 {
            return;
        }
        let share = compressed.max(1) as f64 / content.max(1) as f64;
        self.0 = Some(match self.0 {
            Some(known) if share < known => known - (known - share) * FOLLOWS,
            _ => share,
        });
    }

    /// The more careful of two.
    pub(crate) fn max(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) => Self(Some(one.max(two))),
            (one, two) => Self(one.or(two)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 51_200;

    fn learned(shares: &[f64]) -> usize {
        let mut fill = Fill::default();
        for share in shares {
            let content = fill.content_bytes(MAX, 100 * MAX);
            fill.learn(content, (content as f64 * share) as usize, content, MAX);
        }
        fill.content_bytes(MAX, 100 * MAX)
    }

    #[test]
    fn fills_a_record_from_the_second_one_on() {
        assert_eq!(learned(&[]), MAX);
        let filled = learned(&[0.1]) as f64 * 0.1 / MAX as f64;
        assert!((0.95..=1.0).contains(&filled), "{filled}");
    }

    #[test]
    fn follows_a_worse_ratio_at_once_and_a_better_one_slowly() {
        assert_eq!(learned(&[0.1, 0.5]), learned(&[0.5]));
        let (worse, better) = (learned(&[0.5]), learned(&[0.5, 0.1]));
        assert!(better > worse && better < 2 * worse, "{worse} {better}");
    }

    #[test]
    fn a_small_content_says_nothing_unless_it_did_not_fit() {
        let mut fill = Fill::default();
        fill.learn(MAX, MAX / 10, MAX, MAX);
        let before = fill;

        fill.learn(1000, 900, 10 * MAX, MAX);
        assert_eq!(fill, before);
        fill.learn(2 * MAX, 2 * MAX, 10 * MAX, MAX);
        assert_eq!(fill.content_bytes(MAX, 100 * MAX), MAX);
    }

    proptest! {
        #[test]
        fn the_estimate_is_within_its_bounds_whatever_was_seen(
            seen in prop::collection::vec((1_usize..10_000_000, 0_usize..10_000_000), 0..20),
            max_content in 64_usize..10_000_000,
        ) {
            let mut fill = Fill::default();
            for (content, compressed) in seen {
                let estimate = fill.content_bytes(MAX, max_content);
                prop_assert!((MAX..=max_content.max(MAX)).contains(&estimate));
                fill.learn(content, compressed, estimate, MAX);
            }
        }
    }
}
