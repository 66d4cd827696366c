use std::cell::Cell;

use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;

fn space(records: usize, bytes: usize) -> Space {
    Space::new(records, bytes, true)
}

/// Waits for space; returns whether there was, or the space was closed.
async fn reserve(space: &Space, share: &Share, bytes: usize) -> bool {
    let attempt = || match space.take(share, bytes) {
        false if !space.is_closed() => None,
        taken => Some(taken),
    };
    space.wait(share, bytes, attempt, || ()).await
}

#[test]
fn space_is_used_until_it_is_given_back() {
    let (space, share) = (space(2, 100), Share::new());

    assert!(space.try_take(&share, 60) && !space.try_take(&share, 41) && space.try_take(&share, 40));
    assert!(!space.try_take(&share, 0), "two records");
    space.give_back(&share, space.load_of(40));
    assert_eq!(space.used(), Load { records: 1, bytes: 60 });

    assert_eq!(space.vacate(&share), Load { records: 1, bytes: 60 });
    assert_eq!(space.used(), Load::default());
}

#[test]
fn a_record_larger_than_all_of_the_space_takes_all_of_it() {
    let (space, share) = (space(2, 100), Share::new());

    assert!(space.try_take(&share, 1000) && !space.try_take(&share, 1));
    space.give_back(&share, space.load_of(1000));

    assert_eq!(space.used(), Load::default());
}

#[test]
fn takes_space_for_the_first_records_of_a_chunk() {
    let (space, shares) = (space(5, 100), [Share::new(), Share::new()]);
    let sizes = |bytes: [usize; 3]| bytes.into_iter();

    assert_eq!(space.try_take_first(&shares[0], sizes([40, 50, 11])), 2, "by bytes");
    assert_eq!(space.try_take_first(&shares[0], sizes([1, 1, 1])), 3);
    assert_eq!(space.try_take_first(&shares[0], sizes([1, 1, 1])), 0, "by records");
    assert_eq!((space.vacate(&shares[0]), space.used()), (Load { records: 5, bytes: 93 }, Load::default()));
    (0..2).for_each(|_| space.enter());
    assert_eq!(space.try_take_first(&shares[0], sizes([40, 11, 1])), 1, "no more than it leaves free");
    assert_eq!(
        space.take_first(&shares[0], sizes([20, 1, 1])),
        1,
        "the first has waited for its share, the others have not"
    );
    space.close();
    assert_eq!(space.take_first(&shares[1], sizes([1, 1, 1])), 0);
}

#[test]
fn serves_a_large_request_before_later_small_ones() {
    let (space, share, other) = (space(10, 100), Share::new(), Share::new());
    assert!(space.try_take(&share, 50));

    let mut much = Box::pin(reserve(&space, &share, 80));
    assert!(much.as_mut().now_or_never().is_none());
    assert!(!space.try_take(&share, 10) && !space.try_take(&other, 10), "somebody waits");
    space.give_back(&share, space.load_of(50));

    assert!(much.now_or_never().expect("there is space now"));
    assert_eq!(space.used(), Load { records: 1, bytes: 80 });
}

#[test]
fn lets_others_pass_a_request_that_was_given_up() {
    let (space, share) = (space(10, 100), Share::new());
    assert!(space.try_take(&share, 100));
    let mut first = Box::pin(reserve(&space, &share, 80));
    assert!(first.as_mut().now_or_never().is_none());
    let mut second = Box::pin(reserve(&space, &share, 10));
    assert!(second.as_mut().now_or_never().is_none());

    drop(first);
    space.give_back(&share, space.load_of(100));

    assert!(second.now_or_never().expect("there is space now"));
}

#[test]
fn refuses_waiting_requests_when_the_space_closes() {
    let (space, share) = (space(1, 100), Share::new());
    assert!(space.try_take(&share, 1));
    let (mut first, mut second) = (Box::pin(reserve(&space, &share, 1)), Box::pin(reserve(&space, &share, 1)));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());

    space.close();

    assert!(!first.now_or_never().expect("woken") && !second.now_or_never().expect("woken"));
}

#[test]
fn a_wait_hurries_once_and_only_if_there_is_one() {
    let (space, share, hurried) = (space(1, 100), Share::new(), Cell::new(0));
    let wait = || space.wait(&share, 1, || space.take(&share, 1).then_some(()), || hurried.set(hurried.get() + 1));

    wait().now_or_never().expect("there is space");
    assert_eq!(hurried.get(), 0);
    let mut waiting = Box::pin(wait());
    for _ in 0..3 {
        assert!(waiting.as_mut().now_or_never().is_none());
        space.freed.notify_waiters();
    }
    assert_eq!(hurried.get(), 1);
}

