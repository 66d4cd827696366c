//! `kds`: one tool for Kinesis streams and for KCL fleets of any language. The binary calls [`run`].
//!
//! # Where is the code
//! | File | Contents |
//! | --- | --- |
//! | `failure.rs`, `clock.rs`, `text.rs`, `moment.rs` | errors in one line, the wall clock, numbers and times as people write them |
//! | `aws.rs`, `aws/` | configuration of the SDK, its errors in words, names of streams |
//! | `output.rs`, `whole_file.rs`, `stop.rs`, `connections.rs` | stdout, files that are replaced as a whole, signals, HTTP connections |
//! | `record_line.rs`, `inflate.rs`, `compressed.rs` | records as lines of JSON, compressed data, compressed Kinesis records |
//! | `reading.rs`, `reading/` | positions, and the shards of a stream |
//! | `put.rs`, `put/` | `kds put`: source => key => producer => failures |
//! | `tail.rs`, `tail/` | `kds tail`: shards => reader => filter => print |
//! | `decode.rs` | `kds decode` |
//! | `train.rs` | `kds train-dictionary` |
//! | `stream.rs`, `stream/` | `kds stream`: facts, load, changes |
//! | `fleet.rs`, `fleet/` | `kds fleet`: tables => view => lag |
//! | `watch.rs`, `watch/` | `kds watch`: looks and keys => model => draw |
//! | `serve.rs`, `serve/` | `kds serve`, `kds report`: looks => page, events |
//! | `explain.rs`, `doctor.rs` and below | `kds explain`, `kds doctor`: evidence => sentences |
//! | `reset.rs`, `lease_changes.rs`, `cleanup.rs` | changes of a fleet |
//! | `migrate.rs`, `migrate/` | `kds migrate`: applications of older versions, and their tables |
//! | `redrive.rs`, `redrive/` | `kds redrive`: letters => payload => producer => letters that were not put |
//! | `replay.rs`, `copy.rs` | `kds replay`, `kds copy` |
//! | `agent.rs`, `agent/` | `kds agent`: folder => file => records => producer => state |
//! | `confirm.rs` | the question before a command writes |
//! | `settings.rs`, `health.rs` | `kds settings`, `kds health` |
//! | `manual.rs` | `kds completions`, `kds man` |
//! | `arguments.rs` | the command line |

#[cfg(unix)]
mod agent;
mod arguments;
mod aws;
mod cleanup;
mod clock;
mod compressed;
mod confirm;
mod connections;
mod copy;
mod decode;
mod doctor;
mod explain;
mod failure;
mod fleet;
mod health;
mod inflate;
mod lease_changes;
mod manual;
mod migrate;
mod moment;
mod output;
mod put;
mod reading;
mod record_line;
mod redrive;
mod replay;
mod reset;
mod serve;
mod settings;
mod stop;
mod stream;
mod tail;
mod text;
mod train;
mod watch;
mod whole_file;

pub use arguments::{command, run};
