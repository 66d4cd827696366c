//! Random lives of an application: its stream is resharded, closed shards leave the retention, leaders come and are
//! interrupted, shards are read late, or never while they are retained, and leases are cleaned up.
//!
//! (A) Of what the stream retains in the end, everything that came after the application's first start was read.
//! (B) No shard is given a lease twice. (C) At LATEST and AT_TIMESTAMP, shards closed before the start are not read.
//! (D) No shard is read before its parents, as far as they are retained and wanted.

use std::collections::BTreeMap;

use proptest::sample::Index;

use super::*;
use crate::{
    logic::lineage::{
        audit::{Completion, complete},
        cleanup,
    },
    model::{Addition, LeaseKey},
};

#[derive(Debug, Clone)]
enum Step {
    Reshard {
        pick: Index,
        merge: bool,
    },
    Wait(u64),
    /// A leader syncs the leases, and is interrupted after so many writes. Writes of a generation are done in any order,
    /// here turned by so many.
    Sync(usize, usize),
    /// Somebody processes a shard as far as it goes.
    Read(Index),
    CleanUp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (any::<Index>(), prop::bool::weighted(0.4)).prop_map(|(pick, merge)| Step::Reshard { pick, merge }),
        3 => (1..20_u64).prop_map(Step::Wait),
        2 => (prop_oneof![Just(usize::MAX), 0..4_usize], 0..4_usize).prop_map(|(writes, turn)| Step::Sync(writes, turn)),
        4 => any::<Index>().prop_map(Step::Read),
        1 => Just(Step::CleanUp),
    ];
    prop::collection::vec(step, 0..60)
}

struct Life {
    position: InitialPosition,
    retention: u64,
    now: u64,
    stream: Resharded,
    closed: HashMap<ShardId, u64>,
    leases: BTreeMap<LeaseKey, Lease>,
    /// Time of the first plan of leases.
    planned: Option<u64>,
    /// True if all of a first plan had leases once.
    complete: bool,
    /// Time of the first read of a shard.
    begun: Option<u64>,
    /// Start of each shard that was ever given a lease.
    started: HashMap<ShardId, Checkpoint>,
    /// Read to their ends.
    done: HashSet<ShardId>,
}

