//! The consumer on the embedded AWS: delivery, checkpoints, errors, fan-out, replays and resets.

mod apis;
mod batches;
mod checkpointing;
mod clocks;
mod closures;
mod copies;
mod dead_letters;
mod delivery;
mod exactly_once;
mod failing;
mod fan_out;
mod health;
mod logs;
mod metrics;
mod permissions;
mod policies;
mod quirks;
mod refusals;
mod replay;
mod reset;
mod shard_streams;
mod sinks;
mod timing;
mod user_code;
mod visibility;
