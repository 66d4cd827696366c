//! The context that all tasks of a worker share.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    clock::ServiceClock,
    error::TableError,
    event::{Event, Events, chain},
    logic::{calls::Failure, shard::Rounds},
    metrics::Recorder,
    model::{Bulletin, LeaseKey, WorkerItem},
    settings::Settings,
    stream::Catalog,
    table::LeaseTable,
    time::now,
};
use board::Board;
use doubts::Doubts;
use memory::Memory;
use pulse::Pulse;
use tip::Tip;
use vitals::Vitals;

pub(crate) mod board;
pub(crate) mod doubts;
pub(crate) mod memory;
pub(crate) mod pulse;
pub(crate) mod tip;
pub(crate) mod vitals;

/// Enough for 10,000 leases at 20 ms a renewal; more would only contend for connections.
const CONCURRENT_RENEWALS: usize = 64;

/// Time after which a refused call to the lease table says nothing any more: all are tried again much sooner.
const REFUSAL_LIFE: Duration = Duration::from_secs(60);

pub(crate) struct Context {
    pub(crate) settings: Settings,
    /// Random id of this run of the worker.
    pub(crate) instance: Arc<str>,
    pub(crate) events: Events,
    pub(crate) catalog: Catalog,
    pub(crate) table: LeaseTable,
    pub(crate) clock: ServiceClock,
    pub(crate) nudges: Nudges,
    pub(crate) seen: Seen,
    /// Announcement of this worker while it leads.
    pub(crate) bulletin: watch::Sender<Bulletin>,
    /// Renewals that may be under way at the same time, of all leases of this worker.
    pub(crate) renewals: Semaphore,
    // Protects the rounds for the length of one look into them.
    pub(crate) rounds: Mutex<Rounds>,
    pub(crate) metrics: Recorder,
    /// Of what is read and not finished, of all shards of this worker.
    pub(crate) memory: Arc<Memory>,
    pub(crate) tip: Arc<Tip>,
    pub(crate) board: Board,
    pub(crate) pulse: Pulse,
    pub(crate) doubts: Doubts,
    pub(crate) vitals: Vitals,
    /// The fleet's migration state, seen last, is that of KCL 3.x for good.
    pub(crate) is_v3: AtomicBool,
    /// The worker has joined the fleet and is not stopping.
    pub(crate) ready: AtomicBool,
}

/// Wakes a loop of this worker before its time.
#[derive(Debug, Default)]
pub(crate) struct Nudges {
    /// There are leases to assign; of use if this worker leads.
    pub(crate) assign: Notify,
    /// There are leases of ours to find.
    pub(crate) discover: Notify,
    /// The same, unless they are looked for all the time.
    pub(crate) discover_soon: Notify,
    /// The lease table was not found.
    pub(crate) table: Notify,
    /// A leader changed leases of ours.
    pub(crate) verify: Notify,
}

/// Findings of one loop's reads of the lease table, for the others.
#[derive(Debug)]
pub(crate) struct Seen {
    /// This worker's item, and when its reading began. It may be out of date.
    pub(crate) own_item: watch::Sender<(Instant, Option<WorkerItem>)>,
    /// Whoever leads announces the leases that it gives away.
    pub(crate) announced: AtomicBool,
    /// Own leases, but for those in a handoff to this worker, by its last scan as the leader, and when that began. Changed by
    /// the assigner, for a line.
    pub(crate) owned: Mutex<Option<(Instant, Vec<LeaseKey>)>>,
}

impl Context {
    pub(crate) fn new(settings: Settings, events: Events, catalog: Catalog, table: LeaseTable) -> Self {
        Self {
            instance: uuid::Uuid::new_v4().to_string().into(),
            clock: settings.clock.clone(),
            nudges: Nudges::default(),
            seen: Seen {
                own_item: watch::Sender::new((now(), None)),
                announced: AtomicBool::new(false),
                owned: Mutex::default(),
            },
            // Another run under this id must not be taken for this one.
            bulletin: watch::Sender::new(Bulletin { moves: u64::from(fastrand::u32(..)), ..Bulletin::default() }),
            renewals: Semaphore::new(CONCURRENT_RENEWALS),
            rounds: Mutex::default(),
            metrics: Recorder::new(settings.recording(), &settings.worker_id),
            memory: Arc::new(Memory::new(settings.memory_budget)),
            tip: Arc::new(Tip::new(&settings.retrieval.polling(), settings.retrieval.idle_between_reads())),
            board: Board::default(),
            pulse: Pulse::new(settings.clock.clone(), settings.lease_duration),
            doubts: Doubts::default(),
            vitals: Vitals::default(),
            is_v3: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            settings,
            events,
            catalog,
            table,
        }
    }

    /// The value of a call to the lease table; a failure is reported.
    pub(crate) fn reported<T>(&self, outcome: Result<T, TableError>) -> Option<T> {
        outcome.inspect_err(|error| self.table_failed(error)).ok()
    }

    /// Drops the leases if the machine was suspended for so long that others may have them.
    pub(crate) fn drop_if_overslept(&self) {
        if self.pulse.drop_if_overslept() {
            self.events.emit(Event::WorkerSuspended);
        }
    }

    /// Reports a failed call to the lease table that is tried again.
    pub(crate) fn table_failed(&self, error: &TableError) {
        if let TableError::TableMissing { .. } = error {
            self.nudges.table.notify_one();
        }
        self.note_refusal(error);
        let error = chain(error);
        self.vitals.failed(&error);
        self.events.emit(Event::LeaseTableFailed { error });
    }

    /// Notes for the worker's health that a call to the lease table was refused.
    pub(crate) fn note_refusal(&self, error: &TableError) {
        if let TableError::AccessDenied { action, table, .. } | TableError::Credentials { action, table, .. } = error {
            let failure = Failure { error: chain(error), is_refusal: true, life: REFUSAL_LIFE };
            self.settings.calls.failed((*action, table.as_str()), failure);
        }
    }
}
