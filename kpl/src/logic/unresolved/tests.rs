use proptest::prelude::*;

use super::*;
use crate::testing::start;

fn put(unresolved: &mut Unresolved, records: usize) {
    (0..records).for_each(|_| {
        unresolved.put(start());
    });
}

#[test]
fn a_flush_waits_for_earlier_records_only() {
    let mut unresolved = Unresolved::new();
    put(&mut unresolved, 2); // 0 and 1
    unresolved.flush();
    put(&mut unresolved, 1); // 2

    unresolved.resolved([1].into_iter());
    assert_eq!(unresolved.lowest(), 0);
    unresolved.resolved([0].into_iter());
    assert_eq!((unresolved.lowest(), unresolved.records), (2, 1));
}

#[test]
fn flushes_complete_in_order() {
    let mut unresolved = Unresolved::new();
    put(&mut unresolved, 1); // 0
    unresolved.flush();
    put(&mut unresolved, 1); // 1
    unresolved.flush();
    unresolved.flush();

    unresolved.resolved([1].into_iter());
    assert_eq!(unresolved.lowest(), 0);
    unresolved.resolved([0].into_iter());
    assert_eq!(unresolved.lowest(), 2);
}

#[test]
fn a_flush_of_nothing_is_complete_at_once() {
    let mut unresolved = Unresolved::new();

    unresolved.flush();

    assert_eq!(unresolved.lowest(), unresolved.next);
}

#[test]
fn a_flush_of_the_records_of_the_one_before_takes_no_space() {
    let mut unresolved = Unresolved::new();
    put(&mut unresolved, 1);

    (0..1000).for_each(|_| unresolved.flush());

    assert_eq!(unresolved.spans.len(), 1);
}

#[test]
fn flushes_take_no_more_space_than_records_that_are_unresolved() {
    let mut unresolved = Unresolved::new();
    put(&mut unresolved, 1); // 0

    for number in 1..1000 {
        put(&mut unresolved, 1);
        unresolved.flush();
        unresolved.resolved([number].into_iter());
    }

    assert!(unresolved.spans.len() <= CROWD, "{} spans", unresolved.spans.len());
    assert_eq!(unresolved.records, 1);
}

#[test]
fn the_oldest_unresolved_record_counts() {
    let (mut unresolved, now) = (Unresolved::new(), start());
    let at = |ms: u64| now + Duration::from_millis(ms);

    assert_eq!(unresolved.oldest(), None);
    (0..4).for_each(|n| {
        unresolved.put(at(n * 20));
    });
    unresolved.resolved([1].into_iter());
    assert_eq!(unresolved.oldest(), Some(at(0)));
    unresolved.resolved([0].into_iter());
    assert_eq!(unresolved.oldest(), Some(at(40)));
    unresolved.resolved([2, 3].into_iter());
    assert_eq!(unresolved.oldest(), None);
}

#[test]
fn a_record_that_is_stuck_for_long_costs_no_more() {
    let (mut unresolved, now) = (Unresolved::new(), start());
    unresolved.put(now);

    for n in 1..100_000 {
        unresolved.put(now + Duration::from_millis(20 * n));
        unresolved.resolved([n].into_iter());
    }

    assert!(unresolved.spans.len() <= CROWD);
    assert_eq!(unresolved.oldest(), Some(now));
}

#[test]
fn ages_are_fine_again_soon_after_a_long_outage() {
    let (mut unresolved, began) = (Unresolved::new(), start());
    let outage = 3600 * 20;
    (0..outage).for_each(|n| {
        unresolved.put(began + Duration::from_millis(50 * n));
    });
    let well = began + Duration::from_millis(50 * outage);
    assert_eq!(unresolved.oldest(), Some(began));
    assert!(unresolved.spans.len() <= 2 * JOIN_AT);

    (0..outage).for_each(|n| unresolved.resolved([n].into_iter()));
    // 200 records a second, and each is resolved after 20 ms: the stream never has none.
    for n in 0..2000 {
        let now = well + Duration::from_millis(5 * n);
        unresolved.put(now);
        if n >= 4 {
            unresolved.resolved([outage + n - 4].into_iter());
            let age = now - unresolved.oldest().expect("there are records");
            assert!(n < 10 || age <= Duration::from_millis(30), "{age:?} after {n}");
        }
    }
}

#[test]
fn an_age_of_a_backlog_is_hardly_too_great() {
    let (mut unresolved, began) = (Unresolved::new(), start());
    let put = (0..360_000_u64).map(|n| unresolved.put(began + Duration::from_millis(10 * n))).last();
    let now = began + Duration::from_millis(10 * put.expect("some were put"));

    // Of an hour, the older half is resolved one after the other.
    for n in 0..180_000_u64 {
        unresolved.resolved([n].into_iter());
        let found = now - unresolved.oldest().expect("some are left");
        let truly = now - began - Duration::from_millis(10 * (n + 1));
        assert!(found >= truly && found - truly <= (truly / 64).max(MIN_WIDTH), "{found:?} for {truly:?}");
    }
}

proptest! {
    #[test]
    fn flushes_complete_as_if_each_record_were_watched(
        steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>(), 0..30_u64), 1..300),
    ) {
        let (mut found, mut next, mut left, mut flushes) = (Unresolved::new(), 0, Vec::new(), VecDeque::new());
        let (mut now, mut max) = (start(), 0);
        for (step, index, ms) in steps {
            now += Duration::from_millis(ms);
            match step {
                0 => {
                    prop_assert_eq!(found.put(now), next);
                    left.push(next);
                    next += 1;
                }
                1 => {
                    found.flush();
                    flushes.push_back(next);
                }
                _ if left.is_empty() => {}
                _ => found.resolved([left.remove(index.index(left.len()))].into_iter()),
            }
            let is_complete = |flush: &u64| left.first().is_none_or(|first| flush <= first);
            prop_assert!(left.first().is_none_or(|first| found.lowest() <= *first));
            while flushes.pop_front_if(|flush| *flush <= found.lowest()).is_some() {}
            prop_assert!(!flushes.front().is_some_and(is_complete));
            prop_assert_eq!(found.records, left.len());
            max = max.max(left.len());
            prop_assert!(found.spans.len() <= CROWD.max(2 * max + 2));
        }
    }

    #[test]
    fn ages_are_never_too_small(order in Just((0..2000_u64).collect::<Vec<_>>()).prop_shuffle(), gap_ms in 0..50_u64) {
        let (mut unresolved, now) = (Unresolved::new(), start());
        let arrived = |number: u64| now + Duration::from_millis(number * gap_ms);
        (0..2000).for_each(|number| { unresolved.put(arrived(number)); });

        let mut left: std::collections::BTreeSet<_> = (0..2000).collect();
        for number in order {
            unresolved.resolved([number].into_iter());
            left.remove(&number);
            let oldest = left.first().map(|number| arrived(*number));
            prop_assert_eq!(unresolved.oldest().is_some(), oldest.is_some());
            prop_assert!(unresolved.oldest() <= oldest);
        }
    }
}
