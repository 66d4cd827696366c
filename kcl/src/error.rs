//! Errors that reach the application.

use std::error::Error;

use crate::model::{Checkpoint, Position, StreamIdentity, StreamShard, WorkerId};
pub use transaction::TransactionError;
pub(crate) use transaction::may_pass;

mod transaction;

/// Any error of user code, of the SDK or of a service.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A setting that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum ConfigError {
    /// A number, a duration or a relation between settings is out of bounds.
    #[error("{setting} is {value}, accepted: {bounds}")]
    #[non_exhaustive]
    OutOfBounds {
        /// Method or argument of the builder.
        setting: &'static str,
        value: String,
        bounds: String,
    },
    /// A name is empty, reserved, or would be refused by the service.
    #[error("{setting} {value:?} is not {expected}")]
    #[non_exhaustive]
    InvalidName {
        /// Method or argument of the builder.
        setting: &'static str,
        value: String,
        expected: &'static str,
    },
    /// One registered consumer for enhanced fan-out was given to an application of several streams.
    #[error("a consumer reads one stream: give each StreamConfig its consumer ARN, not FanOut")]
    ConsumerOfSeveralStreams,
    /// No region is configured for a service. An endpoint does not stand for one, as requests are signed for a region.
    #[error("no AWS region is configured for {service}: set AWS_REGION, or the region of the SdkConfig or client")]
    #[non_exhaustive]
    MissingRegion {
        /// `Kinesis` or `DynamoDB`.
        service: &'static str,
    },
}

/// Error that ended a worker, or kept it from starting. Its leases go to other workers; nothing uncheckpointed is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum WorkerError {
    /// The stream does not exist in this account and region.
    #[error("stream {stream} does not exist in this account and region")]
    #[non_exhaustive]
    StreamNotFound { stream: String, source: BoxError },
    /// The credentials lack a permission on the stream.
    #[error("access denied: IAM action {action} on stream {stream} is missing")]
    #[non_exhaustive]
    AccessDenied { action: &'static str, stream: String, source: BoxError },
    /// A call to Kinesis failed for another reason.
    #[error("stream {stream} cannot be read")]
    #[non_exhaustive]
    Stream { stream: String, source: KinesisError },
    /// The lease table cannot be used. At the start, throttling is waited out, other failures that may pass for a
    /// minute. Later only a deleted table ends a worker, after one lease duration: its checkpoints are lost.
    #[error("lease table cannot be used")]
    LeaseTable(#[from] TableError),
    /// Another worker that runs now has this id. Give each worker its own.
    #[error("worker id {worker_id} is in use by another running worker")]
    #[non_exhaustive]
    WorkerIdInUse { worker_id: WorkerId },
    /// The lease table's checkpoints are of another stream, or of an earlier one of the same name. Found at the start,
    /// or when the stream is deleted and created again.
    #[error(
        "lease table {table} was made for {noted}, not for {stream}: choose another application name, or delete the table if its checkpoints are of no use"
    )]
    #[non_exhaustive]
    OtherStream {
        table: String,
        /// The stream that the worker was to read.
        stream: String,
        /// The stream that the table was made for.
        noted: String,
    },
    /// The lease table belongs to workers that this one must not join.
    #[error("lease table {table} belongs to a fleet that this worker cannot join: {reason}")]
    #[non_exhaustive]
    ForeignFleet { table: String, reason: String },
    /// The library panicked; the text is the panic's. Returned by [`WorkerHandle::wait`](crate::WorkerHandle::wait).
    #[error("worker panicked: {text}")]
    #[non_exhaustive]
    Panicked { text: String },
    /// The [`ErrorPolicy`](crate::ErrorPolicy) gave up these shards of a replay, and what follows them.
    #[error("replay stopped in {} because the processor kept failing", shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    #[non_exhaustive]
    ReplayIncomplete {
        /// Shards that were given up.
        shards: Vec<StreamShard>,
    },
}

impl WorkerError {
    pub(crate) fn other_stream(table: &str, stream: &StreamIdentity, noted: &StreamIdentity) -> Self {
        let text = |stream: &StreamIdentity| format!("{} created at second {}", stream.arn, stream.created_seconds);
        Self::OtherStream { table: table.to_owned(), stream: text(stream), noted: text(noted) }
    }

    pub(crate) fn of_stream(stream: &str, error: KinesisError) -> Self {
        let stream = stream.to_owned();
        match error.kind {
            KinesisErrorKind::NotFound => Self::StreamNotFound { stream, source: error.source },
            KinesisErrorKind::AccessDenied => Self::AccessDenied { action: error.action, stream, source: error.source },
            _ => Self::Stream { stream, source: error },
        }
    }
}

