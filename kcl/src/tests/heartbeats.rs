//! The protocol of heartbeats, explored in every order of its steps up to a number: workers 0 and 1 live by one heartbeat for all their leases while the
//! lock says so, worker 2 follows Java's rules: it takes a lease without writing, renews each by its counter, leads without
//! fences, and its lock does not say how leases are renewed.
//!
//! There is no time in it: a worker that does nothing for long is one that was paused. What time guarantees is an
//! assumption of a step, named there. What a worker makes of a refused write is decided by the real [`judge`].

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::explored_lease::{Write, lease, worker_id};
use crate::{
    logic::shard::{Refusal, judge},
    model::Regime,
};

const WORKERS: u8 = 3;
const JAVA: u8 = 2;
const OURS: std::ops::Range<u8> = 0..JAVA;

/// A lease in the table. Of its counter only the distance to what workers know matters: see [`Held::behind`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Item {
    owner: Option<u8>,
    checkpoint_owner: Option<u8>,
    instance: Option<u8>,
    checkpoint: u8,
}

/// A counter that is so far behind is as good as any older one.
const FAR_BEHIND: u8 = 2;

/// A lease in a worker's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    owner: u8,
    handing_over: bool,
    /// The table's counter, less the known one.
    behind: u8,
    stored: u8,
    delivered: u8,
    /// Written since the worker may rely on its heartbeat.
    relied: bool,
    /// A leader of ours took it away because its worker was silent. Nobody knows but the explorer.
    seized: bool,
}

/// A worker's item. Of the numbers of heartbeats only this matters, as nobody else writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Member {
    /// One more than the worker knows of: an answer was lost.
    is_ahead: bool,
    fenced: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// It may rely on its heartbeat, by its last look at the lock.
    relies: bool,
    held: Vec<Option<Held>>,
}

/// A leader's decision by an earlier scan, which it writes if the lease is as it saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seizure {
    lease: usize,
    to: u8,
    /// By the silence of a worker that lived by its heartbeat.
    by_silence: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fleet {
    items: Vec<Item>,
    members: Vec<Member>,
    workers: Vec<Worker>,
    leader: Option<u8>,
    regime: Regime,
    seizure: Option<Seizure>,
    /// A worker's heartbeat was accepted while it relied on it for a lease taken from it.
    deceived: bool,
    /// A checkpoint moved back.
    moved_back: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Seizes the lock, or takes it over when it was passed on.
    Lead(u8),
    /// The lock is deleted, by its owner or a person.
    Unlock,
    Turn(Regime),
    Look(u8),
    /// `answered` false: the write takes place, its answer is lost.
    Beat {
        worker: u8,
        answered: bool,
    },
    Fence(u8),
    Plan {
        lease: usize,
        to: u8,
    },
    Seize,
    /// Java's leader, by counters it saw once.
    Assign {
        lease: usize,
        to: u8,
    },
    HandOff {
        lease: usize,
        to: u8,
    },
    /// A person or a tool takes the lease away from everybody.
    Reset {
        lease: usize,
    },
    Take {
        worker: u8,
        lease: usize,
    },
    Deliver {
        worker: u8,
        lease: usize,
    },
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
    /// Its looks at the lock fail. With the expiry of its leases this is a crash: who is dead does nothing from then on.
    Lapse(u8),
}

impl Item {
    fn actual_owner(&self) -> Option<u8> {
        self.checkpoint_owner.or(self.owner)
    }

    fn accepts(&self, protocol: &Protocol, held: &Held, write: Write) -> bool {
        let knows_counter = held.behind == 0 || !protocol.writes_by_counter;
        write.is_accepted(knows_counter, held.handing_over || self.checkpoint_owner.is_none())
    }

    fn known_instance(&self, worker: u8) -> Option<u8> {
        if worker == JAVA { self.instance } else { Some(worker) }
    }
}

impl Fleet {
    fn new(leases: usize) -> Self {
        let worker = Worker { held: vec![None; leases], ..Worker::default() };
        Self {
            items: vec![Item::default(); leases],
            members: vec![Member::default(); usize::from(WORKERS)],
            workers: vec![worker; usize::from(WORKERS)],
            leader: None,
            regime: Regime::EachLease,
            seizure: None,
            deceived: false,
            moved_back: false,
        }
    }

    /// Led by worker 1, with heartbeats, when worker 0 has all leases.
    fn begun(mut self) -> Self {
        (self.leader, self.regime) = (Some(1), Regime::Heartbeats);
        self.items.fill(Item { owner: Some(0), instance: Some(0), ..Item::default() });
        let held =
            Held { owner: 0, handing_over: false, behind: 0, stored: 0, delivered: 1, relied: true, seized: false };
        let worker = self.worker_mut(0);
        worker.relies = true;
        worker.held.fill(Some(held));
        self
    }

