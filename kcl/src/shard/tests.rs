//! Every phase of a shard's life, interrupted in every way: what the processor is called with, and what becomes of the
//! lease.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use kinesis_local::LocalAws;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    checkpointer::Checkpointer,
    error::BoxError,
    model::{Checkpoint, RecordBatch, WorkerId},
    processor::{RecordProcessor, ShardContext},
    settings::error_policy::ErrorPolicy,
    table::memory::MemoryLeaseTable,
    worker::Worker,
};

const SHARD: &str = "shardId-000000000000";

/// Call at which a processor fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    InitializeFails,
    InitializeHangs,
    ProcessFails,
    ProcessHangs,
    ShardEndedFails,
    ShardEndedHangs,
    ShardEndedPanics,
    /// Before it returns its future, as these two.
    ShardEndedPanicsAtOnce,
    InitializePanicsAtOnce,
    ProcessPanicsAtOnce,
}

struct Probe {
    fault: Fault,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Probe {
    fn panics_at_once(&self, name: &'static str, fault: Fault) {
        if self.fault == fault {
            self.calls.lock().unwrap().push(name);
            panic!("on purpose");
        }
    }

    async fn call(&self, name: &'static str, fails: &[Fault], hangs: Option<Fault>) -> Result<(), BoxError> {
        self.calls.lock().unwrap().push(name);
        if hangs == Some(self.fault) {
            pending::<()>().await;
        }
        assert!(name != "shard_ended" || self.fault != Fault::ShardEndedPanics, "on purpose");
        if fails.contains(&self.fault) { Err("fails on purpose".into()) } else { Ok(()) }
    }
}

impl RecordProcessor for Probe {
    type Error = BoxError;

    fn initialize(&mut self, _shard: &ShardContext) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.panics_at_once("initialize", Fault::InitializePanicsAtOnce);
        self.call("initialize", &[Fault::InitializeFails], Some(Fault::InitializeHangs))
    }

    fn process_records(
        &mut self,
        _batch: RecordBatch,
        _checkpointer: &Checkpointer,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.panics_at_once("process_records", Fault::ProcessPanicsAtOnce);
        self.call("process_records", &[Fault::ProcessFails], Some(Fault::ProcessHangs))
    }

    fn shard_ended(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send {
        self.panics_at_once("shard_ended", Fault::ShardEndedPanicsAtOnce);
        self.call("shard_ended", &[Fault::ShardEndedFails], Some(Fault::ShardEndedHangs))
    }

    async fn shutdown_requested(&mut self, _checkpointer: &Checkpointer) -> Result<(), BoxError> {
        self.call("shutdown_requested", &[], None).await
    }

    async fn lease_lost(&mut self) {
        self.calls.lock().unwrap().push("lease_lost");
    }
}

/// Interruption of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Stop,
    Handoff,
    Loss,
}

/// A shard with one record on its way to a phase.
struct Scene {
    fault: Fault,
    /// The shard is closed.
    closed: bool,
    /// The shard has a parent that is not processed.
    parent: bool,
    policy: ErrorPolicy,
    phase: ShardPhase,
}

impl Scene {
    fn of(phase: ShardPhase, fault: Fault) -> Self {
        Self { fault, closed: false, parent: false, policy: ErrorPolicy::restart(), phase }
    }

    /// Gets there, is interrupted, ends. Returns the last call after that of `initialize`, and the lease.
    async fn interrupted_by(&self, cause: Cause) -> (Vec<&'static str>, Lease) {
        let aws = LocalAws::start().await.sdk_config();
        self.put_record(&aws).await;
        let table = MemoryLeaseTable::default();
        let lease = self.lease(&table).await;
        let builder = Worker::builder(&aws, "application", "stream");
        let (settings, events, catalog) = builder.worker_id("w1").on_processor_error(self.policy.clone()).into_parts();
        let context = Arc::new(Context::new(settings, events, catalog, table.clone().into()));
        let (calls, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let factory = {
            let (fault, calls) = (self.fault, Arc::clone(&calls));
            move |_: &ShardContext| Probe { fault, calls: Arc::clone(&calls) }
        };
        let task = ShardTask::run(Arc::clone(&context), Arc::new(Contained::new(factory)), lease.clone(), stop.clone());
        let task = tokio::spawn(task);
        self.reached(&context, &calls).await;
        if self.phase == ShardPhase::Processing {
            assert_eq!(context.memory.held() > 0, self.fault == Fault::ProcessHangs, "held until it is processed");
        }

        let held = table.get(&lease.key).await.unwrap().expect("lease exists");
        let next = WorkerId::from("w2");
        match cause {
            Cause::Stop => stop.cancel(),
            Cause::Handoff => assert!(table.begin_handoff(&held, &next).await.unwrap().is_applied()),
            Cause::Loss => assert!(table.assign(&held, &next).await.unwrap().is_applied()),
        }
        timeout(Duration::from_secs(120), task).await.expect("ends in time").unwrap();
        // The reader is gone a moment later.
        sleep(Duration::from_millis(1)).await;
        assert_eq!(context.memory.held(), 0);
        let calls = calls.lock().unwrap().clone();
        assert!(context.board.all(crate::time::now(), Duration::from_secs(60)).is_empty(), "gone from the board");
        (calls, table.get(&lease.key).await.unwrap().expect("lease exists"))
    }

    async fn put_record(&self, aws: &aws_types::SdkConfig) {
        let kinesis = aws_sdk_kinesis::Client::new(aws);
        kinesis.create_stream().stream_name("stream").shard_count(1).send().await.unwrap();
        let data = aws_sdk_kinesis::primitives::Blob::new("data");
        kinesis.put_record().stream_name("stream").partition_key("key").data(data).send().await.unwrap();
        if self.closed {
            let split = kinesis.split_shard().stream_name("stream").shard_to_split(SHARD);
            split.new_starting_hash_key((1_u128 << 127).to_string()).send().await.unwrap();
        }
    }

    async fn lease(&self, table: &MemoryLeaseTable) -> Lease {
        let parents: Vec<ShardId> = if self.parent { vec!["shardId-parent".into()] } else { Vec::new() };
        for parent in &parents {
            let parent = Lease::unowned(parent.clone(), Checkpoint::TrimHorizon);
            assert!(table.create(&parent).await.unwrap().is_applied());
        }
        let lease = Lease {
            owner: Some("w1".into()),
            parents,
            ..Lease::unowned(ShardId::from(SHARD), Checkpoint::TrimHorizon)
        };
        assert!(table.create(&lease).await.unwrap().is_applied());
        lease
    }

    async fn reached(&self, context: &Context, calls: &Mutex<Vec<&'static str>>) {
        let is_there = || {
            let processed = self.phase != ShardPhase::Processing || calls.lock().unwrap().contains(&"process_records");
            processed
                && context
                    .board
                    .all(crate::time::now(), Duration::from_secs(60))
                    .iter()
                    .any(|shard| shard.phase == self.phase)
        };
        let wait = async {
            while !is_there() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), wait).await.expect("reaches the phase");
        // Past the point where the phase begins.
        sleep(Duration::from_millis(300)).await;
    }
}

