//! Status of an application's fleet: leases, owners, progress, leader.

use std::{fmt, ops::Add};

use aws_sdk_dynamodb::primitives::DateTime;
use aws_types::SdkConfig;
use kpl::{HashKeyRange, ShardId};

use crate::{
    clock::ServiceClock,
    error::TableError,
    metrics::Recorder,
    model::{Checkpoint, LegacyTables, PendingCheckpoint, Regime, StreamId, UsageRate, WorkerId, WorkerItem},
    settings::metrics::Metrics,
    table::dynamodb::DynamoDbLeaseTable,
    time::rfc_3339,
    worker::validate::{TABLE_NAME, is_table_name},
};

/// Content of an application's lease table. Prints as a table.
///
/// ```no_run
/// # async fn example(aws: &aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let fleet = kcl::FleetStatus::read(aws, "printer").await?;
/// println!("{fleet}");
/// let ownerless = fleet.leases.iter().filter(|lease| lease.owner.is_none()).count();
/// println!("{} workers, {ownerless} leases that nobody has", fleet.workers.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FleetStatus {
    /// The worker that holds the leader's lock; it may have died a moment ago.
    pub leader: Option<WorkerId>,
    /// State of the migration from KCL 2.x as the table has it: `CLIENT_VERSION_3X` for a fleet of KCL 3.x.
    pub version: Option<String>,
    /// ARN of the application's only stream, as workers of this library note it; Java workers do not.
    pub stream_arn: Option<String>,
    /// True if one heartbeat renews all leases of a worker: see [`Renewals`](crate::Renewals). A worker of such a fleet is
    /// alive if it has reported within its lease duration.
    pub by_heartbeat: bool,
    /// Workers that have reported and not left, by id.
    pub workers: Vec<WorkerStatus>,
    /// Leases by stream and shard.
    pub leases: Vec<LeaseStatus>,
    /// False if leader, migration state or workers are in the two further tables of KCL 3.0 to 3.4.
    pub in_one_table: bool,
    /// Keys of items that claim to be leases and cannot be read.
    pub unreadable: Vec<String>,
}

/// A worker of the fleet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its id.
    pub id: WorkerId,
    /// Time of its last report, in seconds since 1970: by the services' time, or a Java worker's own clock.
    pub last_report_seconds: u64,
    /// Leases that it processes, those of ended shards left out.
    pub leases: usize,
    /// Its usage of the lease table in the minute before the report; None for Java workers, which do not say.
    pub usage: Option<UsageRate>,
    /// Random id of its run; None for Java workers, and others that the KCL's daemon runs.
    pub instance: Option<String>,
    /// True if it gets no leases: it stops, or is not sure of its id yet.
    pub leaving: bool,
    /// True if it gets no leases because [`Fleet::set_drained`](crate::Fleet::set_drained) says so.
    pub drained: bool,
    /// Its use of the CPU in percent, when it last measured one.
    pub cpu_percent: Option<f64>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LeaseStatus {
    /// Its key in the table.
    pub key: String,
    /// The shard's stream, in applications of several streams.
    pub stream_id: Option<StreamId>,
    /// The shard.
    pub shard_id: ShardId,
    /// The worker that processes it.
    pub owner: Option<WorkerId>,
    /// The worker that it is being handed over to.
    pub next_owner: Option<WorkerId>,
    /// Progress of its processing.
    pub checkpoint: Checkpoint,
    /// Renewals, checkpoints and changes of owner so far. It may stand still although the owner lives: see
    /// [`by_heartbeat`](FleetStatus::by_heartbeat).
    pub counter: u64,
    /// Delivered to its processor, in KiB/s, when measured.
    pub throughput_kbps: Option<f64>,
    /// A checkpoint that was prepared and not committed.
    pub pending: Option<PendingCheckpoint>,
    /// Changes of owner since the last checkpoint. Informational.
    pub owner_switches: u64,
    /// The shards that must be processed before this one, as far as they had leases when this one was created.
    pub parents: Vec<ShardId>,
    /// The shards that follow this one, known once it has ended.
    pub children: Vec<ShardId>,
    /// The shard's part of the hash key space, when known.
    pub hash_key_range: Option<HashKeyRange>,
}

impl FleetStatus {
    /// Reads the lease table of an application; the table has the application's name unless configured otherwise. Nothing
    /// is written. Needs `dynamodb:Scan` and `dynamodb:GetItem`.
    ///
    /// # Errors
    /// The table does not exist or cannot be read, or DynamoDB accepts no table of this name.
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn read(aws: &SdkConfig, table: impl Into<String>) -> Result<Self, TableError> {
        Self::read_as(aws.into(), table.into()).await
    }

    /// [`read`](Self::read) with the configuration of a client.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Cancellation
    /// Safe at any time.
    pub async fn read_by(client: &aws_sdk_dynamodb::Client, table: impl Into<String>) -> Result<Self, TableError> {
        Self::read_as(client.config().clone(), table.into()).await
    }

    /// Usage of the lease table by the workers that report theirs, all of this library; None if there is none.
    ///
    /// The requests of [`read`](Self::read) itself are not in it.
    pub fn usage(&self) -> Option<UsageRate> {
        self.workers.iter().filter_map(|worker| worker.usage).reduce(Add::add)
    }

