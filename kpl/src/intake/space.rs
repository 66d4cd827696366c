//! What the records that are accepted and not resolved may take up, over all streams of a producer, and who waits for it.
//!
//! - (A) The bounds hold for all streams together.
//! - (B) While several streams have a pipeline, none that has records takes more than it leaves free to the others.
//! - (C) Waiting puts are served in order: those of a stream until (B) allows the first of them, then the first ones of all
//!   streams until there is space. None that comes later is served before.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{Notify, Semaphore};

use crate::locked::locked;

/// Space for a number of records and for a number of bytes.
#[derive(Debug)]
pub(crate) struct Space {
    used: Mutex<Used>,
    most: Load,
    /// Whether (B) holds.
    has_shares: bool,
    /// Held by the put that is served next.
    turn: Semaphore,
    /// Notified whenever a put that waits may succeed.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Used {
    load: Load,
    /// Streams that have a pipeline.
    streams: usize,
    closed: bool,
    /// Nothing was taken since [`Space::hurry`] returned [`Hurry::All`].
    hurried: bool,
}

/// Records to be sent without waiting for company, as no company can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    /// None: all were hurried already.
    None,
    /// Those of the stream, which takes up its share.
    Stream,
    /// Those of all streams.
    All,
}

/// What one stream takes up of the space.
#[derive(Debug)]
pub(crate) struct Share {
    /// Changed under the lock of the space only.
    records: AtomicUsize,
    /// As `records`.
    bytes: AtomicUsize,
    /// Held by the put of the stream that is served next.
    turn: Semaphore,
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Share {
    pub(crate) fn new() -> Self {
        Self { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), turn: Semaphore::new(1) }
    }

    fn load(&self) -> Load {
        Load { records: self.records.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    fn set(&self, load: Load) {
        self.records.store(load.records, Relaxed);
        self.bytes.store(load.bytes, Relaxed);
    }
}

impl Space {
    pub(crate) fn new(max_records: usize, max_bytes: usize, has_shares: bool) -> Self {
        let most = Load { records: max_records, bytes: max_bytes };
        Self { used: Mutex::default(), most, has_shares, turn: Semaphore::new(1), freed: Notify::new() }
    }

    /// Waits for space for a record of `bytes`: tries `attempt`, which calls [`take`](Self::take), until it returns
    /// something. Calls `hurry` when the wait begins.
    ///
    /// # Cancellation
    /// Dropping the future ends the wait; the next one is served.
    pub(crate) async fn wait<T>(
        &self,
        share: &Share,
        bytes: usize,
        attempt: impl FnMut() -> Option<T>,
        hurry: impl Fn(),
    ) -> T {
        let _first_of_stream = share.turn.acquire().await.expect("nobody closes it");
        self.until(|| self.allows(share, bytes).then_some(()), &hurry).await;
        let _first_of_all = self.turn.acquire().await.expect("nobody closes it");
        self.until(attempt, hurry).await
    }

    async fn until<T>(&self, mut attempt: impl FnMut() -> Option<T>, hurry: impl Fn()) -> T {
        let mut waits = false;
        loop {
            let freed = self.freed.notified(); // before the attempt: what is freed since is not missed
            if let Some(found) = attempt() {
                return found;
            }
            if !std::mem::replace(&mut waits, true) {
                hurry();
            }
            freed.await;
        }
    }

    /// Takes space for a record of `bytes`, if there is enough, the stream may take it, and no put waits for it.
    pub(crate) fn try_take(&self, share: &Share, bytes: usize) -> bool {
        let free = |turn: &Semaphore| turn.available_permits() > 0;
        free(&self.turn) && free(&share.turn) && self.take_if(share, bytes, true)
    }

    /// Takes space for a record of `bytes`, if there is enough.
    pub(crate) fn take(&self, share: &Share, bytes: usize) -> bool {
        self.take_if(share, bytes, false)
    }

    fn take_if(&self, share: &Share, bytes: usize, of_share: bool) -> bool {
        let load = self.load_of(bytes);
        let mut used = locked(&self.used);
        let (all, own) = (used.load.with(load), share.load());
        if used.closed || !self.fits(all) || of_share && !self.leaves_enough(&used, own, load) {
            return false;
        }
        used.load = all;
        used.hurried = false;
        share.set(own.with(load));
        true
    }

    /// Whether the stream may take a record of `bytes`, be there space for it or not; also once closed.
    fn allows(&self, share: &Share, bytes: usize) -> bool {
        self.allows_of(&locked(&self.used), share, bytes)
    }

    fn allows_of(&self, used: &Used, share: &Share, bytes: usize) -> bool {
        used.closed || self.leaves_enough(used, share.load(), self.load_of(bytes))
    }

    /// Whose records keep one of `bytes` out that has just found no space. The caller hurries them.
    ///
    /// Records are put into their queue while the queue is locked that they take space under: who is returned
    /// [`Hurry::All`] for them finds them there.
    pub(crate) fn hurry(&self, share: &Share, bytes: usize) -> Hurry {
        let mut used = locked(&self.used);
        if used.hurried {
            return Hurry::None;
        }
        used.hurried = self.allows_of(&used, share, bytes);
        if used.hurried { Hurry::All } else { Hurry::Stream }
    }

    fn fits(&self, load: Load) -> bool {
        load.records <= self.most.records && load.bytes <= self.most.bytes
    }

    /// Rule (B), for a stream that takes up `own` and would take `load` as well.
    fn leaves_enough(&self, used: &Used, own: Load, load: Load) -> bool {
        let is_alone = !self.has_shares || used.streams <= 1 || own.records == 0;
        is_alone || self.fits(used.load.with(load).with(own).with(load))
    }

    /// What a record of `bytes` takes up. One that is larger than all of the space takes all of it.
    pub(crate) fn load_of(&self, bytes: usize) -> Load {
        Load { records: 1, bytes: bytes.min(self.most.bytes) }
    }

    /// Records of the stream are resolved.
    pub(crate) fn give_back(&self, share: &Share, load: Load) {
        if load.records == 0 {
            return;
        }
        let mut used = locked(&self.used);
        used.load = used.load.without(load);
        share.set(share.load().without(load));
        drop(used);
        self.freed.notify_waiters();
    }

    /// The records that are accepted and not resolved.
    pub(crate) fn used(&self) -> Load {
        locked(&self.used).load
    }

    /// One more stream has a pipeline.
    pub(crate) fn enter(&self) {
        locked(&self.used).streams += 1;
    }

    /// A stream has a pipeline no more.
    pub(crate) fn leave(&self) {
        locked(&self.used).streams -= 1;
        self.freed.notify_waiters();
    }

    /// Nothing of the stream will be resolved any more, nor put. Returns what it took up.
    pub(crate) fn vacate(&self, share: &Share) -> Load {
        let left = share.load();
        self.give_back(share, left);
        left
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.used).closed
    }

    /// No more records: who waits for space waits in vain.
    pub(crate) fn close(&self) {
        locked(&self.used).closed = true;
        self.freed.notify_waiters();
    }
}

impl Load {
    pub(crate) fn with(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    fn without(self, other: Self) -> Self {
        Self { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }
}

#[cfg(test)]
mod tests {
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
}
