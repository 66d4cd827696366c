//! Runs record processors for Amazon Kinesis that are written in Python, Node.js, Ruby or .NET, unmodified: the
//! multi-language daemon of the Kinesis Client Library, without a JVM.
//!
//! The command is `kcl-multilang FILE.properties`, with the file of the daemon for Java. This library is what the command
//! is made of:
//!
//! ```no_run
//! use kcl_multilang::{Configurations, Daemon, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::read(Some("app.properties".as_ref()), std::env::vars())?;
//! let aws = Configurations::load(&settings).await?;
//! let daemon = Daemon::start(&settings, &aws)?;
//! daemon.wait().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - A child for each shard, and a shard's failure is its own: a child that dies, answers wrongly or not in time is
//!   followed by another, from the last checkpoint, after a pause of 1 s to 30 s, of all shards together at most five a
//!   second.
//! - A checkpoint covers what the child was delivered when it asked, never more.
//! - Every wait for a child is bounded, and so is what is kept of its output.
//!
//! # Where is the code
//! | File | What |
//! | --- | --- |
//! | `wire.rs`, `turns.rs` | messages and requests; what a line means at the moment it comes. Pure |
//! | `settings.rs` and below | properties, TOML, environment |
//! | `child.rs` and below, `roster.rs` | processes, their lines, their end; who has which, and when another may start |
//! | `processor.rs` | the record processor of a shard |
//! | `daemon.rs`, `observed.rs`, `rehearsal.rs` | the worker with its children; metrics and probes; `--check` |
//! | `aws.rs`, `executable.rs`, `causes.rs` | credentials, regions, addresses; the program of the children; texts of errors |
//! | `main.rs`, `arguments.rs` | the command |

mod aws;
mod causes;
mod child;
mod daemon;
mod executable;
mod observed;
mod processor;
mod rehearsal;
mod roster;
mod settings;
mod turns;
mod wire;

pub use aws::{Configurations, NoRegion};
pub use causes::with_causes;
pub use daemon::{Daemon, Health, StartError};
pub use executable::ExecutableError;
pub use observed::{Metrics, NotLive, ObserveError, Probes};
pub use rehearsal::{Report, rehearse};
pub use settings::{Settings, SettingsError};
