//! The built binary against an AWS served on loopback ports.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(unix)]

mod agent;
mod changes;
mod compressed;
mod copying;
mod decode;
mod fleet;
mod fleets;
mod manual;
#[cfg(target_os = "linux")]
mod memory;
mod migrating;
mod misuse;
mod page;
mod put;
mod redrive;
mod serve;
mod settings;
mod stream;
mod support;
mod tail;
mod watch;
