//! ListShards: filters, pages and tokens.

use crate::kinesis::check::{self, Check};
use crate::kinesis::iterator::{Filter, ShardsToken};
use crate::kinesis::shard::{Shard, ShardId};
use crate::kinesis::stream::{State, Stream};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

/// Shards of one page. docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
const PAGE: i64 = 1000;

const FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

/// The start of a page of shards, and its maximum length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) after: Option<ShardId>,
    pub(super) limit: i64,
}

impl Page {
    /// The shards of the page that pass, and whether more follow.
    pub(super) fn cut(self, stream: &Stream, passes: impl Fn(&Shard) -> bool) -> (Vec<&Shard>, bool) {
        let limit = usize::try_from(self.limit).unwrap_or_default();
        let mut page = Vec::new();
        for shard in stream.shards_after(self.after).filter(|shard| passes(shard)) {
            if page.len() == limit {
                return (page, true);
            }
            page.push(shard);
        }
        (page, false)
    }
}

/// An optional shard id that a listing starts after.
pub(super) fn shard_id(text: Option<&str>, stream: &str) -> Result<Option<ShardId>, Error> {
    text.map(|text| ShardId::parse(text).ok_or_else(|| Error::unknown_shard(text, stream))).transpose()
}

impl Kinesis {
    pub(super) fn list_shards(
        &mut self,
        request: request::ListShards<'_>,
        now: Millis,
    ) -> Result<response::ListShards, Error> {
        let mut check = Check::default();
        check.range(request.max_results, "maxResults", 1, 10_000);
        check_filter(&mut check, request.shard_filter.as_ref());
        check.finish()?;

        let limit = request.max_results.unwrap_or(PAGE).min(PAGE);
        let (stream, filter, after) = match &request.next_token {
            Some(token) => {
                refuse_with_token(&request)?;
                let token = ShardsToken::decode(token, now)?;
                let stream = self.stream(&token.stream, now)?;
                if stream.incarnation != token.incarnation {
                    return Err(Error::no_stream(&token.stream, crate::ACCOUNT_ID));
                }
                (stream, token.filter, Some(token.after))
            }
            None => {
                let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
                let (filter, after) = filter(request.shard_filter.as_ref(), name)?;
                let exclusive_start = shard_id(request.exclusive_start_shard_id.as_deref(), name)?;
                let stream = self.stream(name, now)?;
                stream.require_created_at(request.stream_creation_timestamp)?;
                (stream, filter, after.max(exclusive_start))
            }
        };
        if matches!(stream.state, State::Creating { .. } | State::Deleting { .. }) {
            return Err(stream.require_active().expect_err("neither state is ACTIVE"));
        }
        let horizon = stream.horizon(now);
        let (shards, more) = Page { after, limit }.cut(stream, |shard| filter.passes(shard, horizon));
        let next_token = shards.last().filter(|_| more).map(|last| {
            let (stream, incarnation) = (stream.name.clone(), stream.incarnation);
            ShardsToken { issued: now, stream, incarnation, after: last.id, filter }.encode()
        });
        Ok(response::ListShards { shards: shards.into_iter().map(Into::into).collect(), next_token })
    }
}

impl Filter {
    /// True if a listing shows the shard. Both ends of a shard's life are part of it.
    fn passes(self, shard: &Shard, horizon: Millis) -> bool {
        let open_until = shard.closed.map(|closed| closed.at);
        let open_at = |time| shard.opened_at <= time && open_until.is_none_or(|end| end >= time);
        match self {
            Filter::FromTrimHorizon => true,
            Filter::AtTrimHorizon => open_at(horizon),
            Filter::AtLatest => open_until.is_none(),
            // As FROM_TIMESTAMP: what is before the trim horizon is moved to it.
            Filter::AtTimestamp(time) => open_at(time.max(horizon)),
            Filter::FromTimestamp(time) => open_until.is_none_or(|end| end >= time),
        }
    }
}

fn check_filter(check: &mut Check, filter: Option<&request::ShardFilter<'_>>) {
    if let Some(filter) = filter {
        check.required(&filter.filter_type, "shardFilter.type");
        check.one_of(filter.filter_type.as_deref(), "shardFilter.type", &FILTERS);
    }
}

/// The filter, and the shard that the listing starts after when it is AFTER_SHARD_ID.
fn filter(filter: Option<&request::ShardFilter<'_>>, stream: &str) -> Result<(Filter, Option<ShardId>), Error> {
    let Some(filter) = filter else { return Ok((Filter::FromTrimHorizon, None)) };
    let filter_type = filter.filter_type.as_deref().unwrap_or_default();
    if filter.shard_id.is_some() != (filter_type == "AFTER_SHARD_ID") {
        return Err(Error::invalid_argument(
            "ShardFilter.ShardId must be provided for the filter type AFTER_SHARD_ID and no other.",
        ));
    }
    if filter.timestamp.is_some() != filter_type.ends_with("_TIMESTAMP") {
        return Err(Error::invalid_argument(
            "ShardFilter.Timestamp must be provided for the filter types AT_TIMESTAMP and FROM_TIMESTAMP and no other.",
        ));
    }
    let time = filter.timestamp.unwrap_or_default();
    Ok(match filter_type {
        "AFTER_SHARD_ID" => (Filter::FromTrimHorizon, shard_id(filter.shard_id.as_deref(), stream)?),
        "AT_TRIM_HORIZON" => (Filter::AtTrimHorizon, None),
        "AT_LATEST" => (Filter::AtLatest, None),
        "AT_TIMESTAMP" => (Filter::AtTimestamp(time), None),
        "FROM_TIMESTAMP" => (Filter::FromTimestamp(time), None),
        _ => (Filter::FromTrimHorizon, None),
    })
}

/// The token contains everything; the service refuses other fields beside it.
fn refuse_with_token(request: &request::ListShards<'_>) -> Result<(), Error> {
    let others = [
        ("StreamName", request.stream_name.is_some()),
        ("StreamARN", request.stream_arn.is_some()),
        ("ExclusiveStartShardId", request.exclusive_start_shard_id.is_some()),
        ("StreamCreationTimestamp", request.stream_creation_timestamp.is_some()),
        ("ShardFilter", request.shard_filter.is_some()),
    ];
    match others.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::invalid_argument(format!("NextToken and {name} cannot be provided together."))),
        None => Ok(()),
    }
}
