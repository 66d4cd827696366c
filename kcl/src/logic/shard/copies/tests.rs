use std::{collections::HashSet, num::NonZero};

use proptest::prelude::*;

use super::*;
use crate::{
    logic::shard::Progress,
    model::{CheckpointWrite, Lease},
};

fn number(series: u64, number: u64) -> RecordNumber {
    RecordNumber::new(NonZero::new(series).expect("not zero"), number)
}

/// Kinesis records with these numbers, from a sequence number on.
fn log(first: u64, kinesis_records: &[Vec<RecordNumber>]) -> Vec<Record> {
    let of = |(sequence_number, numbers): (u64, &Vec<RecordNumber>)| {
        let sequence_number: kpl::SequenceNumber = sequence_number.to_string().parse().unwrap();
        let record = |(number, sub_sequence_number): (&RecordNumber, u64)| Record {
            sub_sequence_number,
            ..Record::new("k", "", sequence_number.clone()).with_number(*number)
        };
        numbers.iter().zip(0..).map(record).collect::<Vec<_>>()
    };
    (first..).zip(kinesis_records).flat_map(of).collect()
}

/// A worker's time with a shard: how much it reads, how far it checkpoints at last, and whether that is a checkpoint of Java's.
#[derive(Debug, Clone)]
struct Life {
    reads: usize,
    batch: usize,
    checkpoint: usize,
    is_java: bool,
}

/// The records behind the lease's checkpoint that a worker delivers of those it reads, and its progress.
fn deliver(read: &[Record], batch: usize, inherited: &Numbers, lease: &Lease) -> (Vec<Record>, Progress) {
    let own = lease.numbers.as_deref().and_then(|numbers| Numbers::read(numbers, &lease.checkpoint));
    let numbers = own.unwrap_or_else(|| inherited.clone());
    let mut progress = Progress::starting_at(lease.checkpoint.clone()).without_copies(numbers);
    let mut delivered = Vec::new();
    for batch in read.chunks(batch) {
        let mut records = batch.to_vec();
        let (sifted, copies_end) = progress.sift(&mut records);
        assert_eq!(sifted.copies as usize, batch.len() - records.len());
        assert_eq!(copies_end.is_some(), records.last() != batch.last());
        progress.deliver(batch.last().expect("a chunk").position());
        delivered.extend(records);
    }
    (delivered, progress)
}

/// Reads a shard to its end, in lives. Returns the numbers of what was delivered for good, and leaves its numbers in the lease.
fn consume(log: &[Record], lives: &[Life], inherited: &Numbers, lease: &mut Lease) -> Vec<RecordNumber> {
    let behind = |lease: &Lease| {
        let done = lease.checkpoint.clone();
        log.iter().filter(|record| Checkpoint::At(record.position()) > done).cloned().collect::<Vec<_>>()
    };
    let mut kept = Vec::new();
    for life in lives {
        let mut read = behind(lease);
        read.truncate(life.reads);
        let (mut delivered, mut progress) = deliver(&read, life.batch, inherited, lease);
        let Some(last) = life.checkpoint.min(read.len()).checked_sub(1) else { continue };
        let position = read[last].position();
        delivered.retain(|record| record.position() <= position);
        kept.extend(delivered.iter().filter_map(Record::number));
        for at in [last / 2, last] {
            let checkpoint = Checkpoint::At(read[at].position());
            let write = match life.is_java {
                true => CheckpointWrite::commit(checkpoint.clone()),
                false => progress.commit(checkpoint.clone()),
            };
            write.apply(lease);
            progress.stored_at(checkpoint);
        }
    }
    let (delivered, progress) = deliver(&behind(lease), 7, inherited, lease);
    kept.extend(delivered.iter().filter_map(Record::number));
    (lease.checkpoint, lease.numbers) = (Checkpoint::ShardEnd, progress.numbers_at(&Checkpoint::ShardEnd));
    kept
}

fn lease() -> Lease {
    Lease::unowned("shardId-000000000000".into(), Checkpoint::TrimHorizon)
}

fn firsts(log: &[Record], before: &[RecordNumber]) -> Vec<RecordNumber> {
    let mut seen: HashSet<_> = before.iter().copied().collect();
    log.iter().filter_map(Record::number).filter(|number| seen.insert(*number)).collect()
}

/// Aggregates of a few producers: new records, with gaps; copies of earlier aggregates, whole or in part.
fn any_log(series: std::ops::Range<u64>, len: usize) -> impl Strategy<Value = Vec<Vec<RecordNumber>>> {
    let step = (series, 0..3_u64, 1..6_u64, prop::option::weighted(0.4, (any::<prop::sample::Index>(), 0..5_usize)));
    prop::collection::vec(step, 1..len).prop_map(|steps| {
        let (mut next, mut log) = (std::collections::HashMap::new(), Vec::<Vec<RecordNumber>>::new());
        for (series, gap, records, copy) in steps {
            match copy.filter(|_| !log.is_empty()) {
                Some((index, from)) => {
                    let original = log[index.index(log.len())].clone();
                    let from = from.min(original.len() - 1);
                    log.push(original[from..].to_vec());
                }
                None => {
                    let next: &mut u64 = next.entry(series).or_default();
                    let first = *next + gap;
                    *next = first + records;
                    log.push((first..first + records).map(|of| number(series, of)).collect());
                }
            }
        }
        log
    })
}