    fn worker(&self, worker: u8) -> &Worker {
        &self.workers[usize::from(worker)]
    }

    fn worker_mut(&mut self, worker: u8) -> &mut Worker {
        &mut self.workers[usize::from(worker)]
    }

    fn held(&mut self, worker: u8, lease: usize) -> &mut Option<Held> {
        &mut self.worker_mut(worker).held[lease]
    }

    /// The lease's counter is raised.
    fn count(&mut self, protocol: &Protocol, lease: usize) {
        let held = self.workers.iter_mut().filter_map(|worker| worker.held[lease].as_mut());
        held.for_each(|held| held.behind = (held.behind + 1).min(FAR_BEHIND));
        self.seizure.take_if(|seizure| seizure.lease == lease && protocol.seizes_by_counter);
    }

    /// Java leaves the instance as it is.
    fn assign(&mut self, protocol: &Protocol, lease: usize, to: Option<u8>, by_java: bool) {
        let item = &mut self.items[lease];
        if to.is_some() && to != item.actual_owner() && !by_java {
            item.instance = None;
        }
        (item.owner, item.checkpoint_owner) = (to, None);
        self.count(protocol, lease);
        self.seizure.take_if(|seizure| seizure.lease == lease);
    }

    fn is_ours(leader: Option<u8>) -> bool {
        leader.is_some_and(|leader| OURS.contains(&leader))
    }

    /// Writes as the lease's keeper does.
    fn write(&mut self, protocol: &Protocol, worker: u8, index: usize, write: Write, answered: bool) {
        for _ in 0..3 {
            let Some(held) = *self.held(worker, index) else { return };
            let item = self.items[index];
            if item.accepts(protocol, &held, write) {
                return self.apply(protocol, worker, index, write, answered);
            }
            // Any two numbers so far apart.
            let (counter, known) = (u64::from(FAR_BEHIND), u64::from(FAR_BEHIND - held.behind));
            let checkpoint_owner = held.handing_over.then_some(worker);
            let mine = lease(Some(held.owner), checkpoint_owner, item.known_instance(worker), known);
            let found = lease(item.owner, item.checkpoint_owner, item.instance, counter);
            let verdict = judge(&worker_id(worker), &mine, Some(Box::new(found)));
            if verdict == Refusal::Lost {
                *self.held(worker, index) = None;
                return;
            }
            let (owner, handing_over) = (item.owner.unwrap_or(worker), item.checkpoint_owner.is_some());
            let stored = item.checkpoint;
            *self.held(worker, index) = Some(Held { owner, handing_over, behind: 0, stored, ..held });
            if !write.is_left(&verdict, stored) {
                return;
            }
        }
    }

    fn apply(&mut self, protocol: &Protocol, worker: u8, index: usize, write: Write, answered: bool) {
        self.count(protocol, index);
        let (relies, item) = (self.worker(worker).relies, &mut self.items[index]);
        match write {
            Write::Checkpoint(to) => {
                self.moved_back |= to < item.checkpoint;
                item.checkpoint = to;
            }
            Write::Renewal if worker != JAVA => item.instance = Some(worker),
            Write::Renewal => {}
        }
        if let Some(held) = self.held(worker, index).as_mut().filter(|_| answered) {
            held.behind = 0;
            match write {
                Write::Checkpoint(to) => held.stored = to,
                Write::Renewal => held.relied = relies,
            }
        }
    }

    fn take(&mut self, protocol: &Protocol, worker: u8, index: usize) {
        let (stored, owner) = (self.items[index].checkpoint, worker);
        let (relied, seized, handing_over) = (false, false, false);
        *self.held(worker, index) =
            Some(Held { owner, handing_over, behind: 0, stored, delivered: stored, relied, seized });
        if worker != JAVA {
            self.write(protocol, worker, index, Write::Renewal, true);
        }
    }

    fn give_up(&mut self, protocol: &Protocol, worker: u8, index: usize) {
        let Some(held) = self.held(worker, index).take() else { return };
        let item = self.items[index];
        let known = (Some(held.owner), held.handing_over.then_some(worker), item.known_instance(worker));
        if (item.owner, item.checkpoint_owner, item.instance) == known {
            self.assign(protocol, index, held.handing_over.then_some(held.owner), worker == JAVA);
        }
    }

    fn lapse(&mut self, worker: u8) {
        let worker = self.worker_mut(worker);
        worker.relies = false;
        worker.held.iter_mut().flatten().for_each(|held| held.relied = false);
    }

