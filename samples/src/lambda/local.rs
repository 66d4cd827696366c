//! Lambda's side, for tests and for trying functions out: the Runtime API, and the event source mapping of a shard.

mod event_source;
mod runtime_api;

pub use self::{
    event_source::{EventSource, event_of},
    runtime_api::{FunctionError, RuntimeApi},
};
