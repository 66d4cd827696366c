//! `kds copy`: copies the records of a stream into another, perhaps of another region or account.
//!
//! A worker of `kcl` reads, whose checkpoints are in a lease table of the copy's own; a producer of `kpl` puts. A batch is checkpointed
//! once all its records are stored, so nothing is lost, and what was under way when a copy ended is copied again. Compressed records
//! stay as they are where they can.

mod copier;
mod passage;
mod ranges;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use clap::Args;
use kcl::{InitialPosition, ShardContext, Worker};
use kpl::{Aggregation, Producer, compressed::FrameReader};
use tokio::sync::mpsc;

use self::{
    copier::{Copied, Copier, Lasting},
    ranges::Ranges,
};

use crate::{
    aws::{Aws, AwsArguments, refusal::refused, stream_name::StreamName},
    compressed::{self, DictionaryArguments},
    failure::{Failure, chain},
    moment::Start,
    output, stop, text,
};

/// Bytes of records that are read and not stored.
const READ_BYTES: u64 = 32 * 1024 * 1024;
const PUT_BYTES: usize = 16 * 1024 * 1024;

/// Arguments of `kds copy`.
#[derive(Debug, Clone, Args)]
pub(crate) struct CopyArguments {
    /// Name or ARN of the stream that is read
    from_stream: StreamName,
    /// Name or ARN of the stream that is put to
    to_stream: StreamName,
    /// Start of the first run: horizon, latest, an age such as 2h, or a time; later runs go on where the last one ended
    #[arg(long, value_name = "POSITION", default_value = "horizon")]
    from: Start,
    /// Name of the copy, and of the lease table with its checkpoints [default: kds-copy-FROM-TO]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Region of the stream that is put to [default: the same]
    #[arg(long, value_name = "REGION")]
    to_region: Option<String>,
    /// Profile for the stream that is put to [default: the same]
    #[arg(long, value_name = "NAME")]
    to_profile: Option<String>,
    /// Endpoint of the stream that is put to [default: the same]
    #[arg(long, value_name = "URL")]
    to_endpoint_url: Option<String>,
    /// One Kinesis record for each record, for consumers that do not take KPL aggregates apart
    #[arg(long)]
    no_aggregation: bool,
    #[command(flatten)]
    dictionaries: DictionaryArguments,
}

/// Copies until a signal, or until nothing more can be copied.
pub(crate) async fn run(from: &AwsArguments, arguments: CopyArguments) -> Result<(), Failure> {
    let CopyArguments { from_stream, to_stream, from: start, name, no_aggregation, dictionaries, .. } = arguments;
    let frames = dictionaries.reader()?;
    let source = from.load().await?;
    let target = AwsArguments {
        profile: arguments.to_profile.or_else(|| from.profile.clone()),
        region: arguments.to_region.or_else(|| from.region.clone()),
        endpoint_url: arguments.to_endpoint_url.or_else(|| from.endpoint_url.clone()),
    };
    let target = target.load().await?;
    let is_same_place =
        source.region() == target.region() && source.config.endpoint_url() == target.config.endpoint_url();
    if from_stream == to_stream && is_same_place {
        return Err(Failure::usage(format!("{from_stream} cannot be copied into itself"), "name another stream"));
    }
    find(&source, &from_stream).await?;
    find(&target, &to_stream).await?;
    let position = match start {
        Start::Horizon => InitialPosition::TrimHorizon,
        Start::Latest => InitialPosition::Latest,
        Start::Moment(moment) => InitialPosition::AtTimestamp(moment.at(source.clock.now())),
        Start::Sequence(_) => {
            return Err(Failure::usage("a copy cannot begin at a sequence number", "give a time, horizon or latest"));
        }
    };
    let aggregation = if no_aggregation { Aggregation::Off } else { Aggregation::default() };
    let (producer, frame_producer) =
        (producer(&target, &to_stream, aggregation)?, producer(&target, &to_stream, Aggregation::Off)?);
    let last = |stream: &StreamName| stream.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    let name = name.unwrap_or_else(|| format!("kds-copy-{}-{}", last(&from_stream), last(&to_stream)));
    let (lasting, failures) = mpsc::channel(1);
    let copier = Copier {
        producer: producer.clone(),
        frame_producer: frame_producer.clone(),
        from: Ranges::list(&source, &from_stream).await?,
        to: Ranges::list(&target, &to_stream).await?,
        frames,
        no_frames: no_aggregation,
        copied: Arc::default(),
        lasting,
        shard: None,
    };
    let copied = Arc::clone(&copier.copied);
    let worker = Worker::builder(&source.config, name, from_stream.as_str())
        .initial_position(position)
        .memory_budget(READ_BYTES)
        // None is opened: the copier decides.
        .frames(FrameReader::new().with_max_bytes(0))
        .build(move |_: &ShardContext| copier.clone())
        .map_err(|error| Failure::new("the copy cannot begin", error))?;
    let outcome = until_stopped(worker, failures).await;
    producer.shutdown().await;
    frame_producer.shutdown().await;
    output::print(false, &(), || format!("copied {}\n", copied_text(&copied)))?;
    outcome?.map_or(Ok(()), |lasting| Err(lasting.failure(&target, &to_stream)))
}

impl Lasting {
    fn failure(self, target: &Aws, to: &StreamName) -> Failure {
        let cause = match self {
            Self::Refused(code, message) => {
                refused(target, "kinesis:PutRecords", &format!("stream {to}"), &code, &message)
            }
            Self::Closed(shard, error) => {
                let what =
                    format!("a compressed record of {shard} belongs to several shards of {to}, or must be taken apart");
                Failure::new(what, compressed::closed(&error))
            }
            Self::Failed(failure) => failure,
        };
        Failure::new(cause, "what is not stored is not checkpointed: start the copy again")
    }
}

fn producer(target: &Aws, stream: &StreamName, aggregation: Aggregation) -> Result<Producer, Failure> {
    let builder = Producer::builder(&target.config, stream.as_str()).aggregation(aggregation);
    let built = builder.max_outstanding_bytes(PUT_BYTES).build();
    built.map_err(|error| Failure::new("the producer cannot be built", error))
}

fn copied_text(copied: &Copied) -> String {
    let records = text::counted(copied.records.load(Relaxed), "record");
    match copied.frames.load(Relaxed) {
        0 => records,
        frames => format!("{records}, and {} as they were", text::counted(frames, "compressed record")),
    }
}

async fn find(aws: &Aws, stream: &StreamName) -> Result<(), Failure> {
    let described = aws.kinesis().describe_stream_summary().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let target = format!("stream {stream}");
    described.send().await.map(drop).map_err(|error| aws.explain("kinesis:DescribeStreamSummary", &target, error))
}

/// Runs the worker until a signal or a lasting failure, which it returns.
async fn until_stopped(
    worker: Worker<impl kcl::ProcessorFactory>,
    mut failures: mpsc::Receiver<Lasting>,
) -> Result<Option<Lasting>, Failure> {
    let (stop, handle) = (stop::on_signal()?, worker.start());
    let refusal = tokio::select! {
        () = stop.cancelled() => None,
        refusal = failures.recv() => refusal,
        ended = handle.wait() => {
            let ended = ended.err().map(|error| Failure::new(chain(&*error), "start the copy again"));
            return ended.map_or(Ok(None), Err);
        }
    };
    let stopped = handle.stop().await;
    stopped.map_err(|error| Failure::new(chain(&*error), "start the copy again"))?;
    Ok(refusal)
}