    fn drop_all(&mut self, worker: u8) {
        self.lapse(worker);
        self.worker_mut(worker).held.fill(None);
    }

    /// Conditional on the worker's own last beat; a refused one drops every lease and is written again.
    fn beat(&mut self, worker: u8, answered: bool) {
        let Member { is_ahead, fenced } = self.members[usize::from(worker)];
        if !fenced && !is_ahead {
            let mut held = self.worker(worker).held.iter().flatten();
            self.deceived |= held.any(|held| held.relied && held.seized);
        } else if fenced {
            self.drop_all(worker);
        }
        // Otherwise its own heartbeat, whose answer was lost.
        self.members[usize::from(worker)] = Member { is_ahead: !answered, fenced: false };
    }

    /// Reason for which this leader may take the lease: a worker's silence, which needs a fence, or an unchanged counter.
    fn seizure(&self, protocol: &Protocol, lease: usize, to: u8) -> Option<Seizure> {
        let item = self.items[lease];
        let lives_by_beats = |worker: &u8| OURS.contains(worker) && item.instance == Some(*worker);
        let silent = item.actual_owner().filter(|owner| self.regime != Regime::EachLease && lives_by_beats(owner));
        let is_fenced = |worker: u8| self.members[usize::from(worker)].fenced || !protocol.fences;
        silent.is_none_or(is_fenced).then_some(Seizure { lease, to, by_silence: silent.is_some() })
    }

    fn seize(&mut self, protocol: &Protocol) -> Option<()> {
        let Seizure { lease, to, by_silence } = self.seizure.take()?;
        let owner = self.items[lease].actual_owner();
        // One that is behind finds out by a look: others changed the lease before.
        if let Some(held) = owner.and_then(|owner| self.held(owner, lease).as_mut()) {
            held.seized |= by_silence || held.behind == 0;
        }
        self.assign(protocol, lease, Some(to), false);
        Some(())
    }

    fn writers(&self, protocol: &Protocol, index: usize) -> usize {
        let held = (0..WORKERS).filter_map(|worker| self.worker(worker).held[index]);
        held.filter(|held| self.items[index].accepts(protocol, held, Write::Checkpoint(0))).count()
    }

    /// True if a leader and this worker alone can bring the lease to life again, by heartbeats or singly.
    fn recovers(&self, protocol: &Protocol, index: usize, worker: u8) -> bool {
        let mut fleet = self.clone();
        *fleet.held(worker, index) = None;
        if let Some(owner) = self.items[index].actual_owner() {
            fleet.members[usize::from(owner)].fenced = true;
        }
        fleet.seizure = fleet.seizure(protocol, index, worker);
        if fleet.seize(protocol).is_none() {
            return false;
        }
        fleet.take(protocol, worker, index);
        fleet.writers(protocol, index) == 1 && fleet.held(worker, index).is_some()
    }