    async fn read_as(aws: aws_sdk_dynamodb::Config, table: String) -> Result<Self, TableError> {
        if !is_table_name(&table) {
            return Err(TableError::WrongTable { reason: format!("its name is not {TABLE_NAME}"), table });
        }
        let clock = ServiceClock::new(&SdkConfig::builder().build()); // nothing is written that has a time
        let legacy = LegacyTables::of(&table);
        let recorder = Recorder::of_table(Metrics::default().recording(&table, false));
        let table = DynamoDbLeaseTable::new(aws, clock, table, legacy, false);
        table.record_to(recorder);
        table.find_layout().await?;
        let mut scan = table.scan().await?;
        let lock = table.get_lock().await?.filter(|lock| !lock.released);
        let by_heartbeat = lock.as_ref().is_some_and(|lock| lock.regime == Regime::Heartbeats);
        let leader = lock.map(|lock| lock.owner);
        let version = table.fleet_version().await?;
        let stream_arn = table.noted_stream().await?.map(|stream| stream.arn);
        scan.leases.sort_by(|a, b| a.key.cmp(&b.key));
        scan.workers.sort_by(|a, b| a.id.cmp(&b.id));
        let live = || scan.leases.iter().filter(|lease| !lease.is_ended());
        let worker = |worker: &WorkerItem| WorkerStatus {
            id: worker.id.clone(),
            last_report_seconds: worker.last_update_seconds,
            leases: live().filter(|lease| lease.actual_owner() == Some(&worker.id)).count(),
            usage: worker.usage,
            instance: worker.instance.clone(),
            leaving: worker.leaving,
            drained: worker.drained,
            cpu_percent: worker.cpu_percent(),
        };
        let workers = scan.workers.iter().map(worker).collect();
        let leases = scan.leases.iter().map(|lease| LeaseStatus {
            key: lease.key.to_string(),
            stream_id: lease.stream.clone(),
            shard_id: lease.shard_id.clone(),
            owner: lease.actual_owner().cloned(),
            next_owner: lease.owner.clone().filter(|_| lease.in_handoff()),
            checkpoint: lease.checkpoint.clone(),
            counter: lease.counter,
            throughput_kbps: lease.throughput_kbps,
            pending: lease.pending.clone(),
            owner_switches: lease.owner_switches,
            parents: lease.parents.clone(),
            children: lease.children.clone(),
            hash_key_range: lease.hash_key_range,
        });
        let leases = leases.collect();
        let (in_one_table, unreadable) = (table.is_only_table(), scan.malformed);
        Ok(Self { leader, version, stream_arn, by_heartbeat, workers, leases, in_one_table, unreadable })
    }
}

impl fmt::Display for FleetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |worker: &Option<WorkerId>| worker.as_ref().map_or("-", WorkerId::as_str).to_owned();
        writeln!(f, "leader   {}", name(&self.leader))?;
        writeln!(f, "version  {}", self.version.as_deref().unwrap_or("-"))?;
        if self.by_heartbeat {
            writeln!(f, "leases are renewed by one heartbeat a worker")?;
        }
        for worker in &self.workers {
            let WorkerStatus { id, last_report_seconds, leases, .. } = worker;
            let reported = rfc_3339(DateTime::from_secs(i64::try_from(*last_report_seconds).unwrap_or(i64::MAX)));
            writeln!(f, "worker   {id}  {leases} leases, reported at {reported}")?;
        }
        if let Some(UsageRate { requests, read_units, write_units }) = self.usage() {
            let units = format!("{read_units:.0} read and {write_units:.0} write units");
            writeln!(f, "usage    {requests:.0} requests a minute, of {units}")?;
        }
        for lease in &self.leases {
            let owner = name(&lease.owner);
            let next = lease.next_owner.as_ref().map(|next| format!(" -> {next}")).unwrap_or_default();
            let LeaseStatus { stream_id, shard_id, checkpoint, counter, .. } = lease;
            let stream = stream_id.as_ref().map(|stream| format!("{stream}:")).unwrap_or_default();
            let throughput = lease.throughput_kbps.unwrap_or(0.0);
            writeln!(
                f,
                "lease    {stream}{shard_id}  {owner}{next}  at {checkpoint}  counter {counter}  {throughput:.1} KiB/s"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_an_impossible_table_name_with_the_rule() {
        for name in ["", "a b", "ab", "orders/refunds"] {
            let refused = FleetStatus::read(&SdkConfig::builder().build(), name).await.unwrap_err();
            assert_eq!(refused.to_string(), format!("table {name} cannot be used: its name is not {TABLE_NAME}"));
        }
    }

    #[test]
    fn prints_times_of_reports_in_rfc_3339_and_the_usage() {
        let worker = |id: &str, seconds| WorkerStatus {
            id: id.into(),
            last_report_seconds: seconds,
            leases: 3,
            usage: (id == "w1").then(|| UsageRate::new(60.4, 12.5, 144.0)),
            instance: None,
            leaving: false,
            drained: false,
            cpu_percent: None,
        };
        let workers = vec![worker("w1", 1_700_000_000), worker("w2", u64::MAX)];
        let (leader, by_heartbeat) = (Some("w1".into()), true);
        let status = FleetStatus {
            leader,
            version: None,
            stream_arn: None,
            by_heartbeat,
            workers,
            leases: Vec::new(),
            in_one_table: true,
            unreadable: Vec::new(),
        };

        let expected = "leader   w1\nversion  -\nleases are renewed by one heartbeat a worker\n\
            worker   w1  3 leases, reported at 2023-11-14T22:13:20Z\n\
            worker   w2  3 leases, reported at an impossible time\n\
            usage    60 requests a minute, of 12 read and 144 write units\n";
        assert_eq!(status.to_string(), expected);
    }
}
