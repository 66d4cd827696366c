//! Answers of the AWS SDK in the library's own words.

use std::time::Duration;

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::ShardIteratorType,
};
use kpl::{HashKeyRange, ShardId};

use crate::{
    error::{BoxError, KinesisError, KinesisErrorKind, is_about_credentials},
    model::{ChildShard, Shard, StartAt},
};

/// For use in `map_err`.
pub(super) fn failed<E, R>(action: &'static str) -> impl Fn(SdkError<E, R>) -> KinesisError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| {
        let kind = match error.as_service_error().and_then(ProvideErrorMetadata::code) {
            Some("ResourceNotFoundException") => KinesisErrorKind::NotFound,
            Some("ResourceInUseException") => KinesisErrorKind::InUse,
            Some("AccessDeniedException") => KinesisErrorKind::AccessDenied,
            Some(code) if is_about_credentials(code) => KinesisErrorKind::Credentials,
            Some(
                "ProvisionedThroughputExceededException"
                | "LimitExceededException"
                | "ThrottlingException"
                | "KMSThrottlingException",
            ) => KinesisErrorKind::Throttled,
            Some("ExpiredIteratorException" | "InvalidArgumentException") => KinesisErrorKind::IteratorInvalid,
            _ => KinesisErrorKind::Other,
        };
        let code = match &error {
            SdkError::TimeoutError(_) => Some("Timeout"),
            SdkError::DispatchFailure(_) => Some("DispatchFailure"),
            other => other.code(),
        };
        let (code, message) = (code.map(str::to_owned), error.message().map(str::to_owned));
        let source: BoxError = match error {
            SdkError::ServiceError(context) => Box::new(context.into_err()),
            other => Box::new(other),
        };
        let error = KinesisError::new(kind, action, source);
        KinesisError { code: code.unwrap_or(error.code), message: message.unwrap_or(error.message), ..error }
    }
}

fn range(range: Option<&aws_sdk_kinesis::types::HashKeyRange>) -> Option<HashKeyRange> {
    let range = range?;
    Some(HashKeyRange { start: range.starting_hash_key().parse().ok()?, end: range.ending_hash_key().parse().ok()? })
}

pub(super) fn shard(shard: &aws_sdk_kinesis::types::Shard) -> Option<Shard> {
    let sequence = shard.sequence_number_range()?;
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    Some(Shard {
        id: ShardId::from(shard.shard_id()),
        parents: parents.into_iter().flatten().map(ShardId::from).collect(),
        hash_key_range: range(shard.hash_key_range())?,
        starting_sequence_number: sequence.starting_sequence_number().parse().ok()?,
        ending_sequence_number: match sequence.ending_sequence_number() {
            Some(number) => Some(number.parse().ok()?),
            None => None,
        },
    })
}

fn child(child: &aws_sdk_kinesis::types::ChildShard) -> Option<ChildShard> {
    Some(ChildShard {
        id: ShardId::from(child.shard_id()),
        parents: child.parent_shards().iter().map(|id| ShardId::from(id.as_str())).collect(),
        hash_key_range: range(child.hash_key_range())?,
    })
}

pub(super) fn children(
    action: &'static str,
    children: &[aws_sdk_kinesis::types::ChildShard],
) -> Result<Vec<ChildShard>, KinesisError> {
    let children: Option<Vec<ChildShard>> = children.iter().map(child).collect();
    children.ok_or_else(|| KinesisError::other(action, "a child shard that cannot be read"))
}

pub(super) fn behind(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// Type, sequence number and time of a position to read from.
pub(super) fn start_at(start: &StartAt) -> (ShardIteratorType, Option<String>, Option<DateTime>) {
    match start {
        StartAt::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
        StartAt::Latest => (ShardIteratorType::Latest, None, None),
        StartAt::Timestamp(time) => (ShardIteratorType::AtTimestamp, None, Some(DateTime::from(*time))),
        StartAt::At(number) => (ShardIteratorType::AtSequenceNumber, Some(number.to_string()), None),
        StartAt::After(number) => (ShardIteratorType::AfterSequenceNumber, Some(number.to_string()), None),
    }
}
