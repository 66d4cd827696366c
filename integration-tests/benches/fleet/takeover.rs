//! Time until the shards of a worker that leaves are processed by the two others, in virtual time on services in
//! this process: of one that stops in good order, and of one that dies.

use std::time::Duration;

use integration_tests::World;
use kcl::{BoxError, CheckpointEvery, ShardPhase, WorkerHandle};
use tokio::time::{Instant, sleep};

pub(crate) const NAME: &str = "takeover";
/// Maximum time that a fleet may take to share the shards, or to take over.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(50);

pub(crate) fn measure(shards: usize) -> Result<(), BoxError> {
    for (what, graceful) in [("stopped", true), ("killed", false)] {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build()?;
        let took = runtime.block_on(takeover(shards, graceful))?;
        let what = format!("{shards} shards, {NAME}: a worker of three {what}, until the others process all");
        integration_tests::bench::report(&what, took.as_secs_f64(), "s");
    }
    Ok(())
}

async fn takeover(shards: usize, graceful: bool) -> Result<Duration, BoxError> {
    let world = World::start(i32::try_from(shards)?).await;
    let start = |id: &str| -> Result<WorkerHandle, BoxError> {
        let closure = |_| async { Ok::<(), BoxError>(()) };
        Ok(world.worker(id).build_for_each(CheckpointEvery::default(), 1, closure)?.start())
    };
    let workers = [start("w1")?, start("w2")?];
    let gone = world.run("w3");
    let least = shards / 3;
    let of_both = || workers.iter().map(processing).sum::<usize>();
    until("the shards are shared", || {
        workers.iter().all(|one| processing(one) >= least) && of_both() <= shards - least
    })
    .await;
    sleep(Duration::from_secs(20)).await;
    let begun = Instant::now();
    if graceful {
        gone.stop().await?;
    } else {
        gone.kill();
    }
    until("the others have taken over", || of_both() == shards).await;
    Ok(begun.elapsed())
}

fn processing(worker: &WorkerHandle) -> usize {
    worker.shards().iter().filter(|shard| shard.phase == ShardPhase::Processing).count()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        sleep(LOOK).await;
    }
}
