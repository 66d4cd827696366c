use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use futures::FutureExt as _;

use super::*;
use crate::{error::DeliveryErrorKind, record::UserRecord};

const RECORDS_OF_EACH: usize = 20_000;

fn put(queue: &Queue) -> Result<(Delivery, bool), Box<Prepared>> {
    queue.put(Prepared::new(UserRecord::new("k", "v")), |_| true)
}

/// A pipeline that ends as soon as there is nothing to do. Returns what it has received.
fn run_briefly(queue: &Arc<Queue>, running: &AtomicUsize) -> usize {
    let mut receiver = Receiver::claim(queue).expect("who finds none starts it");
    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
    let (mut received, mut commands) = (0, Vec::new());
    loop {
        while receiver.take(&mut commands).now_or_never().is_some() {
            received += commands.drain(..).count();
        }
        running.fetch_sub(1, Ordering::SeqCst);
        if receiver.park() {
            return received;
        }
        running.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn no_command_is_left_without_a_pipeline_however_often_that_ends() {
    let queue = Arc::<Queue>::default();
    let (running, received, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..RECORDS_OF_EACH {
                    let (_delivery, starts) = put(&queue).expect("it is open");
                    if starts {
                        received.fetch_add(run_briefly(&queue, &running), Ordering::SeqCst);
                        ended.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });

    assert_eq!(received.into_inner(), 4 * RECORDS_OF_EACH);
    assert!(ended.into_inner() > 10 && !queue.is_running());
}

#[test]
fn holds_what_space_allows_and_is_taken_in_parts_and_in_order() {
    let queue = Arc::<Queue>::default();
    let mut deliveries: VecDeque<_> = (0..2 * COMMANDS + 5).map(|_| put(&queue).expect("there is space").0).collect();
    assert!(queue.put(Prepared::new(UserRecord::new("k", "v")), |_| false).is_err());
    let mut receiver = Receiver::claim(&queue).expect("it is wanted");
    let flushed = queue.flush().expect("there is a pipeline");

    let (mut commands, mut taken) = (Vec::new(), Vec::new());
    while receiver.take(&mut commands).now_or_never().is_some() {
        taken.push(commands.len());
        for command in commands.drain(..).filter(|command| matches!(command, Command::Put(_))) {
            drop(command);
            let first = deliveries.pop_front().expect("as many as were put");
            assert!(first.now_or_never().is_some(), "what was put first is taken first");
        }
    }

    assert_eq!(taken, [COMMANDS, COMMANDS, 6]);
    drop(flushed);
}

#[test]
fn queues_the_first_records_of_a_chunk_by_one_command() {
    let queue = Arc::<Queue>::default();
    let mut records: VecDeque<_> = (0..10).map(|n| Prepared::new(UserRecord::new("k", n.to_string()))).collect();
    let mut deliveries = Vec::new();

    assert!(!queue.put_chunk(&mut records, |_| 0, |delivery| deliveries.push(delivery)), "without space");
    assert!(queue.put_chunk(&mut records, |_| 7, |delivery| deliveries.push(delivery)), "it starts a pipeline");
    let mut receiver = Receiver::claim(&queue).expect("it is wanted");
    assert!(!queue.put_chunk(&mut records, |_| 1, |delivery| deliveries.push(delivery)));
    let flushed = queue.flush().expect("there is a pipeline");

    let mut commands = Vec::new();
    receiver.take(&mut commands).now_or_never().expect("commands");
    let [Command::PutChunk(first), Command::PutChunk(second), Command::Flush] = &mut commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!((first.len(), second.len(), records.len(), deliveries.len()), (7, 1, 2, 8));
    for (n, (ticket, delivery)) in first.drain(..).chain(second.drain(..)).zip(deliveries).enumerate() {
        drop(ticket);
        let failed = delivery.now_or_never().expect("resolved").expect_err("dropped");
        assert_eq!(failed.into_record().data(), &n.to_string());
    }
    let mut flushed = Box::pin(flushed);
    receiver.resolved(7);
    assert!(flushed.as_mut().now_or_never().is_none());
    receiver.resolved(8);
    assert!(flushed.now_or_never().is_some());
    queue.close();
    assert!(!queue.put_chunk(&mut records, |_| 1, |_| panic!("it is closed")));
    assert_eq!(records.len(), 2);
}

#[test]
fn hurries_queued_records_once() {
    let queue = Arc::<Queue>::default();
    queue.hurry();
    assert!(!queue.is_running(), "there is nothing to be hurried");
    let (_delivery, starts) = put(&queue).expect("there is space");
    let mut receiver = Receiver::claim(&queue).expect("it is wanted");

    (0..10).for_each(|_| queue.hurry());
    drop(put(&queue).expect("there is space"));
    (0..10).for_each(|_| queue.hurry());

    let mut commands = Vec::new();
    receiver.take(&mut commands).now_or_never().expect("commands");
    let hurries = commands.iter().map(|command| matches!(command, Command::Hurry)).collect::<Vec<_>>();
    assert_eq!((hurries, starts), (vec![false, true, false, true], true));
}

#[test]
fn sends_queued_records_at_once_by_one_command() {
    let queue = Arc::<Queue>::default();
    let _first = put(&queue).expect("there is space");
    let mut receiver = Receiver::claim(&queue).expect("it is wanted");

    queue.hurry();
    (0..10).for_each(|_| drop(queue.flush()));
    queue.hurry();
    let _second = put(&queue).expect("there is space");
    let _flushed = queue.flush();
    queue.hurry();

    let mut commands = Vec::new();
    receiver.take(&mut commands).now_or_never().expect("commands");
    let [Command::Put(_), Command::Hurry, Command::Flush, Command::Put(_), Command::Flush] = &commands[..] else {
        panic!("{commands:?}");
    };
}

#[test]
fn flushes_that_nobody_waits_for_do_not_pile_up() {
    let queue = Arc::<Queue>::default();
    let _sent = put(&queue).expect("there is space");
    let mut receiver = Receiver::claim(&queue).expect("it is wanted");

    (0..1000).for_each(|_| drop(queue.flush()));
    let waited_for = [queue.flush(), queue.flush()];

    let mut commands = Vec::new();
    receiver.take(&mut commands).now_or_never().expect("commands");
    assert_eq!(commands.len(), 2, "all by one command");
    let mut waited_for = waited_for.map(|flushed| Box::pin(flushed.expect("there is a pipeline")));
    assert!(waited_for.iter_mut().all(|flushed| flushed.now_or_never().is_none()));
    receiver.resolved(1);
    assert!(waited_for.iter_mut().all(|flushed| flushed.now_or_never().is_some()));
}

#[tokio::test]
async fn resolves_the_queue_of_a_failed_pipeline_and_takes_nothing_more() {
    let queue = Arc::<Queue>::default();
    let (delivery, _) = put(&queue).expect("there is space");
    let receiver = Receiver::claim(&queue).expect("it is wanted");

    drop(receiver);

    assert_eq!(delivery.await.expect_err("dropped").kind(), &DeliveryErrorKind::Abandoned);
    assert!(put(&queue).is_err());
    assert!(queue.flush().is_none_or(|flushed| flushed.now_or_never().is_some()));
}

#[test]
fn takes_queued_records_after_the_queue_closes() {
    let queue = Arc::<Queue>::default();
    let (_delivery, starts) = put(&queue).expect("there is space");
    let mut commands = Vec::new();

    queue.close();
    let mut receiver = Receiver::claim(&queue).expect("it is wanted, by who closes too");
    assert!(Receiver::claim(&queue).is_none(), "one at a time");

    receiver.take(&mut commands).now_or_never().expect("a command");
    assert_eq!((commands.drain(..).count(), starts), (1, true));
    receiver.take(&mut commands).now_or_never().expect("the end");
    assert!(commands.is_empty());
}

#[test]
fn a_flush_ends_when_its_pipeline_is_gone() {
    let queue = Arc::<Queue>::default();
    let _sent = put(&queue).expect("there is space");
    let receiver = Receiver::claim(&queue).expect("it is wanted");
    let mut flushed = Box::pin(queue.flush().expect("there is a pipeline"));

    assert!(flushed.as_mut().now_or_never().is_none());
    drop(receiver);

    assert!(flushed.now_or_never().is_some());
}