#[test]
fn all_streams_are_hurried_once_until_more_is_taken() {
    let (space, shares) = (space(10, 100), [Share::new(), Share::new()]);
    (0..2).for_each(|_| space.enter());
    assert!((0..5).all(|_| space.try_take(&shares[0], 1)));

    assert_eq!([space.hurry(&shares[0], 1), space.hurry(&shares[0], 1)], [Hurry::Stream, Hurry::Stream]);
    assert_eq!([space.hurry(&shares[1], 1), space.hurry(&shares[1], 1)], [Hurry::All, Hurry::None]);
    assert!(!space.try_take(&shares[0], 1));
    assert_eq!(space.hurry(&shares[0], 1), Hurry::None);
    assert!(space.try_take(&shares[1], 1));
    assert_eq!([space.hurry(&shares[1], 1), space.hurry(&shares[0], 1)], [Hurry::All, Hurry::None]);
}

#[test]
fn gives_one_stream_no_more_space_than_it_leaves_to_others() {
    let (space, shares) = (space(1000, 100), [Share::new(), Share::new(), Share::new()]);
    let fill = |share| (0..).take_while(|_| space.try_take(share, 1)).count();

    space.enter();
    assert_eq!(fill(&shares[0]), 100, "all of it while it is the only one");
    space.vacate(&shares[0]);
    space.enter();

    assert_eq!([fill(&shares[0]), fill(&shares[1]), fill(&shares[2])], [50, 25, 12]);
    space.vacate(&shares[2]);
    space.leave();
    space.leave();
    assert_eq!(fill(&shares[1]), 25, "up to all again");
}

#[test]
fn gives_all_space_to_any_stream_without_shares() {
    let (space, share) = (Space::new(1000, 100, false), Share::new());
    space.enter();
    space.enter();

    assert_eq!((0..).take_while(|_| space.try_take(&share, 1)).count(), 100);
}

#[test]
fn a_stream_without_records_takes_any_that_fits() {
    let (space, shares) = (space(10, 100), [Share::new(), Share::new()]);
    space.enter();
    space.enter();

    assert!(space.try_take(&shares[0], 60) && !space.try_take(&shares[0], 1));
    assert!(space.try_take(&shares[1], 40));
}

#[test]
fn lets_others_pass_a_request_that_waits_for_its_streams_share() {
    let (space, stuck, well) = (space(1000, 100), Share::new(), Share::new());
    space.enter();
    space.enter();
    assert!((0..50).all(|_| space.try_take(&stuck, 1)));
    let mut waiting = Box::pin(reserve(&space, &stuck, 1));
    assert!(waiting.as_mut().now_or_never().is_none());

    for _ in 0..1000 {
        assert!(space.try_take(&well, 20));
        assert!(reserve(&space, &well, 5).now_or_never().expect("there is space"));
        space.vacate(&well);
    }

    assert!(waiting.as_mut().now_or_never().is_none() && !space.try_take(&stuck, 0));
    space.give_back(&stuck, space.load_of(1));
    assert!(waiting.now_or_never().expect("there is space now"));
}

proptest! {
    #[test]
    fn bounds_hold_and_every_put_is_served_in_the_end(
        steps in prop::collection::vec((0..3_usize, 1..120_usize, any::<bool>()), 1..100), has_shares: bool,
    ) {
        let space = Space::new(8, 100, has_shares);
        let shares = [Share::new(), Share::new(), Share::new()];
        (0..3).for_each(|_| space.enter());
        let mut held: Vec<(usize, usize)> = Vec::new();
        let mut waiting = Vec::new();
        for (stream, bytes, puts) in steps {
            if puts {
                waiting.push((stream, bytes, Box::pin(reserve(&space, &shares[stream], bytes))));
            } else if let Some((stream, bytes)) = held.pop() {
                space.give_back(&shares[stream], space.load_of(bytes));
            }
            waiting.retain_mut(|(stream, bytes, put)| match put.as_mut().now_or_never() {
                Some(taken) => {
                    assert!(taken);
                    held.push((*stream, *bytes));
                    false
                }
                None => true,
            });
            let used = space.used();
            prop_assert!(used.records <= 8 && used.bytes <= 100 && used.records == held.len());
        }
        while !waiting.is_empty() {
            let (stream, bytes) = held.pop().expect("nobody waits while nothing is taken up");
            space.give_back(&shares[stream], space.load_of(bytes));
            for _ in 0..waiting.len() {
                waiting.retain_mut(|(stream, bytes, put)| match put.as_mut().now_or_never() {
                    Some(_) => {
                        held.push((*stream, *bytes));
                        false
                    }
                    None => true,
                });
            }
        }
    }
}