fn lives(java: f64) -> impl Strategy<Value = Vec<Life>> {
    let life = (1..60_usize, 1..9_usize, 0..60_usize, prop::bool::weighted(java));
    let life = life.prop_map(|(reads, batch, checkpoint, is_java)| Life { reads, batch, checkpoint, is_java });
    prop::collection::vec(life, 0..8)
}

#[test]
fn what_is_delivered_again_behind_the_checkpoint_is_no_copy() {
    let log = log(1, &[vec![number(1, 0), number(1, 1)], vec![number(1, 2)], vec![number(1, 1), number(1, 2)]]);
    let mut copies = Copies::after(Numbers::default());
    copies.sift(&mut log.clone());

    let checkpoint = Checkpoint::At(log[0].position());
    let kept = copies.at(&checkpoint).write(&checkpoint);
    let mut again = log[1..].to_vec();
    let sifted = Copies::after(Numbers::read(&kept, &checkpoint).expect("its own")).sift(&mut again);

    assert_eq!(again, log[1..3]);
    assert_eq!(sifted, Sifted { copies: 2, undecided: 0 });
}

#[test]
fn more_runs_than_are_kept_one_by_one_count_in_a_later_checkpoint() {
    let runs = 3 * MAX_RUNS as u64;
    let log = log(1, &(0..runs).map(|of| vec![number(1, of)]).collect::<Vec<_>>());
    let mut copies = Copies::after(Numbers::default());
    copies.sift(&mut log.clone());

    let is_known = |at: usize, of: usize| {
        let numbers = copies.at(&Checkpoint::At(log[at].position()));
        numbers.known(log[of].number().expect("numbered")) == Known::Delivered
    };

    assert!(copies.runs.len() <= MAX_RUNS);
    let last = log.len() - 1;
    assert!(is_known(last, last) && is_known(last, 0), "all that was delivered by then");
    assert!(!is_known(last - 1, last) && !is_known(0, 0));
}

#[test]
fn what_is_noted_out_of_order_counts_in_no_checkpoint_before_it() {
    let log = log(1, &(0..=MAX_RUNS as u64).map(|of| vec![number(1, of)]).collect::<Vec<_>>());
    let [rest @ .., last] = &log[..] else { panic!("records") };
    let mut copies = Copies::after(Numbers::default());
    for record in [last].into_iter().chain(rest) {
        copies.delivered(&record.position(), record.number().expect("numbered"));
    }

    let known = |at: &Record| {
        let numbers = copies.at(&Checkpoint::At(at.position()));
        numbers.known(last.number().expect("numbered"))
    };

    assert!(copies.joined.is_some());
    assert_ne!(known(&rest[rest.len() - 1]), Known::Delivered);
    assert_eq!(known(last), Known::Delivered);
}

proptest! {
    #[test]
    fn each_record_is_delivered_once_and_in_order_over_restarts_splits_and_merges(
        parents in [any_log(1..4, 30), any_log(4..7, 30)],
        own in any_log(1..8, 30),
        copied in prop::collection::vec((0..2_usize, any::<prop::sample::Index>()), 0..20),
        lives in [lives(0.0), lives(0.0), lives(0.0)],
    ) {
        let (mut before, mut inherited) = (Vec::new(), Numbers::default());
        for (parent, lives) in parents.iter().zip(&lives) {
            let (log, mut lease) = (log(1, parent), lease());
            let kept = consume(&log, lives, &Numbers::default(), &mut lease);
            prop_assert_eq!(&kept, &firsts(&log, &[]));
            before.extend(kept);
            inherited.add_all(&Numbers::read(lease.numbers.as_deref().expect("kept"), &lease.checkpoint).expect("its own"));
        }
        // Of the child's records, those of other series are its own; numbers go on elsewhere in the parents' series.
        let own = own.into_iter().map(|run| {
            run.into_iter().map(|of| number(of.series().get() + 10, of.number())).collect()
        });
        let copied = copied.into_iter().map(|(of, index)| parents[of][index.index(parents[of].len())].clone());
        let child = log(1000, &copied.chain(own).collect::<Vec<_>>());

        let kept = consume(&child, &lives[2], &inherited, &mut lease());

        prop_assert_eq!(kept, firsts(&child, &before));
    }

    #[test]
    fn nothing_is_lost_whatever_is_forgotten(kinesis_records in any_log(1..900, 400), lives in lives(0.5)) {
        let log = log(1, &kinesis_records);
        let kept = consume(&log, &lives, &Numbers::unknown(), &mut lease());

        let mut seen = HashSet::new();
        let first: Vec<_> = kept.into_iter().filter(|number| seen.insert(*number)).collect();
        prop_assert_eq!(first, firsts(&log, &[]));
    }
}
