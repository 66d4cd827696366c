//! `kds stream`: facts about a stream and its load, and changes of its shards.

mod change;
mod facts;
mod hot;
mod plan;
mod progress;
mod sampling;
mod tree;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use self::{
    change::{CreateArguments, DeleteArguments, MergeArguments, ScaleArguments, SplitArguments},
    facts::StreamFacts,
    hot::ShardLoad,
};
use crate::{
    aws::{Aws, stream_name::StreamName},
    compressed,
    failure::Failure,
    moment::up_to_an_hour,
    output, text,
};

/// Arguments of `kds stream`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct StreamArguments {
    /// Name or ARN of the stream
    #[arg(required = true)]
    stream: Option<StreamName>,
    /// Sample the tip: load by shard and partition key, and the split that would even it out
    #[arg(long)]
    hot: bool,
    /// Time of the sample
    #[arg(long = "for", value_name = "TIME", default_value = "10s", requires = "hot", value_parser = up_to_an_hour)]
    sample_time: Duration,
    /// Dictionary of compressed records in the sample, as train-dictionary writes it; may be given several times
    #[arg(long = "dictionary", value_name = "FILE", requires = "hot")]
    dictionaries: Vec<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Clone, Subcommand)]
enum Change {
    /// Create a stream
    Create(CreateArguments),
    /// Delete a stream with its records
    Delete(DeleteArguments),
    /// Split a shard
    Split(SplitArguments),
    /// Merge two adjacent shards
    Merge(MergeArguments),
    /// Change the number of open shards
    Scale(ScaleArguments),
}

/// Shows or changes a stream.
pub(crate) async fn run(aws: &Aws, arguments: StreamArguments) -> Result<(), Failure> {
    let StreamArguments { stream, hot, sample_time, dictionaries, json, change } = arguments;
    match (change, stream) {
        (Some(Change::Create(arguments)), _) => change::create(aws, arguments).await,
        (Some(Change::Delete(arguments)), _) => change::delete(aws, arguments).await,
        (Some(Change::Split(arguments)), _) => change::split(aws, arguments).await,
        (Some(Change::Merge(arguments)), _) => change::merge(aws, arguments).await,
        (Some(Change::Scale(arguments)), _) => change::scale(aws, arguments).await,
        (None, Some(stream)) if hot => {
            let loads = sampling::sample(aws, &stream, sample_time, &compressed::reader(&dictionaries)?).await?;
            output::print(json, &loads, || loads_text(&stream, &loads))
        }
        (None, Some(stream)) => {
            let facts = facts::read(aws, &stream).await?;
            output::print(json, &facts, || facts.text())
        }
        (None, None) => Err(Failure::usage("no stream is named", "kds stream STREAM shows one")),
    }
}

impl StreamFacts {
    fn text(&self) -> String {
        let hours = u64::from(self.retention_hours.unsigned_abs());
        let open = u64::from(self.open_shards.unsigned_abs());
        let mut lines = vec![
            format!("stream      {}, {}, {}", self.name, self.status, self.mode),
            format!("arn         {}", self.arn),
            format!("created     {}", self.created.as_deref().unwrap_or("-")),
            format!("retention   {}", text::duration(Duration::from_secs(hours * 3_600))),
            format!("encryption  {}", self.encryption_key.as_deref().unwrap_or("none")),
            format!(
                "limits      {open} MiB/s and {} records/s to put, {} MiB/s to read, records of up to {} KiB",
                text::count(open * 1_000),
                open * 2,
                text::count(self.max_record_kib.map_or(1_024, |kib| u64::from(kib.unsigned_abs()))),
            ),
        ];
        lines.push(match &self.consumers {
            None => "consumers   unknown, kinesis:ListStreamConsumers is denied".to_owned(),
            Some(consumers) if consumers.is_empty() => "consumers   none with fan-out".to_owned(),
            Some(consumers) => {
                let consumers: Vec<_> = consumers.iter().map(|it| format!("{} ({})", it.name, it.status)).collect();
                format!("consumers   {}", consumers.join(", "))
            }
        });
        lines.push(format!("shards      {} open of {}", open, self.shards.len()));
        lines.extend(tree::lines(&self.shards).into_iter().map(|line| format!("  {line}")));
        lines.join("\n") + "\n"
    }
}

fn loads_text(stream: &StreamName, loads: &[ShardLoad]) -> String {
    let mut lines = Vec::new();
    for load in loads {
        lines.push(format!(
            "{} {:.0} % of its limit: {}/s, {:.0} records/s, {:.0} user records/s",
            load.shard_id,
            load.percent_of_limit,
            text::bytes(load.bytes_per_second as u64),
            load.records_per_second,
            load.user_records_per_second,
        ));
        for key in &load.keys {
            let name = text::printable(key.partition_key.as_bytes());
            lines.push(format!(
                "  {:5.1} % {name} ({:.1} user records/s)",
                key.percent_of_shard, key.records_per_second
            ));
        }
        match (&load.split, load.keys.first()) {
            (Some(split), _) => {
                let (at, lower) = (&split.at, split.lower_percent);
                let command = format!("kds stream split {stream} {} --at {at}", load.shard_id);
                lines.push(format!("  evened out by {command} ({lower:.0} % below)"));
            }
            (None, Some(_)) => lines.push("  not evened out by any split: few keys have most of the load".to_owned()),
            (None, None) => {}
        }
    }
    lines.join("\n") + "\n"
}
