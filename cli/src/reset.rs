//! `kds reset`: sets the checkpoints of an application to a position.

use clap::Args;
use kcl::{InitialPosition, Reset, ResetError, StreamSource, Streams, Worker, WorkerBuilder};
use serde::Serialize;

use crate::{
    aws::{Aws, stream_name::StreamName},
    confirm::{Consent, confirm},
    failure::{Failure, chain},
    fleet::{read, view::FleetView},
    moment::Start,
    output, text,
};

/// Arguments of `kds reset`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResetArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// Position: horizon, latest, an age such as 2h, or a time
    #[arg(long, value_name = "POSITION")]
    to: Start,
    /// Stream of the application [default: as workers of kcl note it]; of several, only this one
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Only this shard and those that follow it
    #[arg(long, value_name = "ID")]
    shard: Option<String>,
    /// Reset although workers run: they lose their leases
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    consent: Consent,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct ShardLine {
    shard: String,
    before: Option<String>,
    after: String,
}

/// Shows a plan, asks, and resets.
pub(crate) async fn run(aws: &Aws, arguments: ResetArguments) -> Result<(), Failure> {
    let ResetArguments { application, to, stream, shard, force, consent, json } = arguments;
    let view = read::read(aws, &application).await?;
    let position = match &to {
        Start::Horizon => InitialPosition::TrimHorizon,
        Start::Latest => InitialPosition::Latest,
        Start::Moment(moment) => InitialPosition::AtTimestamp(moment.at(aws.clock.now())),
        Start::Sequence(_) => {
            return Err(Failure::usage(
                "a reset to a sequence number is not possible",
                "give a time, horizon or latest",
            ));
        }
    };
    let mut reset = Reset::to(position);
    if let Some(shard) = shard.as_deref() {
        reset = reset.only_shard(shard);
    }
    let builder = builder(aws, &view, stream.as_ref())?;
    if let (Some(stream), true) = (&stream, view.leases.iter().any(|lease| lease.stream.is_some())) {
        reset = reset.only_stream(stream.as_str());
    }
    confirm(&plan(&view, position, shard.as_deref(), force), consent.yes)?;
    let reset = if force { reset.force() } else { reset };
    let report = builder.reset(reset).await.map_err(|error| explain(&error))?;
    let lines: Vec<ShardLine> = report
        .shards
        .iter()
        .map(|shard| ShardLine {
            shard: shard.shard.shard_id.to_string(),
            before: shard.before.as_ref().map(ToString::to_string),
            after: shard.after.to_string(),
        })
        .collect();
    output::print(json, &lines, || {
        let line = |it: &ShardLine| {
            format!("{} from {} to {}\n", it.shard, it.before.as_deref().unwrap_or("no lease"), it.after)
        };
        lines.iter().map(line).collect()
    })
}

/// A worker of the application, which is never run.
pub(crate) fn builder(aws: &Aws, view: &FleetView, stream: Option<&StreamName>) -> Result<WorkerBuilder, Failure> {
    let mut names: Vec<&str> = view.leases.iter().filter_map(|lease| lease.stream.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let source: StreamSource = match (names.as_slice(), read::stream_of(view, stream.cloned())) {
        ([], Some(stream)) => stream.as_str().into(),
        ([], None) => {
            let what = format!("the stream of {} is not known", view.application);
            return Err(Failure::usage(what, "name it by --stream"));
        }
        (names, _) => Streams::new(names.iter().copied()).into(),
    };
    Ok(Worker::builder(&aws.config, view.application.clone(), source))
}

fn plan(view: &FleetView, position: InitialPosition, shard: Option<&str>, force: bool) -> String {
    let to = match position {
        InitialPosition::TrimHorizon => "the oldest record that the stream retains".to_owned(),
        InitialPosition::AtTimestamp(time) => text::time(time),
        _ => "the newest record".to_owned(),
    };
    let what = shard.map_or("all shards".to_owned(), |shard| format!("{shard} and the shards that follow it"));
    let leases = text::counted(view.leases.len() as u64, "lease");
    let alive = match view.alive() {
        0 => "workers that seem to run: none".to_owned(),
        alive if force => format!("workers that seem to run, and lose their leases: {alive}"),
        alive => format!("workers that seem to run: {alive}; if they do, the reset is refused"),
    };
    format!("reset {} ({leases}): {what} to {to}\n{alive}\n", view.application)
}

fn explain(error: &ResetError) -> Failure {
    let advice = match error {
        ResetError::WorkersLive { .. } => "stop them, or pass --force; nothing was changed",
        ResetError::Partial { .. } => "repeat the reset before workers start",
        ResetError::UnknownShard { .. } | ResetError::UnknownStream { .. } => {
            "kds fleet lists them; nothing was changed"
        }
        ResetError::WhichStream => "name it by --stream; nothing was changed",
        ResetError::Unreadable { .. } => "repair or delete them; nothing was changed",
        _ => "nothing was changed; try again",
    };
    Failure::new(chain(error), advice)
}