    /// True if every worker that holds a lease of somebody else finds out by a renewal, which a look at the index causes.
    fn finds_out(&self, protocol: &Protocol, index: usize) -> bool {
        let item = self.items[index];
        let is_deluded =
            |worker: &u8| self.worker(*worker).held[index].is_some() && item.actual_owner() != Some(*worker);
        (0..WORKERS).filter(is_deluded).all(|worker| {
            let mut fleet = self.clone();
            fleet.write(protocol, worker, index, Write::Renewal, true);
            fleet.held(worker, index).is_none()
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Protocol {
    leases: usize,
    /// Leaders fence a silent worker before they take its leases.
    fences: bool,
    /// They take a lease on condition of the counter they saw.
    seizes_by_counter: bool,
    /// Owners write a lease on condition of the counter they know.
    writes_by_counter: bool,
    max_checkpoint: u8,
    /// It begins with a worker that relies on its heartbeat for every lease, and has records delivered.
    begun: bool,
}

impl Protocol {
    fn of_lease(&self, fleet: &Fleet, lease: usize, steps: &mut Vec<Step>) {
        let item = &fleet.items[lease];
        for to in 0..WORKERS {
            if Fleet::is_ours(fleet.leader) && fleet.seizure.is_none() && fleet.seizure(self, lease, to).is_some() {
                steps.push(Step::Plan { lease, to });
            }
            if fleet.leader == Some(JAVA) {
                steps.push(Step::Assign { lease, to });
            }
            if fleet.leader.is_some() && item.checkpoint_owner.is_none() && item.owner.is_some_and(|owner| owner != to)
            {
                steps.push(Step::HandOff { lease, to });
            }
        }
        if item.owner.is_some() {
            steps.push(Step::Reset { lease });
        }
        for worker in 0..WORKERS {
            let Some(held) = fleet.worker(worker).held[lease] else {
                if item.owner == Some(worker) && item.checkpoint_owner.is_none() {
                    steps.push(Step::Take { worker, lease });
                }
                continue;
            };
            steps.extend([Step::GiveUp { worker, lease }, Step::Expire { worker, lease }]);
            if held.delivered < self.max_checkpoint {
                steps.push(Step::Deliver { worker, lease });
            }
            // Java's rule for a lost answer is not ours to check.
            for answered in [true, false].into_iter().filter(|answered| *answered || worker != JAVA) {
                steps.push(Step::Renew { worker, lease, answered });
                let news = held.stored + 1..=held.delivered;
                steps.extend(news.map(|to| Step::Checkpoint { worker, lease, to, answered }));
            }
        }
    }

    fn of_fleet(&self, fleet: &Fleet, steps: &mut Vec<Step>) {
        steps.extend((0..WORKERS).filter(|worker| fleet.leader != Some(*worker)).map(Step::Lead));
        if fleet.leader.is_some() {
            steps.push(Step::Unlock);
        }
        if Fleet::is_ours(fleet.leader) {
            match fleet.regime {
                // A leader saw no unmarked worker for a lease duration; one may start at this moment.
                Regime::EachLease => steps.push(Step::Turn(Regime::Heartbeats)),
                Regime::Heartbeats => steps.push(Step::Turn(Regime::TurningBack)),
                // By time, from the write of the lock on: a permission ends before a leader goes on.
                Regime::TurningBack if fleet.workers.iter().all(|worker| !worker.relies) => {
                    steps.push(Step::Turn(Regime::EachLease));
                }
                Regime::TurningBack => {}
            }
            if fleet.regime != Regime::EachLease {
                steps.extend(OURS.filter(|worker| !fleet.members[usize::from(*worker)].fenced).map(Step::Fence));
            }
        }
        for worker in OURS {
            steps.push(Step::Look(worker));
            steps.extend([true, false].map(|answered| Step::Beat { worker, answered }));
        }
        if fleet.seizure.is_some() {
            steps.push(Step::Seize);
        }
        steps.extend(OURS.filter(|worker| fleet.worker(*worker).relies).map(Step::Lapse));
    }
}

impl Model for Protocol {
    type State = Fleet;
    type Action = Step;

    fn init_states(&self) -> Vec<Fleet> {
        let fleet = Fleet::new(self.leases);
        vec![if self.begun { fleet.begun() } else { fleet }]
    }

    fn actions(&self, fleet: &Fleet, steps: &mut Vec<Step>) {
        (0..self.leases).for_each(|lease| self.of_lease(fleet, lease, steps));
        self.of_fleet(fleet, steps);
    }

    fn next_state(&self, fleet: &Fleet, step: Step) -> Option<Fleet> {
        let mut fleet = fleet.clone();
        match step {
            Step::Lead(worker) => {
                // Java writes the whole item anew. By time, its patience outlasts every permission, unless the lock was gone.
                fleet.regime = match fleet.regime {
                    _ if worker == JAVA => Regime::EachLease,
                    Regime::EachLease => Regime::TurningBack,
                    regime => regime,
                };
                fleet.leader = Some(worker);
            }
            Step::Unlock => (fleet.leader, fleet.regime) = (None, Regime::EachLease),
            Step::Turn(regime) => fleet.regime = regime,
            Step::Look(worker) => {
                let (may, before) = (fleet.regime == Regime::Heartbeats, fleet.worker(worker).relies);
                if !(may && before) {
                    fleet.lapse(worker);
                }
                fleet.worker_mut(worker).relies = may;
            }
            Step::Beat { worker, answered } => fleet.beat(worker, answered),
            Step::Fence(worker) => fleet.members[usize::from(worker)].fenced = true,
            Step::Plan { lease, to } => fleet.seizure = fleet.seizure(self, lease, to),
            Step::Seize => fleet.seize(self)?,
            Step::Assign { lease, to } => fleet.assign(self, lease, Some(to), true),
            Step::HandOff { lease, to } => {
                let item = &mut fleet.items[lease];
                item.checkpoint_owner = item.owner.replace(to);
                fleet.seizure.take_if(|seizure| seizure.lease == lease);
            }
            Step::Reset { lease } => fleet.assign(self, lease, None, false),
            Step::Take { worker, lease } => fleet.take(self, worker, lease),
            Step::Deliver { worker, lease } => fleet.held(worker, lease).as_mut()?.delivered += 1,
            Step::Renew { worker, lease, answered } => fleet.write(self, worker, lease, Write::Renewal, answered),
            Step::Checkpoint { worker, lease, to, answered } => {
                fleet.write(self, worker, lease, Write::Checkpoint(to), answered);
            }
            Step::GiveUp { worker, lease } => fleet.give_up(self, worker, lease),
            Step::Expire { worker, lease } => *fleet.held(worker, lease) = None,
            Step::Lapse(worker) => fleet.lapse(worker),
        }
        Some(fleet)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one worker can checkpoint a lease", |protocol: &Self, fleet: &Fleet| {
                (0..protocol.leases).all(|lease| fleet.writers(protocol, lease) <= 1)
            }),
            Property::always("a checkpoint never moves back", |_: &Self, fleet: &Fleet| !fleet.moved_back),
            Property::always(DECEPTION, |_: &Self, fleet: &Fleet| !fleet.deceived),
            Property::always("who lost a lease finds out by a renewal", |protocol: &Self, fleet: &Fleet| {
                (0..protocol.leases).all(|lease| fleet.finds_out(protocol, lease))
            }),
            Property::always("a lease can always be brought to life again", |protocol: &Self, fleet: &Fleet| {
                (0..protocol.leases)
                    .all(|lease| [0, JAVA].iter().all(|worker| fleet.recovers(protocol, lease, *worker)))
            }),
            Property::sometimes("every checkpoint is stored", |protocol: &Self, fleet: &Fleet| {
                fleet.items.iter().any(|item| item.checkpoint == protocol.max_checkpoint)
            }),
            Property::sometimes("a worker relies on its heartbeat for a lease", |_: &Self, fleet: &Fleet| {
                fleet.workers.iter().any(|worker| worker.held.iter().flatten().any(|held| held.relied))
            }),
            Property::sometimes("a lease is taken after a fence", |_: &Self, fleet: &Fleet| {
                fleet.workers.iter().any(|worker| worker.held.iter().flatten().any(|held| held.seized))
            }),
        ]
    }
}

/// Steps of an interleaving; `KCL_MODEL_STEPS` explores longer ones.
const STEPS: usize = 11;
/// Steps where there are more workers or leases.
const SHORT: usize = 9;

impl Protocol {
    fn explored(self, steps: usize) -> impl Checker<Self> {
        self.explored_until(steps, HasDiscoveries::AnyFailures)
    }

