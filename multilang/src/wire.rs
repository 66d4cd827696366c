//! The wire between daemon and child: what each writes, byte for byte. Pure.
//!
//! Lines of JSON over the child's standard input and output, strictly in turns: an action, any number of checkpoints and
//! their acknowledgements, the status of the action.

pub(crate) mod message;
pub(crate) mod request;

use std::fmt;

/// A step in the life of a child, for which the daemon waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Initialize,
    ProcessRecords,
    ShardEnded,
    ShutdownRequested,
    LeaseLost,
}

impl Action {
    /// Name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::ProcessRecords => "processRecords",
            Self::ShardEnded => "shardEnded",
            Self::ShutdownRequested => "shutdownRequested",
            Self::LeaseLost => "leaseLost",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name by which a child learns that a checkpoint is refused; clients compare it with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not a position that may be checkpointed.
    IllegalArgument,
    /// The lease is lost.
    Shutdown,
    /// Not a moment for checkpoints, or no lease table.
    InvalidState,
    /// DynamoDB throttles.
    Throttling,
    /// Another failure of DynamoDB.
    Dependency,
}

impl Refusal {
    /// Name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::IllegalArgument => "IllegalArgumentException",
            Self::Shutdown => "ShutdownException",
            Self::InvalidState => "InvalidStateException",
            Self::Throttling => "ThrottlingException",
            Self::Dependency => "KinesisClientLibDependencyException",
        }
    }
}
