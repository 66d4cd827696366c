//! `kds tail`: prints the records of a stream.

mod answer_size;
pub(crate) mod filter;
pub(crate) mod lineage;
pub(crate) mod print;
pub(crate) mod reader;
pub(crate) mod room;
pub(crate) mod sink;

use std::time::Duration;

use clap::Args;
use kpl::{HashKey, SequenceNumber, ShardId};
use regex::bytes::Regex;
use tokio::{sync::mpsc, task::JoinSet};

use self::{
    filter::Filter,
    lineage::{Lineage, Wanted},
    print::{OutputFormat, Printer},
    reader::{Found, ShardReader, Until},
    room::Room,
    sink::Sink,
};
use crate::{
    aws::{Aws, stream_name::StreamName},
    compressed::{DictionaryArguments, Unopened},
    failure::Failure,
    moment::{Moment, Start},
    output::Output,
    reading::{
        position::Position,
        shards::{self, Shard},
    },
    stop, text,
};

/// Answers that wait to be printed; their memory is bounded by [`Room`].
const ANSWERS: usize = 16;

/// Arguments of `kds tail`.
#[derive(Debug, Clone, Args)]
pub(crate) struct TailArguments {
    /// Name or ARN of the stream
    stream: StreamName,
    /// Start: horizon, latest, an age such as 15m or 2h, a time, or with --shard a sequence number
    #[arg(long, default_value = "latest", value_name = "POSITION")]
    from: Start,
    /// End at this time, or this age; one in the future is waited for
    #[arg(long, value_name = "TIME", conflicts_with = "no_follow")]
    to: Option<Moment>,
    /// End at the newest record rather than wait for more
    #[arg(long)]
    no_follow: bool,
    /// Only this shard, for example shardId-000000000003, without those that follow it
    #[arg(long, value_name = "ID")]
    shard: Option<String>,
    /// Only records of this partition key, from the shards that its hash belongs to
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only records whose data contain this regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    max: Option<u64>,
    /// Shape of the output
    #[arg(long, short, value_enum, default_value = "text")]
    output: OutputFormat,
    /// The same as --output json
    #[arg(long, conflicts_with = "output")]
    json: bool,
    #[command(flatten)]
    dictionaries: DictionaryArguments,
    /// Print aggregates and compressed records as they are
    #[arg(long)]
    no_deaggregation: bool,
    /// Print compressed data as they are; by default gzip and zlib are taken off
    #[arg(long)]
    no_decompression: bool,
}

/// Prints records until the end that is asked for, or a signal.
pub(crate) async fn run(aws: &Aws, arguments: TailArguments) -> Result<(), Failure> {
    let TailArguments { stream, from, to, no_follow, shard, key, grep, max, output, json, .. } = arguments;
    let printer = Printer {
        format: if json { OutputFormat::Json } else { output },
        filter: Filter { key: key.clone(), grep, keep_compressed: arguments.no_decompression },
        keep_aggregates: arguments.no_deaggregation,
        frames: arguments.dictionaries.reader()?,
        unopened: Unopened::default(),
        left: max.unwrap_or(u64::MAX),
        discarded: 0,
        printed: 0,
    };
    let reading = Reading { stream, from, shard, key, printer, sink: Sink::Stdout(Output::new()) };
    let until = |aws: &Aws| match to {
        Some(moment) => Until::moment(moment, aws),
        None if no_follow => Until::Tip,
        None => Until::Stopped,
    };
    read(aws, reading, until).await.map(drop)
}

/// Parts of a stream to read, and the place to print them.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) stream: StreamName,
    pub(crate) from: Start,
    /// This shard alone.
    pub(crate) shard: Option<String>,
    /// The shards that the hash of this partition key belongs to.
    pub(crate) key: Option<String>,
    pub(crate) printer: Printer,
    pub(crate) sink: Sink,
}

