//! The coordination of a fleet's workers, through the lease table alone.
//!
//! On every worker: [`membership`], [`leader`] (which worker leads), [`discovery`] (of this worker's leases), [`verifier`]
//! (of those it holds). On the leader only: [`assigner`], which scans the table and gives leases to workers, and
//! [`migrator`], which leads out of old tables, and [`auditor`], which creates missing leases ([`shard_sync`]) and deletes
//! those of ended shards. Checks before a worker
//! joins: [`entry`], [`admission`]; the takeover of an application of KCL 1.x or 2.x: [`adoption`]. Metrics that grow by themselves: [`gauges`].

pub(crate) mod admission;
pub(crate) mod adoption;
pub(crate) mod assigner;
pub(crate) mod auditor;
pub(crate) mod discovery;
pub(crate) mod entry;
pub(crate) mod gauges;
mod helm;
pub(crate) mod leader;
mod measurement;
pub(crate) mod membership;
pub(crate) mod migrator;
pub(crate) mod shard_sync;
pub(crate) mod verifier;
pub(crate) mod watchdog;
