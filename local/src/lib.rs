//! Kinesis and DynamoDB in your process.

mod access;
mod clock;
mod connector;
mod dynamodb;
mod kinesis;
mod local;
mod serve;
mod services;
mod timestamp;

pub use self::local::{Builder, LocalAws};
pub use self::serve::{ServeError, ServeOptions, Server};

/// The account that everything belongs to.
const ACCOUNT_ID: &str = "000000000000";

/// The region that everything is in.
const REGION: &str = "us-east-1";
