//! The lease protocol, explored exhaustively: three workers, two leases, a leader that assigns and hands off whatever and
//! whenever it likes (as one with stale scans might), lost answers, local expiry, crashes and restarts. Worker 2 follows
//! Java's rule of taking a lease without writing. Workers 0 and 1 may be two runs under one id.
//!
//! What a worker makes of a refused write is decided by the real [`judge`].

use stateright::{Checker as _, Model, Property};

use super::explored_lease::{Write, lease, worker_id};
use crate::logic::shard::{Refusal, judge};

const WORKERS: u8 = 3;
const JAVA: u8 = 2;

/// A lease in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Item {
    owner: Option<u8>,
    checkpoint_owner: Option<u8>,
    /// The worker that renewed it last; Java's does not say.
    instance: Option<u8>,
    counter: u8,
    checkpoint: u8,
    /// The highest checkpoint that ever stood here.
    highest: u8,
    /// The last fencing token given, where two runs share an id.
    token: u8,
}

/// A lease in a worker's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    owner: u8,
    handing_over: bool,
    counter: u8,
    /// The checkpoint in the table, as far as the worker knows.
    stored: u8,
    /// Up to here records are delivered and may be checkpointed.
    delivered: u8,
    token: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fleet {
    /// The workers' ids.
    ids: [u8; WORKERS as usize],
    items: Vec<Item>,
    /// For each worker, what it holds.
    held: Vec<Vec<Option<Held>>>,
    alive: [bool; WORKERS as usize],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Assign {
        lease: usize,
        to: u8,
    },
    HandOff {
        lease: usize,
        to: u8,
    },
    Take {
        worker: u8,
        lease: usize,
    },
    Deliver {
        worker: u8,
        lease: usize,
    },
    /// `answered` false: the write takes place, its answer is lost.
    Renew {
        worker: u8,
        lease: usize,
        answered: bool,
    },
    Checkpoint {
        worker: u8,
        lease: usize,
        to: u8,
        answered: bool,
    },
    GiveUp {
        worker: u8,
        lease: usize,
    },
    Expire {
        worker: u8,
        lease: usize,
    },
    Crash {
        worker: u8,
    },
    Restart {
        worker: u8,
    },
}

impl Item {
    /// The table's conditions for a worker's writes.
    fn accepts(&self, held: &Held, write: Write) -> bool {
        write.is_accepted(self.counter == held.counter, held.handing_over || self.checkpoint_owner.is_none())
    }

    fn apply(&mut self, worker: u8, write: Write) {
        self.counter += 1;
        match write {
            Write::Checkpoint(to) => {
                self.checkpoint = to;
                self.highest = self.highest.max(to);
            }
            Write::Renewal if worker != JAVA => self.instance = Some(worker),
            Write::Renewal => {}
        }
    }

    /// Last writer as this worker takes it: Java's does not look.
    fn known_instance(&self, worker: u8) -> Option<u8> {
        if worker == JAVA { self.instance } else { Some(worker) }
    }

    fn assign(&mut self, to: u8) {
        (self.owner, self.checkpoint_owner) = (Some(to), None);
        self.counter += 1;
    }
}

impl Fleet {
    fn new(leases: usize, ids: [u8; WORKERS as usize]) -> Self {
        let item = Item {
            owner: None,
            checkpoint_owner: None,
            instance: None,
            counter: 0,
            checkpoint: 0,
            highest: 0,
            token: 0,
        };
        let held = vec![vec![None; leases]; usize::from(WORKERS)];
        Self { ids, items: vec![item; leases], held, alive: [true; WORKERS as usize] }
    }

    fn id(&self, worker: u8) -> u8 {
        self.ids[usize::from(worker)]
    }

    fn held(&mut self, worker: u8, lease: usize) -> &mut Option<Held> {
        &mut self.held[usize::from(worker)][lease]
    }

