//! The conformance suite: one table of checks through the clients of the AWS SDK, for any Kinesis and DynamoDB.
//!
//! A [`Check`] asserts one behaviour of the service, says where it is written down, and fails with what it got and what
//! it wanted. A [`Peer`] is whom it is run against: the embedded services under virtual time, or another emulator. A
//! peer's [`Divergences`] list what is known to differ from the service, each with the reason why the service is to be
//! believed; [`Report`] holds a run against the list, and a divergence that is new fails as one that is gone does.
//! [`on_aws`] runs the same checks against the service itself; [`GUESSES`] are what it is asked about above all.
//!
//! (A) A check makes its own streams and tables under unique names, so that checks run side by side on one peer.
//! (B) A check compares times only with those that the peer told, never with this machine's clock.
//! (C) Every wait has an end.

mod check;
mod checksums;
mod context;
mod divergences;
mod expect;
mod guesses;
pub mod on_aws;
mod peer;
mod report;
mod stream;
mod subscription;
mod table;

mod consumers;
mod dynamodb;
mod errors;
mod fan_out;
mod iterators;
mod leases;
mod limits;
mod records;
mod resharding;
mod retention;
mod settings;
mod shards;
mod streams;

pub use self::check::{Check, Needs};
pub use self::divergences::{Divergences, ListError};
pub use self::expect::Failure;
pub use self::guesses::{GUESSES, Guess};
pub use self::peer::{Peer, config};
pub use self::report::{Report, run};

/// Every check, by theme.
pub fn checks() -> Vec<Check> {
    let themes = [
        streams::CHECKS,
        shards::CHECKS,
        records::CHECKS,
        iterators::CHECKS,
        resharding::CHECKS,
        retention::CHECKS,
        settings::CHECKS,
        consumers::CHECKS,
        fan_out::CHECKS,
        limits::CHECKS,
        errors::CHECKS,
        dynamodb::CHECKS,
        leases::CHECKS,
    ];
    themes.concat()
}