/// A checkpoint that was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Another worker has the lease, or this one could not renew it in time. Stop working on the shard; whoever holds
    /// the lease starts from the last stored checkpoint.
    #[error("the shard's lease is lost")]
    LeaseLost,
    /// The checkpointer's processor failed, or did not return in time, and was dropped. Its unconfirmed records are
    /// delivered again, to another processor.
    #[error("the checkpointer's processor failed, its records are delivered again")]
    ProcessorFailed,
    /// The position lies before the last checkpoint or after the last delivered record.
    #[error("checkpoint {attempted} is outside of what may be checkpointed: after {stored}, up to {}", delivered.as_ref().map_or("nothing delivered yet".to_owned(), ToString::to_string))]
    #[non_exhaustive]
    OutOfRange {
        /// The position asked for.
        attempted: Position,
        /// The checkpoint in the lease table.
        stored: Checkpoint,
        /// The last record handed to the processor.
        delivered: Option<Position>,
    },
    /// The lease table did not answer or refused. Try again; the lease is still held. The checkpoint may be stored.
    #[error("checkpoint was not stored")]
    Table(#[source] TableError),
}

/// Kind of a failed call to Kinesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KinesisErrorKind {
    /// The stream or the shard does not exist.
    NotFound,
    /// The credentials lack a permission.
    AccessDenied,
    /// The credentials are unknown to the service, or their signature is wrong.
    Credentials,
    /// Beyond a limit of the shard, the stream or the account.
    Throttled,
    /// The iterator is too old or not accepted; get a new one.
    IteratorInvalid,
    /// Another subscription to the shard is active, or a consumer of this name exists or is not active.
    InUse,
    /// Network, time-out, service failure and the rest.
    Other,
}

/// A call to Kinesis that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed")]
pub struct KinesisError {
    pub(crate) kind: KinesisErrorKind,
    pub(crate) action: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) source: BoxError,
}

impl KinesisError {
    /// With the kind for a code and the source's text for a message.
    pub(crate) fn new(kind: KinesisErrorKind, action: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        Self { kind, action, code: format!("{kind:?}"), message: source.to_string(), source }
    }

    pub(crate) fn other(action: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(KinesisErrorKind::Other, action, source)
    }

    /// True if the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.kind, KinesisErrorKind::Throttled | KinesisErrorKind::Other)
    }

    /// Kind of the failure.
    pub fn kind(&self) -> KinesisErrorKind {
        self.kind
    }

    /// IAM action of the call, for example `kinesis:GetRecords`.
    pub fn action(&self) -> &'static str {
        self.action
    }

    /// Error code of the service, for example `ExpiredIteratorException`; the kind if there was no answer.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Text of the service or of the SDK.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// True if AWS refuses the credentials themselves with this code; expired ones are renewed and may pass. So does a wrong
/// signature: often the machine's clock is wrong, and the next is made by the time of the refusal.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
pub(crate) fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
    )
}

/// A call to the lease table that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are documented where their names do not suffice")]
pub enum TableError {
    /// The credentials lack a permission.
    #[error("access denied: IAM action {action} on table {table} is missing")]
    #[non_exhaustive]
    AccessDenied {
        action: &'static str,
        /// The table, or its index.
        table: String,
        source: BoxError,
    },
    /// The credentials are unknown to the service, or their signature is wrong.
    #[error("credentials were not accepted in {action} on table {table}")]
    #[non_exhaustive]
    Credentials {
        action: &'static str,
        /// The table, or its index.
        table: String,
        source: BoxError,
    },
    /// DynamoDB refused because of the table's or the account's throughput.
    #[error("lease table {table} is throttled in {action}")]
    #[non_exhaustive]
    Throttled { action: &'static str, table: String, source: BoxError },
    /// The table does not exist (any more).
    #[error("lease table {table} does not exist")]
    #[non_exhaustive]
    TableMissing { table: String },
    /// The table exists and cannot be used for what it should be.
    #[error("table {table} cannot be used: {reason}")]
    #[non_exhaustive]
    WrongTable { table: String, reason: String },
    /// The item of a lease exists and cannot be read; it is left alone.
    #[error("lease {key} in table {table} cannot be read")]
    #[non_exhaustive]
    Unreadable { table: String, key: String },
    /// Anything else: network, time-out, service failure.
    #[error("{action} on table {table} failed")]
    #[non_exhaustive]
    Call { action: &'static str, table: String, source: BoxError },
}

impl TableError {
    /// True if the same call may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Call { .. })
    }
}
