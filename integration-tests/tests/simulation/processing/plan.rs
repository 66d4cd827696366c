//! The plan of one simulated life, drawn at random.

use std::time::Duration;

use kcl::CheckpointEvery;

use super::millis;

/// Maximum size of a batch that is tried again whole where records fail by chance; a larger one would hardly ever succeed.
const SMALL_BATCH: u32 = 50;

/// Kind of consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consumer {
    /// A processor that checkpoints by itself.
    Processor,
    /// A processor for which the worker checkpoints.
    Automatic,
    Closure {
        concurrency: usize,
    },
    Streams,
}

/// Policy for records that keep failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Restart,
    Skip,
    DeadLetter,
}

/// Shape of a world.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) consumer: Consumer,
    pub(super) policy: Policy,
    pub(super) attempts: u32,
    pub(super) isolate: bool,
    /// Part of the records that fail for ever, if there is a limit of attempts.
    pub(super) bad: f64,
    /// Part of the calls that fail, and may succeed the next time.
    pub(super) unlucky: f64,
    /// Maximum time that a record takes.
    pub(super) pause: u64,
    pub(super) every: CheckpointEvery,
    pub(super) max_batch_records: u32,
    /// Time that the lease table takes for a write.
    pub(super) table: Duration,
    /// Part of the records after which a consumer drops its stream.
    pub(super) drops: f64,
    pub(super) keys: u64,
    /// Part of the puts after which one of before is written again. If there are any, records are numbered.
    pub(super) copies: f64,
}

impl Plan {
    pub(super) fn random() -> Self {
        let consumer = match fastrand::u8(0..5) {
            0 => Consumer::Processor,
            1 => Consumer::Automatic,
            2 => Consumer::Closure { concurrency: 1 },
            3 => Consumer::Closure { concurrency: fastrand::usize(2..12) },
            _ => Consumer::Streams,
        };
        let policy = fastrand::choice([Policy::Restart, Policy::Skip, Policy::DeadLetter]).expect("is one of them");
        let in_half = |value: f64| if fastrand::bool() { value } else { 0.0 };
        let limited = policy != Policy::Restart && consumer != Consumer::Streams;
        let mut plan = Self {
            consumer,
            policy,
            attempts: fastrand::u32(1..4),
            isolate: fastrand::bool(),
            bad: if limited { in_half(0.03) } else { 0.0 },
            unlucky: in_half(0.005),
            pause: [0, 5, 20][fastrand::usize(0..3)],
            every: CheckpointEvery::new(fastrand::u32(1..200), millis(0..8_000)),
            max_batch_records: [1, 7, 50, 10_000][fastrand::usize(0..4)],
            table: if fastrand::bool() { Duration::ZERO } else { millis(0..1_500) },
            drops: in_half(0.01),
            keys: fastrand::u64(1..20),
            copies: in_half(0.3),
        };
        if plan.unlucky > 0.0 && policy == Policy::Restart && !plan.is_closure() {
            plan.max_batch_records = plan.max_batch_records.min(SMALL_BATCH);
        }
        plan
    }

    /// True if a record that was processed may fail later: where it is processed again, and failures are chance.
    pub(super) fn may_fail_later(&self) -> bool {
        self.unlucky > 0.0 && self.consumer != Consumer::Closure { concurrency: 1 }
    }

    pub(super) fn is_closure(&self) -> bool {
        matches!(self.consumer, Consumer::Closure { .. })
    }

    /// True if culprits are looked for, and only errors of theirs are counted.
    pub(super) fn finds_culprits(&self) -> bool {
        (self.isolate || self.is_closure()) && (self.unlucky == 0.0 || self.policy == Policy::Restart)
    }

    /// True if nothing makes a record be processed again.
    pub(super) fn is_calm(&self) -> bool {
        let failures = self.bad + self.unlucky > 0.0;
        match self.consumer {
            Consumer::Processor => !failures,
            Consumer::Automatic | Consumer::Closure { concurrency: 1 } => true,
            // What lies behind the failed record was handled already; and long gaps are not filled at a stop.
            Consumer::Closure { .. } => !failures && self.pause <= 5,
            Consumer::Streams => self.drops == 0.0,
        }
    }
}
