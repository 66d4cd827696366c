//! Fleets of workers on the embedded AWS: leases, leaders, takeovers, streams that come and go.

mod adoption;
mod budget;
mod failures;
mod heartbeats;
mod java_leader;
mod legacy_layout;
mod lineage;
mod multi_stream;
mod partition;
mod same_id;
mod start_at_once;
mod stopping;
mod takeover;
mod visibility;
