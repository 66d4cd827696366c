//! A memory budget, shared by the shards that a worker reads: how much each may hold of what is read and not finished.
//! Pure; holds no memory itself.
//!
//! Half of the budget is divided evenly: a shard's share. The other half is lent to shards that hold more than theirs, to
//! each up to an eighth of what is not lent to others.
//!
//! (A) No more is granted than the budget and one answer, unless shards wait in vain: then one answer for each of these.
//! (B) A shard that holds nothing waits only while more than half of the budget is lent, and not in vain: an answer greater
//! than its share is granted as soon as it is not, first come, first served. (C) A shard holds at most its share and a
//! sixteenth of the budget, or a single answer. (D) Within its share a shard is granted what it asks for,
//! whatever others hold, as long as no shard holds the greater share it had when fewer were read. (E) Answers that turn
//! out larger than expected count in full, and are granted to nobody else.

use std::collections::{BTreeMap, VecDeque};

/// Part of the unlent half that one shard may borrow.
const BORROWERS: u64 = 8;

/// Identifies a shard that is read, for as long as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountId(u64);

/// Bytes held by one shard, within its share and beyond it.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    own: u64,
    borrowed: u64,
}

impl Account {
    fn held(self) -> u64 {
        self.own + self.borrowed
    }
}

/// Bytes that a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Size of the smallest answer.
    pub(crate) least: u64,
    /// Size of the largest answer.
    pub(crate) most: u64,
}