/// Prints records until the end that `until` names, once the services' time is known; returns their number.
pub(crate) async fn read(aws: &Aws, reading: Reading, until: impl FnOnce(&Aws) -> Until) -> Result<u64, Failure> {
    let Reading { stream, from, shard, key, printer, sink } = reading;
    if matches!(from, Start::Sequence(_)) && shard.is_none() {
        return Err(Failure::usage("a sequence number belongs to one shard", "add --shard"));
    }
    let wanted =
        Wanted { shard: shard.as_deref().map(ShardId::from), hash_key: key.as_deref().map(HashKey::of_partition_key) };
    let (lineage, first, position) = start(aws, &stream, &from, wanted).await?;
    let until = until(aws);
    if let (Position::Time(begin), Until::Time(end)) = (&position, until)
        && end < *begin
    {
        return Err(Failure::usage("the window ends before it begins", "give --to as a later time than --from"));
    }
    let (sender, receiver) = mpsc::channel(ANSWERS);
    let (client, room, readers) = (aws.kinesis_without_retries(), Room::default(), JoinSet::new());
    let mut tail = Tail { aws, client, stream, until, room, sender, readers, lineage, printer, sink };
    for shard in first {
        tail.read(shard, position.clone());
    }
    let outcome = tail.until_done(receiver).await;
    if tail.printer.discarded > 0 {
        let records = text::counted(tail.printer.discarded, "record");
        eprintln!("kds: {records} of aggregates in wrong shards not printed, as a KCL discards them");
    }
    tail.printer.unopened.report("printed as stored");
    let is_complete = outcome?;
    if is_complete {
        tail.sink.finish()?;
    } else {
        tail.sink.flush()?;
    }
    Ok(tail.printer.printed)
}

/// The shards to begin with, and the position in each.
async fn start(
    aws: &Aws,
    stream: &StreamName,
    from: &Start,
    wanted: Wanted,
) -> Result<(Lineage, Vec<Shard>, Position), Failure> {
    let all = if wanted.shard.is_some() { shards::all_shards(aws, stream).await? } else { Vec::new() };
    let position = match from {
        Start::Horizon => Position::Horizon,
        Start::Latest => Position::Latest,
        Start::Sequence(number) => Position::At(number.clone()),
        Start::Moment(moment) => {
            // For the services' time.
            shards::open_at(aws, stream, &Position::Latest).await?;
            let (begin, now) = (moment.at(aws.clock.now()), aws.clock.now());
            // The services' time is known to a second.
            if begin > now + Duration::from_secs(1) {
                let what = "the window begins in the future";
                return Err(Failure::usage(what, "give --from as a time of the past, or leave it out"));
            }
            Position::Time(begin)
        }
    };
    let shards = match &wanted.shard {
        Some(_) => all.iter().filter_map(shards::shard).collect(),
        None => shards::open_at(aws, stream, &position).await?,
    };
    let missing = wanted.shard.clone();
    let (lineage, first) = Lineage::start(wanted, shards);
    match missing {
        Some(shard) if first.is_empty() => {
            let what = format!("stream {stream} has no {shard}");
            Err(Failure::new(what, format!("its shards are listed by kds stream {stream}")))
        }
        _ => Ok((lineage, first, position)),
    }
}

struct Tail<'a> {
    aws: &'a Aws,
    client: aws_sdk_kinesis::Client,
    stream: StreamName,
    until: Until,
    room: Room,
    sender: mpsc::Sender<Found>,
    readers: JoinSet<()>,
    lineage: Lineage,
    printer: Printer,
    sink: Sink,
}

impl Tail<'_> {
    fn read(&mut self, shard: Shard, position: Position) {
        let reader = ShardReader {
            aws: self.aws.clone(),
            client: self.client.clone(),
            stream: self.stream.clone(),
            shard,
            position,
            until: self.until,
            room: self.room.clone(),
            is_limited: false,
            failures: 0,
            found: self.sender.clone(),
        };
        self.readers.spawn(reader.run());
    }

    /// False: a signal came before the end.
    async fn until_done(&mut self, mut found: mpsc::Receiver<Found>) -> Result<bool, Failure> {
        let stop = stop::on_signal()?;
        while !self.lineage.is_done() && self.printer.left > 0 {
            let next = tokio::select! {
                () = stop.cancelled() => return Ok(false),
                next = found.recv() => next,
            };
            match next {
                Some(Found::Records { shard, range, answer, room }) => {
                    let output = self.sink.of(&shard)?;
                    for record in answer.records {
                        if !self.printer.print(output, &shard, range, record)? {
                            break;
                        }
                    }
                    self.sink.flush()?;
                    drop(room);
                }
                Some(Found::Ended { shard, children }) => {
                    for child in self.lineage.end(&shard, children) {
                        self.read(child, Position::Horizon);
                    }
                }
                Some(Found::Reached { shard }) => drop(self.lineage.end(&shard, Vec::new())),
                Some(Found::Failed(failure)) => return Err(failure),
                None => break,
            }
        }
        Ok(true)
    }
}

/// A sequence number of the service.
pub(crate) fn sequence_number(text: &str) -> Result<SequenceNumber, Failure> {
    text.parse().map_err(|error| Failure::new("Kinesis returned a record that cannot be placed", error))
}