impl Life {
    fn new(position: InitialPosition, retention: u64) -> Self {
        Self {
            position,
            retention,
            now: 0,
            stream: Resharded::new(),
            closed: HashMap::new(),
            leases: BTreeMap::new(),
            planned: None,
            complete: false,
            begun: None,
            started: HashMap::new(),
            done: HashSet::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        self.now += 1;
        match step {
            Step::Reshard { pick, merge } => {
                self.stream.reshard(pick, *merge);
                for shard in self.stream.shards.iter().filter(|shard| !shard.is_open()) {
                    self.closed.entry(shard.id.clone()).or_insert(self.now);
                }
            }
            Step::Wait(time) => self.now += time,
            Step::Sync(writes, turn) => self.sync(*writes, *turn),
            Step::Read(pick) => {
                if !self.leases.is_empty() {
                    let key = self.leases.keys().nth(pick.index(self.leases.len())).unwrap().clone();
                    self.read(&key);
                }
            }
            Step::CleanUp => self.clean_up(),
        }
    }

    fn listed(&self) -> Vec<Shard> {
        let is_retained =
            |shard: &&Shard| self.closed.get(&shard.id).is_none_or(|closed| closed + self.retention > self.now);
        self.stream.shards.iter().filter(is_retained).cloned().collect()
    }

    /// Shards that hold the initial position, now that nobody has read yet.
    fn first(&self) -> Vec<Shard> {
        let listed = self.listed();
        let is_first = |shard: &Shard| match self.position {
            InitialPosition::TrimHorizon => {
                !shard.parents.iter().any(|parent| listed.iter().any(|one| one.id == *parent))
            }
            _ => shard.is_open(),
        };
        listed.iter().filter(|shard| is_first(shard)).cloned().collect()
    }

    fn sync(&mut self, writes: usize, turn: usize) {
        self.planned.get_or_insert(self.now);
        let listed = self.listed();
        let leases: Vec<&Lease> = self.leases.values().collect();
        let unread = is_unread(&leases, &self.position);
        let planned = match unread {
            true => plan_first(&self.first(), &leases, &self.position),
            false => plan_missing(&listed, &leases, &self.position),
        };
        let planned = planned.expect("listings are consistent");
        let completed = complete(&leases, &listed);
        let whole = planned.len() <= writes;
        let turned = |mut generation: Vec<Lease>| {
            let middle = turn % generation.len();
            generation.rotate_left(middle);
            generation
        };
        let in_order: Vec<Lease> = generations(planned).into_iter().flat_map(turned).collect();
        in_order.into_iter().take(writes).for_each(|lease| self.create(lease));
        if !whole {
            return;
        }
        self.complete = true;
        for (key, completion) in completed.into_iter().filter(|_| !unread) {
            match completion {
                Completion::Garbage => drop(self.leases.remove(&key)),
                Completion::Add(Addition::Children(children)) => self.leases.get_mut(&key).unwrap().children = children,
                Completion::Add(Addition::HashKeyRange(_)) => {}
            }
        }
    }

    fn create(&mut self, lease: Lease) {
        let again = self.started.insert(lease.shard_id.clone(), lease.checkpoint.clone());
        assert_eq!(again, None, "(B) {} has had a lease before", lease.shard_id);
        self.leases.insert(lease.key.clone(), lease);
    }

    fn is_wanted(&self, shard: &ShardId) -> bool {
        self.position == InitialPosition::TrimHorizon || self.closed.get(shard) > self.begun.as_ref()
    }

    /// Reads the shard as a worker does, unless it waits for something. Leases are given to workers only once all
    /// of the first plan are there.
    fn read(&mut self, key: &LeaseKey) {
        if !self.complete || self.leases[key].is_ended() {
            return;
        }
        let mut lease = self.leases[key].clone();
        lease.counter += 1; // it is taken, and may wait for its parents
        self.leases.insert(key.clone(), lease.clone());
        let by_shard = |shard: &ShardId| self.leases.get(&LeaseKey::of(None, shard));
        if lease.parents.iter().any(|parent| by_shard(parent).is_some_and(|parent| !parent.is_ended())) {
            return;
        }
        self.begun.get_or_insert(self.now);
        let listed = self.listed();
        let find = |id: &ShardId| listed.iter().find(|shard| shard.id == *id);
        for parent in lease.parents.iter().filter(|parent| find(parent).is_some() && self.is_wanted(parent)) {
            assert!(self.done.contains(parent), "(D) {} is read before {parent}", lease.shard_id);
        }
        let mut written = lease.clone();
        if find(&lease.shard_id).is_some_and(Shard::is_open) {
            written.checkpoint = Checkpoint::from_wire("5", 0).unwrap();
            self.leases.insert(key.clone(), written);
            return;
        }
        let children: Vec<&Shard> = listed.iter().filter(|shard| shard.parents.contains(&lease.shard_id)).collect();
        let missing: Vec<&Shard> = children.iter().copied().filter(|child| by_shard(&child.id).is_none()).collect();
        let mut siblings = missing.iter().flat_map(|child| &child.parents);
        if siblings.any(|sibling| find(sibling).is_some() && by_shard(sibling).is_none()) {
            return;
        }
        (written.checkpoint, written.children) =
            (Checkpoint::ShardEnd, children.iter().map(|child| child.id.clone()).collect());
        let missing: Vec<Lease> = missing.iter().map(|child| new_lease(child, Checkpoint::TrimHorizon)).collect();
        self.leases.insert(key.clone(), written);
        missing.into_iter().for_each(|child| self.create(child));
        self.done.insert(lease.shard_id);
    }

    fn clean_up(&mut self) {
        let done = cleanup::plan(&self.leases.values().collect::<Vec<_>>());
        self.leases.retain(|key, _| !done.contains(key));
    }

    /// Everything is read that can be.
    fn come_to_rest(&mut self) {
        self.now += 1;
        loop {
            let before = self.leases.clone();
            self.sync(usize::MAX, 0);
            let keys: Vec<LeaseKey> = self.leases.keys().cloned().collect();
            keys.iter().for_each(|key| self.read(key));
            let states = |leases: &BTreeMap<LeaseKey, Lease>| -> Vec<_> {
                leases.values().map(|lease| (lease.key.clone(), lease.checkpoint.clone())).collect()
            };
            if states(&before) == states(&self.leases) {
                return;
            }
        }
    }

    fn check(&self) {
        let begun = self.begun.unwrap();
        for shard in self.listed() {
            let started = self.started.get(&shard.id);
            if !shard.is_open() && !self.is_wanted(&shard.id) {
                let needless = self.closed.get(&shard.id) < self.planned.as_ref();
                assert!(!needless || started != Some(&Checkpoint::TrimHorizon), "(C) {} is read", shard.id);
                continue;
            }
            let opened = shard.parents.iter().map(|parent| self.closed[parent]).max();
            let whole = started == Some(&Checkpoint::TrimHorizon);
            let from_start = opened < Some(begun) && started == Some(&Checkpoint::initial(&self.position));
            assert!(whole || from_start, "(A) {} starts at {started:?}, was opened at {opened:?}", shard.id);
            assert!(shard.is_open() || self.done.contains(&shard.id), "(A) {} is not read to its end", shard.id);
        }
    }
}

proptest! {
    #[test]
    fn reads_once_every_retained_record_since_the_first_start(
        steps in steps(),
        retention in 5..60_u64,
        position in prop_oneof![Just(InitialPosition::TrimHorizon), Just(InitialPosition::Latest), Just(AT_TIMESTAMP)],
    ) {
        let mut life = Life::new(position, retention);
        for step in &steps {
            life.take(step);
        }
        life.come_to_rest();
        life.check();
    }
}