#[derive(Debug)]
pub(crate) struct Budget {
    half: u64,
    accounts: BTreeMap<AccountId, Account>,
    next: u64,
    /// Sums over all accounts.
    own: u64,
    lent: u64,
    /// Shards that hold nothing and were refused, in order.
    waiting: VecDeque<AccountId>,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { half: bytes / 2, accounts: BTreeMap::new(), next: 0, own: 0, lent: 0, waiting: VecDeque::new() }
    }

    /// Another shard is read. The shares of the others shrink; what they hold stays.
    pub(crate) fn open(&mut self) -> AccountId {
        let id = AccountId(self.next);
        self.next += 1;
        self.accounts.insert(id, Account::default());
        id
    }

    /// The shard is read no more; what it held is free.
    pub(crate) fn close(&mut self, id: AccountId) {
        self.leave(id);
        let Account { own, borrowed } = self.accounts.remove(&id).unwrap_or_default();
        (self.own, self.lent) = (self.own - own, self.lent - borrowed);
    }

    /// Bytes held by all shards.
    pub(crate) fn held(&self) -> u64 {
        self.own + self.lent
    }

    /// Grants a read from `least` to `most` bytes; None: the shard has to wait, and try again when it is
    /// [`first`](Self::first) or has given something back.
    pub(crate) fn take(&mut self, id: AccountId, ask: Ask) -> Option<u64> {
        let account = self.account(id);
        let room = self.room_of_own(account) + self.room_to_borrow(account);
        // What has something to process may wait until a read is worth its call.
        let useful = (self.share() / 2).min(ask.most).max(ask.least);
        let is_next = self.waiting.front().is_none_or(|first| *first == id);
        let granted = match room >= useful {
            true => room.min(ask.most),
            false if account.held() == 0 && is_next && self.lent <= self.half => room.max(ask.least),
            false => {
                if account.held() == 0 && !self.waiting.contains(&id) {
                    self.waiting.push_back(id);
                }
                return None;
            }
        };
        self.leave(id);
        self.add(id, granted);
        Some(granted)
    }

    /// Grants the smallest answer to a shard that holds nothing, whatever others hold.
    pub(crate) fn take_late(&mut self, id: AccountId, ask: Ask) -> Option<u64> {
        if self.holds(id) {
            return None;
        }
        self.leave(id);
        self.add(id, ask.least);
        Some(ask.least)
    }

    pub(crate) fn holds(&self, id: AccountId) -> bool {
        self.account(id).held() > 0
    }

    /// The shard that has waited longest with nothing to process.
    pub(crate) fn first(&self) -> Option<AccountId> {
        self.waiting.front().copied()
    }

    /// The shard does not wait any more.
    pub(crate) fn leave(&mut self, id: AccountId) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    /// An answer takes so many bytes more than was granted.
    pub(crate) fn grow(&mut self, id: AccountId, bytes: u64) {
        self.add(id, bytes);
    }

    /// Ends to hold so many bytes: those that are borrowed first.
    pub(crate) fn give_back(&mut self, id: AccountId, bytes: u64) {
        let Some(account) = self.accounts.get_mut(&id) else { return };
        let returned = bytes.min(account.borrowed);
        let own = (bytes - returned).min(account.own);
        (account.borrowed, account.own) = (account.borrowed - returned, account.own - own);
        (self.lent, self.own) = (self.lent - returned, self.own - own);
    }

    /// Part of `bytes` that a shard could hold within its share, if it gave these back.
    pub(crate) fn within_share(&self, id: AccountId, bytes: u64) -> u64 {
        self.share().saturating_sub(self.account(id).held().saturating_sub(bytes)).min(bytes)
    }

    fn share(&self) -> u64 {
        self.half / (self.accounts.len() as u64).max(1)
    }

    fn account(&self, id: AccountId) -> Account {
        self.accounts.get(&id).copied().unwrap_or_default()
    }

    fn room_of_own(&self, account: Account) -> u64 {
        self.share().saturating_sub(account.own).min(self.half.saturating_sub(self.own))
    }

    fn room_to_borrow(&self, account: Account) -> u64 {
        let unlent = self.half.saturating_sub(self.lent);
        ((unlent + account.borrowed) / BORROWERS).saturating_sub(account.borrowed).min(unlent)
    }

    fn add(&mut self, id: AccountId, bytes: u64) {
        let own = self.room_of_own(self.account(id)).min(bytes);
        let Some(account) = self.accounts.get_mut(&id) else { return };
        (account.own, account.borrowed) = (account.own + own, account.borrowed + bytes - own);
        (self.own, self.lent) = (self.own + own, self.lent + bytes - own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUDGET: u64 = 1 << 20;
    const MAX_ANSWER: u64 = BUDGET / 4;

    #[derive(Debug, Clone)]
    enum Step {
        Open,
        Close(usize),
        Take(usize, u64, u64),
        /// An answer takes a part of what was granted, in percent.
        Settle(usize, u64),
        /// Finishes the oldest answer.
        Finish(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Open),
            1 => any::<usize>().prop_map(Step::Close),
            6 => (any::<usize>(), 1..MAX_ANSWER, 1..MAX_ANSWER).prop_map(|(shard, a, b)| Step::Take(shard, a.min(b), a.max(b))),
            2 => (any::<usize>(), 0_u64..=100).prop_map(|(shard, percent)| Step::Settle(shard, percent)),
            4 => any::<usize>().prop_map(Step::Finish),
        ]
    }

    /// Shards with the answers that they hold, oldest first.
    struct World {
        budget: Budget,
        shards: Vec<(AccountId, Vec<u64>)>,
    }

    impl World {
        fn of(shards: usize) -> Self {
            let mut budget = Budget::new(BUDGET);
            let shards = (0..shards).map(|_| (budget.open(), Vec::new())).collect();
            Self { budget, shards }
        }

        fn take(&mut self, shard: usize, ask: Ask) -> Option<u64> {
            let (id, answers) = &mut self.shards[shard];
            let granted = self.budget.take(*id, ask)?;
            answers.push(granted);
            Some(granted)
        }

        fn held(&self, shard: usize) -> u64 {
            self.shards[shard].1.iter().sum()
        }

        fn finish(&mut self, shard: usize) {
            let (id, answers) = &mut self.shards[shard];
            if !answers.is_empty() {
                self.budget.give_back(*id, answers.remove(0));
            }
        }

        fn apply(&mut self, step: Step) {
            let count = self.shards.len();
            match step {
                Step::Open => self.shards.push((self.budget.open(), Vec::new())),
                Step::Close(shard) if count > 1 => self.budget.close(self.shards.remove(shard % count).0),
                Step::Close(_) => {}
                Step::Take(shard, least, most) => drop(self.take(shard % count, Ask { least, most })),
                Step::Settle(shard, percent) => {
                    let (id, answers) = &mut self.shards[shard % count];
                    if let Some(last) = answers.last_mut() {
                        let actual = *last * percent / 100;
                        self.budget.give_back(*id, std::mem::replace(last, actual) - actual);
                    }
                }
                Step::Finish(shard) => self.finish(shard % count),
            }
        }
    }

    proptest! {
        #[test]
        fn grants_no_more_than_the_budget_and_one_answer(steps in prop::collection::vec(step(), 1..300)) {
            let mut world = World::of(1);
            for step in steps {
                world.apply(step);
                let held: u64 = (0..world.shards.len()).map(|shard| world.held(shard)).sum();
                prop_assert_eq!(world.budget.held(), held, "the sums agree");
                prop_assert!(held <= BUDGET + MAX_ANSWER, "{held}");
            }
        }

        #[test]
        fn a_shard_is_granted_its_share_whatever_others_hold(
            count in 2_usize..40,
            greed in prop::collection::vec((any::<usize>(), 1..MAX_ANSWER), 1..300),
        ) {
            let mut world = World::of(count);
            for (shard, least) in greed {
                // Shard 0 is at the tip; the others take all they can get, and finish nothing.
                world.take(1 + shard % (count - 1), Ask { least, most: MAX_ANSWER });
            }
            let share = BUDGET / 2 / count as u64;
            let granted = world.take(0, Ask { least: 1, most: share });
            prop_assert_eq!(granted, Some(share));
        }

        #[test]
        fn a_shard_holds_at_most_its_share_and_a_sixteenth_or_one_answer(
            count in 1_usize..40,
            greed in prop::collection::vec((any::<usize>(), 1..MAX_ANSWER), 1..300),
        ) {
            let mut world = World::of(count);
            for (shard, least) in greed {
                let shard = shard % count;
                world.take(shard, Ask { least, most: MAX_ANSWER });
                let most = BUDGET / 2 / count as u64 + BUDGET / 16;
                let is_single = world.shards[shard].1.len() == 1;
                prop_assert!(is_single || world.held(shard) <= most);
            }
        }

        #[test]
        fn every_shard_is_read_in_turn_although_some_hang_within_their_shares(
            count in 2_usize..40,
            least in 1..BUDGET,
        ) {
            let mut world = World::of(count);
            let share = BUDGET / 2 / count as u64;
            for hung in 1..count / 2 {
                world.take(hung, Ask { least: 1, most: share });
            }
            // The others ask for answers of any size, and finish when somebody has to wait.
            let healthy: Vec<usize> = (count / 2..count).chain([0]).collect();
            let mut rounds = 0;
            for shard in healthy.iter().chain(&healthy) {
                while world.take(*shard, Ask { least, most: least }).is_none() {
                    prop_assert!(rounds < 10 * count, "starved");
                    // Who is done wants more at once, and comes after who waits.
                    for holder in healthy.iter().copied().filter(|holder| *holder != *shard) {
                        world.finish(holder);
                        world.take(holder, Ask { least, most: least });
                    }
                    world.finish(*shard);
                    rounds += 1;
                }
            }
        }
    }

    #[test]
    fn an_answer_greater_than_expected_counts_in_full_and_holds_the_others_back() {
        let mut world = World::of(2);
        let (first, answers) = &mut world.shards[0];
        let granted = world.budget.take(*first, Ask { least: 1, most: 1000 }).unwrap();
        world.budget.grow(*first, 2 * BUDGET - granted);
        answers.push(2 * BUDGET);

        assert_eq!(world.budget.held(), 2 * BUDGET);
        assert_eq!(world.take(0, Ask { least: 1, most: 1000 }), None);
        assert_eq!(world.take(1, Ask { least: BUDGET, most: BUDGET }), None);
        assert_eq!(world.take(1, Ask { least: 1, most: BUDGET }), Some(BUDGET / 4), "its share");

        world.finish(0);
        world.finish(1);
        assert_eq!(world.budget.held(), 0);
        assert_eq!(world.take(1, Ask { least: BUDGET, most: BUDGET }), Some(BUDGET), "by itself");
    }

    #[test]
    fn a_shard_that_waits_in_vain_is_granted_one_answer() {
        let mut world = World::of(2);
        let ask = Ask { least: BUDGET, most: BUDGET };
        world.take(0, ask).unwrap();
        assert_eq!(world.take(1, ask), None, "all is lent");

        let (waiting, _) = world.shards[1];
        assert_eq!(world.budget.take_late(waiting, ask), Some(BUDGET));
        assert_eq!((world.budget.take_late(waiting, ask), world.budget.first()), (None, None), "one answer");
    }

    #[test]
    fn tells_what_a_shard_could_keep_within_its_share() {
        let mut world = World::of(2);
        let share = BUDGET / 4;
        let granted = world.take(0, Ask { least: 1, most: share + 100 }).unwrap();

        assert_eq!(world.budget.within_share(world.shards[0].0, granted), share);
        assert_eq!(world.budget.within_share(world.shards[0].0, 50), 0);
    }
}
