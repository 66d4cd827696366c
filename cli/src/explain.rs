//! `kds explain`: why a shard makes no progress.

mod reasons;

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::sleep;

use self::reasons::{Evidence, Reason, StreamEvidence};
use crate::{
    aws::{Aws, stream_name::StreamName},
    failure::Failure,
    fleet::{lag, read},
    moment::up_to_an_hour,
    output,
    reading::shards,
};

/// Arguments of `kds explain`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArguments {
    /// Name of the application's lease table
    #[arg(value_name = "APP")]
    application: String,
    /// The shard, or the key of its lease
    shard: String,
    /// Stream of the application [default: as workers of kcl note it]
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Time for which the lease is watched; below 5 s nothing is said of its renewals, which are up to 4 s apart by default
    #[arg(long = "for", value_name = "TIME", default_value = "6s", value_parser = up_to_an_hour)]
    watch: Duration,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    application: String,
    shard: String,
    reasons: Vec<Reason>,
}

/// Prints the reasons. Only reads.
pub(crate) async fn run(aws: &Aws, arguments: ExplainArguments) -> Result<(), Failure> {
    let ExplainArguments { application, shard, stream, watch, json } = arguments;
    let before = read::read(aws, &application).await?;
    sleep(watch).await;
    let mut now = read::read(aws, &application).await?;
    let of_lease = reasons::find(&now, &shard).and_then(|lease| lease.stream.as_deref()?.parse().ok());
    let stream = read::stream_of(&now, stream.or(of_lease));
    lag::measure(aws, &mut now, stream.as_ref()).await;
    let evidence = stream_evidence(aws, stream.as_ref(), &shard).await;
    let reasons =
        reasons::reasons(&Evidence { before: &before, now: &now, watched: watch, shard: &shard, stream: evidence });
    let explanation = Explanation { application, shard, reasons };
    output::print(json, &explanation, || explanation.text())
}

/// Answers of the stream; none if it cannot be asked.
async fn stream_evidence(aws: &Aws, stream: Option<&StreamName>, shard: &str) -> StreamEvidence {
    let Some(stream) = stream else { return StreamEvidence::default() };
    let Ok(listed) = shards::all_shards(aws, stream).await else { return StreamEvidence::default() };
    let id = shard.rsplit(':').next().unwrap_or(shard);
    let found = listed.iter().find(|it| it.shard_id == id);
    let parents =
        found.iter().flat_map(|it| [&it.parent_shard_id, &it.adjacent_parent_shard_id]).flatten().cloned().collect();
    let described = aws.kinesis().describe_stream_summary().set_stream_name(stream.name()).set_stream_arn(stream.arn());
    let hours =
        described.send().await.ok().and_then(|it| it.stream_description_summary).map(|it| it.retention_period_hours);
    let retention = hours.map(|hours| Duration::from_secs(3_600 * u64::from(hours.unsigned_abs())));
    StreamEvidence { is_listed: Some(found.is_some()), parents, retention }
}

impl Explanation {
    fn text(&self) -> String {
        let reasons = self.reasons.iter().map(|it| format!("{}\n  {}\n", it.sentence, it.evidence));
        format!("{} of {}\n{}", self.shard, self.application, reasons.collect::<String>())
    }
}
