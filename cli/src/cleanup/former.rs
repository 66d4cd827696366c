//! SHELL: streams that an application of several streams has leases of, and does not read any more.

use std::collections::BTreeMap;

use kcl::StreamId;

use crate::{aws::Aws, failure::Failure, fleet::view::FleetView};

/// Former streams, with the reasons.
pub(super) type Former = BTreeMap<StreamId, String>;

/// Streams that are named as former ones, that do not exist any more, or that were created anew.
pub(super) async fn former(aws: &Aws, view: &FleetView, named: &[String]) -> Result<Former, Failure> {
    let mut former = Former::new();
    let mut streams: Vec<&StreamId> = view.leases.iter().filter_map(|lease| lease.stream_id.as_ref()).collect();
    streams.sort();
    streams.dedup();
    if let Some(unknown) = named.iter().find(|name| !streams.iter().any(|stream| stream.name() == *name)) {
        return Err(Failure::new(format!("{} has no leases of stream {unknown}", view.application), "check the name"));
    }
    for stream in streams {
        let reason = match named.iter().any(|name| name == stream.name()) {
            true => Some("is named as a former one".to_owned()),
            false => is_gone(aws, stream).await?,
        };
        former.extend(reason.map(|reason| (stream.clone(), reason)));
    }
    Ok(former)
}

/// The reason why it cannot be read any more, if there is one.
async fn is_gone(aws: &Aws, stream: &StreamId) -> Result<Option<String>, Failure> {
    let (Some(account), Some(epoch)) = (stream.account(), stream.creation_epoch()) else { return Ok(None) };
    let (name, region) = (stream.name(), aws.region());
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    // By its ARN: a stream of another account is not looked for among those of this one.
    let arn = format!("arn:{partition}:kinesis:{region}:{account}:stream/{name}");
    let created = match aws.kinesis().describe_stream_summary().stream_arn(&arn).send().await {
        Ok(answer) => answer.stream_description_summary.map(|summary| summary.stream_creation_timestamp.secs()),
        Err(error) if error.as_service_error().is_some_and(|it| it.is_resource_not_found_exception()) => {
            return Ok(Some(format!("does not exist in {region} any more")));
        }
        Err(error) => return Err(aws.explain("kinesis:DescribeStreamSummary", &format!("stream {name}"), error)),
    };
    // A later one: an application may have been given an epoch of its own.
    let is_anew = created.and_then(|created| u64::try_from(created).ok()).is_some_and(|created| created > epoch);
    Ok(is_anew.then(|| "was deleted and created anew".to_owned()))
}