/// Checks all three causes. `last` is the last call for a stop or handoff, and for a loss.
async fn check(scene: Scene, last: [Option<&'static str>; 2]) {
    for cause in [Cause::Stop, Cause::Handoff, Cause::Loss] {
        let (calls, lease) = scene.interrupted_by(cause).await;

        let expected = if cause == Cause::Loss { last[1] } else { last[0] };
        let what = format!("{:?} with {:?}, {cause:?}: {calls:?}", scene.phase, scene.fault);
        assert_eq!(calls.last().copied(), expected, "{what}");
        let goodbyes = ["shutdown_requested", "lease_lost"];
        assert!(calls.iter().filter(|call| goodbyes.contains(*call)).count() <= 1, "{what}");
        let owner = (cause != Cause::Stop).then(|| WorkerId::from("w2"));
        assert_eq!((lease.owner.clone(), lease.in_handoff()), (owner, false), "{what}: {lease:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_was_never_made_is_not_called() {
    check(Scene { parent: true, ..Scene::of(ShardPhase::WaitingForParents, Fault::None) }, [None, None]).await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_did_not_initialize_is_not_told_goodbye() {
    let last = [Some("initialize"); 2];
    check(Scene::of(ShardPhase::Initializing, Fault::InitializeHangs), last).await;
    check(Scene::of(ShardPhase::BackingOff, Fault::InitializeFails), last).await;
    check(Scene::of(ShardPhase::BackingOff, Fault::InitializePanicsAtOnce), last).await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_at_work_is_told_goodbye_once() {
    check(Scene::of(ShardPhase::Processing, Fault::None), [Some("shutdown_requested"), Some("lease_lost")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_failed_or_hangs_is_dropped_without_a_goodbye() {
    let last = [Some("process_records"); 2];
    check(Scene::of(ShardPhase::BackingOff, Fault::ProcessFails), last).await;
    check(Scene::of(ShardPhase::BackingOff, Fault::ProcessPanicsAtOnce), last).await;
    check(Scene::of(ShardPhase::Processing, Fault::ProcessHangs), last).await;
    let policy = ErrorPolicy::stop_shard_after(1);
    check(Scene { policy, ..Scene::of(ShardPhase::Stopped, Fault::ProcessFails) }, last).await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_fails_at_the_shards_end_is_told_goodbye() {
    for fault in [Fault::ShardEndedFails, Fault::ShardEndedPanics, Fault::ShardEndedPanicsAtOnce] {
        let scene = Scene { closed: true, ..Scene::of(ShardPhase::Ending, fault) };
        check(scene, [Some("shutdown_requested"), Some("lease_lost")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_hangs_at_the_shards_end_is_dropped_without_a_goodbye() {
    let scene = Scene { closed: true, ..Scene::of(ShardPhase::Ending, Fault::ShardEndedHangs) };
    check(scene, [Some("shard_ended"); 2]).await;
}

#[tokio::test(start_paused = true)]
async fn calls_nothing_after_the_shards_end_and_rests_until_the_lease_is_wanted() {
    let scene = Scene { closed: true, ..Scene::of(ShardPhase::Ended, Fault::None) };
    for cause in [Cause::Stop, Cause::Handoff, Cause::Loss] {
        let (calls, lease) = scene.interrupted_by(cause).await;

        assert_eq!(calls, ["initialize", "process_records", "shard_ended"], "{cause:?}");
        assert!(lease.is_ended() && lease.children.len() == 2, "{lease:?}");
    }
}
