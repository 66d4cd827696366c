//! A [`Check`], and how a theme writes its table of them.

use futures::future::LocalBoxFuture;

use super::expect::Outcome;
use super::peer::Peer;

/// One behaviour of the service.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// The behaviour, as a sentence. Unique.
    pub name: &'static str,
    /// Its source: a page of the service's documentation, or who observed it.
    pub source: &'static str,
    /// Requirements on a peer.
    pub needs: Needs,
    /// Performs it.
    pub run: fn(Peer) -> LocalBoxFuture<'static, Outcome>,
}

/// Requirement of a check on a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A Kinesis.
    Kinesis,
    /// A Kinesis that is busy with nothing else: megabytes keep some emulators from answering anyone else.
    IdleKinesis,
    /// A Kinesis whose minutes and days pass at once.
    VirtualTime,
    /// A Kinesis that enforces its limits on throughput and calls.
    Limits,
    /// A DynamoDB.
    DynamoDb,
}

impl Needs {
    /// True if the check must not run beside others.
    pub(super) fn is_alone(self) -> bool {
        matches!(self, Needs::IdleKinesis | Needs::Limits)
    }
}

/// The table of a theme. A line is a function of the file and its source, with what it needs before it.
macro_rules! checks {
    ($($needs:ident $name:ident: $source:expr;)+) => {
        pub(super) const CHECKS: &[$crate::conformance::Check] = &[$($crate::conformance::Check {
            name: stringify!($name),
            source: $source,
            needs: $crate::conformance::Needs::$needs,
            run: |peer| Box::pin($name(peer)),
        }),+];
    };
}

/// The page of an operation in the Kinesis API reference.
macro_rules! api {
    ($operation:literal) => {
        concat!("https://docs.aws.amazon.com/kinesis/latest/APIReference/API_", $operation, ".html")
    };
}

/// The page of an operation in the DynamoDB API reference.
macro_rules! dynamodb_api {
    ($operation:literal) => {
        concat!("https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_", $operation, ".html")
    };
}

/// A page of a developer guide.
macro_rules! guide {
    ($page:literal) => {
        concat!("https://docs.aws.amazon.com/", $page, ".html")
    };
}

pub(super) use {api, checks, dynamodb_api, guide};
