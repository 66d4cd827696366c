//! The daemon on the embedded AWS, with real children. Time is real, and every wait is for something that comes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::large_futures, reason = "they are on the test's own thread")]
#![cfg(unix)]

mod checkpoints;
mod clients;
mod command;
mod failures;
mod life;
mod misuse;
mod scene;
mod stopping;