    fn alive(&self) -> impl Iterator<Item = u8> + '_ {
        (0..WORKERS).filter(|worker| self.alive[usize::from(*worker)])
    }

    /// Writes as the lease's keeper does: again with what a refusal teaches; a lost lease is dropped.
    fn write(&mut self, worker: u8, index: usize, write: Write, answered: bool) {
        let me = self.id(worker);
        for _ in 0..3 {
            let Some(held) = *self.held(worker, index) else { return };
            let item = &mut self.items[index];
            if item.accepts(&held, write) {
                item.apply(worker, write);
                if answered && let Some(held) = self.held(worker, index) {
                    held.counter += 1;
                    if let Write::Checkpoint(to) = write {
                        held.stored = to;
                    }
                }
                return;
            }
            let checkpoint_owner = held.handing_over.then_some(me);
            let mine = lease(Some(held.owner), checkpoint_owner, item.known_instance(worker), held.counter.into());
            let found = lease(item.owner, item.checkpoint_owner, item.instance, item.counter.into());
            let (item, known) = (*item, self.held(worker, index));
            match judge(&worker_id(me), &mine, Some(Box::new(found))) {
                Refusal::Lost => {
                    *known = None;
                    return;
                }
                refusal => {
                    let owner = item.owner.unwrap_or(me);
                    let handing_over = item.checkpoint_owner.is_some();
                    let Item { counter, checkpoint: stored, .. } = item;
                    *known = Some(Held { owner, handing_over, counter, stored, ..held });
                    if !write.is_left(&refusal, stored) {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, worker: u8, index: usize) {
        let Item { counter, checkpoint, .. } = self.items[index];
        let (owner, handing_over) = (self.id(worker), false);
        *self.held(worker, index) =
            Some(Held { owner, handing_over, counter, stored: checkpoint, delivered: checkpoint, token: 0 });
        if worker == JAVA {
            return;
        }
        self.write(worker, index, Write::Renewal, true);
        if self.id(0) == self.id(1)
            && let Some(held) = &mut self.held[usize::from(worker)][index]
        {
            held.token = held.counter;
            self.items[index].token = self.items[index].token.max(held.counter);
        }
    }

    /// Passes the lease on as the worker knows it; whatever comes of it, the worker stops.
    fn give_up(&mut self, worker: u8, index: usize) {
        let Some(held) = self.held(worker, index).take() else { return };
        let me = self.id(worker);
        let item = &mut self.items[index];
        let known = (Some(held.owner), held.handing_over.then_some(me), item.known_instance(worker));
        if (item.owner, item.checkpoint_owner, item.instance) != known {
            return;
        }
        if held.handing_over {
            item.assign(held.owner);
        } else {
            item.owner = None;
            item.counter += 1;
        }
    }

    /// Leases held by workers whose next checkpoint the table would take.
    fn writers(&self, index: usize) -> impl Iterator<Item = (u8, Held)> + '_ {
        let held = move |worker: u8| Some((worker, self.held[usize::from(worker)][index]?));
        let accepts = move |(_, held): &(u8, Held)| self.items[index].accepts(held, Write::Checkpoint(0));
        self.alive().filter_map(held).filter(accepts)
    }

    /// True if a leader and a willing worker can bring the lease to life again.
    fn recovers(&self, index: usize) -> bool {
        let Some(worker) = self.alive().next() else { return true };
        let mut fleet = self.clone();
        *fleet.held(worker, index) = None;
        let id = fleet.id(worker);
        fleet.items[index].assign(id);
        fleet.take(worker, index);
        fleet.writers(index).count() == 1 && fleet.held(worker, index).is_some()
    }
}

struct Protocol {
    leases: usize,
    ids: [u8; WORKERS as usize],
    /// Bounds of the exploration.
    max_counter: u8,
    max_checkpoint: u8,
}

impl Model for Protocol {
    type State = Fleet;
    type Action = Step;

    fn init_states(&self) -> Vec<Fleet> {
        vec![Fleet::new(self.leases, self.ids)]
    }

    fn actions(&self, fleet: &Fleet, steps: &mut Vec<Step>) {
        for lease in 0..self.leases {
            let item = &fleet.items[lease];
            let mut ids = self.ids.to_vec();
            ids.dedup();
            for to in ids {
                steps.push(Step::Assign { lease, to });
                if item.checkpoint_owner.is_none() && item.owner.is_some_and(|owner| owner != to) {
                    steps.push(Step::HandOff { lease, to });
                }
            }
            for worker in fleet.alive() {
                let Some(held) = fleet.held[usize::from(worker)][lease] else {
                    if item.owner == Some(fleet.id(worker)) && item.checkpoint_owner.is_none() {
                        steps.push(Step::Take { worker, lease });
                    }
                    continue;
                };
                steps.extend([Step::GiveUp { worker, lease }, Step::Expire { worker, lease }]);
                if held.delivered < self.max_checkpoint {
                    steps.push(Step::Deliver { worker, lease });
                }
                for answered in [true, false] {
                    steps.push(Step::Renew { worker, lease, answered });
                    let news = held.stored + 1..=held.delivered;
                    steps.extend(news.map(|to| Step::Checkpoint { worker, lease, to, answered }));
                }
            }
        }
        steps.extend((0..WORKERS).map(|worker| match fleet.alive[usize::from(worker)] {
            true => Step::Crash { worker },
            false => Step::Restart { worker },
        }));
    }

    fn next_state(&self, fleet: &Fleet, step: Step) -> Option<Fleet> {
        let mut fleet = fleet.clone();
        match step {
            Step::Assign { lease, to } => fleet.items[lease].assign(to),
            Step::HandOff { lease, to } => {
                let item = &mut fleet.items[lease];
                item.checkpoint_owner = item.owner.replace(to);
            }
            Step::Take { worker, lease } => fleet.take(worker, lease),
            Step::Deliver { worker, lease } => fleet.held(worker, lease).as_mut()?.delivered += 1,
            Step::Renew { worker, lease, answered } => fleet.write(worker, lease, Write::Renewal, answered),
            Step::Checkpoint { worker, lease, to, answered } => {
                fleet.write(worker, lease, Write::Checkpoint(to), answered);
            }
            Step::GiveUp { worker, lease } => fleet.give_up(worker, lease),
            Step::Expire { worker, lease } => *fleet.held(worker, lease) = None,
            Step::Crash { worker } => {
                fleet.alive[usize::from(worker)] = false;
                fleet.held[usize::from(worker)].fill(None);
            }
            Step::Restart { worker } => fleet.alive[usize::from(worker)] = true,
        }
        Some(fleet)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one worker can checkpoint a lease", |protocol: &Self, fleet: &Fleet| {
                (0..protocol.leases).all(|lease| fleet.writers(lease).count() <= 1)
            }),
            Property::always("nobody checkpoints with an older token", |protocol: &Self, fleet: &Fleet| {
                let is_last =
                    |lease: usize, (worker, held): (u8, Held)| worker == JAVA || held.token == fleet.items[lease].token;
                (0..protocol.leases).all(|lease| fleet.writers(lease).all(|writer| is_last(lease, writer)))
            }),
            Property::always("a checkpoint never moves back", |_: &Self, fleet: &Fleet| {
                fleet.items.iter().all(|item| item.checkpoint == item.highest)
            }),
            Property::always("a lease can always be brought to life again", |protocol: &Self, fleet: &Fleet| {
                (0..protocol.leases).all(|lease| fleet.recovers(lease))
            }),
            Property::sometimes("a worker checkpoints during a handoff", |_: &Self, fleet: &Fleet| {
                fleet.items[0].checkpoint_owner.is_some() && fleet.items[0].checkpoint > 0
            }),
        ]
    }

    fn within_boundary(&self, fleet: &Fleet) -> bool {
        fleet.items.iter().all(|item| item.counter <= self.max_counter)
    }
}

#[test]
fn one_lease_is_safe_and_recovers_in_every_interleaving() {
    let protocol = Protocol { leases: 1, ids: [0, 1, JAVA], max_counter: 6, max_checkpoint: 2 };
    let checker = protocol.checker().threads(2).spawn_bfs().join();

    println!("one lease: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn two_leases_are_safe_and_recover_in_every_interleaving() {
    let protocol = Protocol { leases: 2, ids: [0, 1, JAVA], max_counter: 3, max_checkpoint: 1 };
    let checker = protocol.checker().threads(2).spawn_bfs().join();

    println!("two leases: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn keeps_two_runs_under_one_id_apart_in_every_interleaving() {
    let protocol = Protocol { leases: 1, ids: [0, 0, JAVA], max_counter: 5, max_checkpoint: 1 };
    let checker = protocol.checker().threads(2).spawn_bfs().join();

    println!("two runs under one id: {} states", checker.unique_state_count());
    checker.assert_properties();
}
