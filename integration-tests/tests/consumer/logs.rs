//! The log of a worker: its end and the cause, and failures that repeat.

use std::{cell::RefCell, io, sync::Once, time::Duration};

use integration_tests::{Journal, Running, World};
use kcl::{Event, Worker};
use tokio::time::sleep;
use tracing_subscriber::{
    filter::{LevelFilter, dynamic_filter_fn},
    fmt,
    prelude::*,
};

const MINUTE: Duration = Duration::from_secs(60);

thread_local! {
    /// Text that is logged on this thread, which runs one test with all its tasks; None unless that test asks for it.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct OfThisThread;

impl io::Write for OfThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| {
            if let Some(text) = logged {
                text.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged on this thread from now on. One subscriber for all tests: others would decide for each other which
/// lines are of interest.
fn keep_log() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let is_kept = dynamic_filter_fn(|line, _| {
            *line.level() <= LevelFilter::INFO && LOGGED.try_with(|logged| logged.borrow().is_some()).unwrap_or(false)
        });
        let lines = fmt::layer().with_ansi(false).without_time().with_writer(|| OfThisThread);
        tracing_subscriber::registry().with(lines.with_filter(is_kept.with_max_level_hint(LevelFilter::INFO))).init();
    });
    LOGGED.set(Some(Vec::new()));
}

/// Lines of the library of this level.
fn logged(level: &str) -> Vec<String> {
    let text = LOGGED.with_borrow(|logged| String::from_utf8_lossy(logged.as_deref().unwrap_or_default()).into_owned());
    let lines = text.lines().filter(|line| line.trim_start().starts_with(level) && line.contains("kcl::"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_ends_by_itself_logs_one_error_with_its_cause() {
    let world = World::start(1).await;
    keep_log();
    let builder = Worker::builder(&world.aws, "application", "NoSuchStream").worker_id("w1");

    Running::noting(builder, &Journal::default()).ended().await.expect_err("there is no stream");

    let errors = logged("ERROR");
    assert_eq!(errors.len(), 1, "{errors:?}");
    for part in ["worker ended with an error", "w1", "stream NoSuchStream does not exist", "ResourceNotFoundException"]
    {
        assert!(errors[0].contains(part), "{part}: {errors:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_loses_its_table_logs_the_cause_of_its_end() {
    let world = World::start(1).await;
    keep_log();
    let mut worker = world.run("w1");
    world.settled().await;

    world.table().delete_table().await;
    worker.ended().await.expect_err("the table is gone");

    let ends: Vec<String> = logged("ERROR").into_iter().filter(|line| line.contains("worker ended")).collect();
    assert!(ends.len() == 1 && ends[0].contains("does not exist"), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_asked_to_stop_logs_neither_error_nor_warning() {
    let world = World::start(1).await;
    keep_log();
    let worker = world.run("w1");
    world.put(0..10).await;
    world.journal.processed(10).await;

    worker.stop().await.expect("worker stops");

    assert_eq!((logged("ERROR"), logged("WARN")), (Vec::new(), Vec::new()));
    assert_eq!(logged("INFO").iter().filter(|line| line.contains("worker ended")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_repeats_is_logged_ever_more_rarely_and_emitted_each_time() {
    let world = World::start(1).await;
    keep_log();
    world.local.deny("kinesis:ListShards");
    let _worker = world.run("w1");

    sleep(MINUTE * 10).await;

    let lines: Vec<String> = logged("WARN").into_iter().filter(|line| line.contains("shard sync failed")).collect();
    assert_eq!(lines.len(), 3, "at once, after one minute, after five more: {lines:#?}");
    assert!(!lines[0].contains("repeated") && lines[1].contains("times in 6"), "{lines:#?}");
    let emitted = world.events.count(|event| matches!(event, Event::ShardSyncFailed { .. }));
    assert!(emitted > 50, "{emitted}");
}
