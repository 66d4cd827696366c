//! SHELL: the lag of each lease as time, by one GetRecords of Limit 1 for each shard.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, stream};
use kcl::Checkpoint;
use serde::Serialize;
use tokio::time::timeout_at;

use super::view::{FleetView, LeaseView};
use crate::{
    aws::{Aws, stream_name::StreamName},
    reading::{position::Position, shards},
};

/// Time for all shards together.
pub(crate) const TIME: Duration = Duration::from_secs(10);
/// Shards that are asked side by side.
const SHARDS: usize = 50;

/// Age of the oldest record that is not processed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Lag {
    #[serde(rename = "lagMillis")]
    Millis(u64),
    /// Why it is not known.
    #[serde(rename = "lagUnknown")]
    Unknown(String),
}

/// Asks for the lag of all leases that are not ended. `stream`: of an application of one stream.
pub(crate) async fn measure(aws: &Aws, view: &mut FleetView, stream: Option<&StreamName>) {
    let deadline = tokio::time::Instant::now() + TIME;
    let asked = view.leases.iter().enumerate().filter(|(_, lease)| !lease.is_ended());
    let asked: Vec<(usize, Option<StreamName>, LeaseView)> = asked
        .map(|(place, lease)| {
            let of_lease = lease.stream.as_deref().and_then(|name| name.parse().ok());
            (place, of_lease.or_else(|| stream.cloned()), lease.clone())
        })
        .collect();
    let lags = stream::iter(asked).map(|(place, stream, lease)| async move {
        let Some(stream) = stream else {
            return (place, Lag::Unknown("its stream is not known, name it by --stream".to_owned()));
        };
        let late = Lag::Unknown("it was not answered in time".to_owned());
        (place, timeout_at(deadline, lag(aws, &stream, &lease)).await.unwrap_or(late))
    });
    let lags: Vec<(usize, Lag)> = lags.buffer_unordered(SHARDS).collect().await;
    for (place, lag) in lags {
        view.leases[place].lag = Some(lag);
    }
}

async fn lag(aws: &Aws, stream: &StreamName, lease: &LeaseView) -> Lag {
    let position = match &lease.position {
        Checkpoint::At(position) => Position::After(position.sequence_number.clone()),
        Checkpoint::TrimHorizon | Checkpoint::AtTimestamp => Position::Horizon,
        _ => Position::Latest,
    };
    let shard = lease.shard_id.as_str().into();
    let iterator = match shards::iterator(aws, stream, &shard, &position).await {
        Ok(iterator) => iterator,
        Err(failure) => return Lag::Unknown(failure.to_string()),
    };
    let answer = match aws.kinesis().get_records().shard_iterator(iterator).limit(1).send().await {
        Ok(answer) => answer,
        Err(error) => {
            return Lag::Unknown(aws.explain("kinesis:GetRecords", &format!("{shard} of {stream}"), error).to_string());
        }
    };
    let arrival = answer.records.first().and_then(|record| record.approximate_arrival_timestamp);
    let oldest = arrival.and_then(|time| SystemTime::try_from(time).ok());
    let behind = u64::try_from(answer.millis_behind_latest.unwrap_or(0)).unwrap_or(0);
    let age = oldest.and_then(|oldest| aws.clock.now().duration_since(oldest).ok());
    Lag::Millis(age.map_or(behind, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
}