    fn explored_until(self, steps: usize, end: HasDiscoveries) -> impl Checker<Self> {
        let steps = std::env::var("KCL_MODEL_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(steps);
        self.checker().threads(2).finish_when(end).target_max_depth(steps).spawn_bfs().join()
    }

    /// Fails unless the protocol breaks `property` within so many steps.
    fn breaks(self, property: &'static str, steps: usize) {
        let checker = self.explored_until(steps, HasDiscoveries::AnyOf([property].into()));

        println!("{} states until {property:?} is broken", checker.unique_state_count());
        assert!(checker.discovery(property).is_some());
    }
}

const ONE_LEASE: Protocol = Protocol {
    leases: 1,
    fences: true,
    seizes_by_counter: true,
    writes_by_counter: true,
    max_checkpoint: 0,
    begun: false,
};
const CHECKPOINTS: Protocol = Protocol { max_checkpoint: 2, begun: true, ..ONE_LEASE };
const DECEPTION: &str = "no heartbeat covers a lease taken by a leader of ours";

#[test]
fn heartbeats_are_safe_for_one_lease_in_any_order_of_steps() {
    let checker = ONE_LEASE.explored(STEPS);

    println!("one lease: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn heartbeats_are_safe_for_two_leases_in_any_order_of_steps() {
    let protocol = Protocol { leases: 2, ..ONE_LEASE };
    let checker = protocol.explored(SHORT);

    println!("two leases: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn checkpoints_of_a_fleet_that_lives_by_heartbeats_never_move_back_in_any_order_of_steps() {
    let checker = CHECKPOINTS.explored(SHORT);

    println!("one lease with checkpoints: {} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn finds_what_fences_are_for() {
    Protocol { fences: false, ..ONE_LEASE }.breaks(DECEPTION, STEPS + 2);
}

#[test]
fn finds_what_the_counter_of_a_seizure_is_for() {
    Protocol { seizes_by_counter: false, ..ONE_LEASE }.breaks(DECEPTION, STEPS + 2);
}

#[test]
fn finds_what_the_counter_of_a_checkpoint_is_for() {
    Protocol { writes_by_counter: false, ..CHECKPOINTS }.breaks("a checkpoint never moves back", SHORT);
}
