//! [`LocalAws`]: the handle to the services, and its builder.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::clock::Clock;
use crate::cloudwatch::Metric;
use crate::dynamodb::ConsumedCapacity;
use crate::dynamodb::engine::Limited;
use crate::faults::Faults;
use crate::link::Link;
use crate::services::{Services, Settings};
use crate::{REGION, connector};

/// An embedded Kinesis and DynamoDB. Clones share one state, which is dropped with the last clone and the last client.
#[derive(Clone, Debug)]
pub struct LocalAws {
    pub(crate) services: Arc<Services>,
}

impl LocalAws {
    /// Starts the services, empty, with the defaults of [`LocalAws::builder`].
    ///
    /// # Cancellation
    /// Dropping the future before it completes starts nothing.
    pub async fn start() -> LocalAws {
        Self::builder().start().await
    }

    /// Starts the services with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The configuration for clients in the process, with credentials and a region that need no environment. Sleeps,
    /// timeouts and retries of the clients follow tokio's clock, paused or not.
    pub fn sdk_config(&self) -> SdkConfig {
        self.sdk_config_over(&Link::unlimited())
    }

    /// The configuration for clients behind a link of limited bandwidth, which all of them share.
    pub fn sdk_config_over(&self, link: &Link) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "kinesis-local");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(TokioSleep::new())
            .time_source(self.services.clock.process())
            .http_client(connector::http_client(Arc::clone(&self.services), link.clone()))
            .build()
    }

    /// Creates a provisioned stream, as CreateStream does. Denied actions, faults and limits on calls do not apply.
    ///
    /// # Errors
    /// The stream exists, or the service does not accept the name or the number of shards.
    pub fn create_stream(&self, name: &str, shards: u32) -> Result<(), CreateStreamError> {
        self.services
            .create_stream(name, shards)
            .map_err(|refusal| CreateStreamError { stream: name.to_owned(), reason: refusal.message().to_owned() })
    }

    /// Faults to inject, which can be set, counted and removed at any time.
    pub fn faults(&self) -> &Faults {
        &self.services.faults
    }

    /// Sets the services' clock ahead of the process' from now on, as when the machine's clock is slow. The services' clock
    /// determines the timestamps of records, the header `Date` of answers, which times are in the future, and which
    /// signatures have expired: those more than five minutes off, either way (over sockets only while a skew is set).
    /// Clients of the SDK learn the time from the `Date` of an answer, and sign later calls by it.
    pub fn set_clock_ahead(&self, by: Duration) {
        self.services.set_skew_millis(millis(by));
    }

    /// Sets the services' clock behind the process' from now on. See [`set_clock_ahead`](Self::set_clock_ahead).
    /// Timestamps and sequence numbers within a shard never go back; pending changes, such as a stream that is CREATING,
    /// end by the services' clock.
    pub fn set_clock_behind(&self, by: Duration) {
        self.services.set_skew_millis(-millis(by));
    }

    /// Capacity units that all requests to DynamoDB have consumed since the start. Not counted: batches and transactions that
    /// were refused, and everything if dynoxide stands in.
    pub fn consumed_capacity(&self) -> ConsumedCapacity {
        self.services.dynamodb.consumed()
    }

    /// The metrics that clients put to CloudWatch, oldest first. The newest 100,000 are kept.
    pub fn metrics(&self) -> Vec<Metric> {
        self.services.cloudwatch.metrics()
    }

    /// Forgets the metrics that were put until now.
    pub fn clear_metrics(&self) {
        self.services.cloudwatch.clear();
    }

    /// Denies an action from now on, by its name in policies, such as `kinesis:PutRecords`, or all actions with a common
    /// beginning, such as `dynamodb:*`. Calls that need it are refused with AccessDeniedException. As at the service,
    /// DynamoDB's transactions need the actions of their items, and PartiQL statements `dynamodb:PartiQLSelect` and the like.
    ///
    /// # Panics
    /// The action does not exist.
    pub fn deny(&self, action: &str) {
        self.services.access.deny(action);
    }

    /// Allows an action again that was denied by the same text.
    pub fn allow(&self, action: &str) {
        self.services.access.allow(action);
    }
}

/// A stream that was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot create stream {stream:?}: {reason}")]
pub struct CreateStreamError {
    stream: String,
    reason: String,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Settings of a [`LocalAws`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing starts before start() is called"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// Time that a new stream stays CREATING. Default zero: it is ACTIVE at once.
    pub fn creating_takes(mut self, delay: Duration) -> Self {
        self.settings.delays.creating = delay;
        self
    }

    /// Time that a stream stays UPDATING when shards are split, merged or scaled; they change at the end. Default zero.
    pub fn updating_takes(mut self, delay: Duration) -> Self {
        self.settings.delays.updating = delay;
        self
    }

    /// Time that a deleted stream stays DELETING. Default zero: it is gone at once.
    pub fn deleting_takes(mut self, delay: Duration) -> Self {
        self.settings.delays.deleting = delay;
        self
    }

    /// Time that a registered consumer stays CREATING. Default zero: it is ACTIVE at once. Deregistering one takes as
    /// long as deleting a stream.
    pub fn registering_takes(mut self, delay: Duration) -> Self {
        self.settings.delays.registering = delay;
        self
    }

    /// Enforces the service's limits on throughput and calls. By default there are none, so that tests need not wait.
    ///
    /// A shard accepts 1 MiB and 1,000 records a second, and returns 2 MiB in 5 calls of GetRecords a second; a subscription
    /// delivers 2 MiB a second and can be started once a second; calls that manage streams have limits of their own. A second
    /// starts with the first use. On-demand streams have the same limits per shard.
    /// Tables are limited as by [`enforce_table_limits`](Self::enforce_table_limits).
    pub fn enforce_limits(mut self) -> Self {
        self.settings.limits.are_enforced = true;
        self.enforce_table_limits()
    }

    /// Enforces the limits of DynamoDB's partitions alone. By default there are none.
    ///
    /// A partition of a table or an index takes 1,000 write units and gives 3,000 read units a second. Tables and indexes
    /// have four, as new on-demand tables of the service do, and more if their provisioned throughput needs more. They are
    /// not split further. A batch that does not fit is refused as a whole. Reads that lag
    /// ([`dynamodb_reads_lag`](Self::dynamodb_reads_lag)) and dynoxide have no limits.
    pub fn enforce_table_limits(mut self) -> Self {
        self.settings.tables = Limited(true);
        self
    }

    /// Maximum size of all records that Kinesis keeps, in bytes, each counted with about 150 bytes more. Default 4 GiB.
    /// Puts beyond it are throttled with ProvisionedThroughputExceededException until retention or deleted streams free
    /// space.
    pub fn max_retained_bytes(mut self, bytes: u64) -> Self {
        self.settings.limits.retained_bytes = bytes;
        self
    }

    /// Maximum number of open shards of the account, in all its streams together. Default 20,000, as in us-east-1; the
    /// service raises it on request. A stream has at most 10,000 in any case.
    /// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
    pub fn max_account_shards(mut self, shards: u32) -> Self {
        self.settings.limits.account_shards = shards as usize;
        self
    }

    /// Lag of DynamoDB's eventually consistent reads: GetItem, Query, Scan and BatchGetItem without ConsistentRead, and all
    /// reads of global secondary indexes. Default zero: they see everything. Tables themselves change at once.
    pub fn dynamodb_reads_lag(mut self, lag: Duration) -> Self {
        self.settings.lags.reads = lag;
        self
    }

    /// DynamoDB by dynoxide, another emulator, on SQLite in memory: a peer to check tests against. Default: our own.
    #[cfg(feature = "dynoxide")]
    pub fn dynamodb_by_dynoxide(mut self) -> Self {
        self.settings.engine = crate::dynamodb::dynoxide::KIND;
        self
    }

    /// Time that a global secondary index added by UpdateTable stays CREATING and cannot be read. Default zero: it is
    /// ACTIVE at once.
    pub fn indexes_take(mut self, delay: Duration) -> Self {
        self.settings.lags.indexes = delay;
        self
    }

    /// Time that a global secondary index added by UpdateTable cannot be read although DescribeTable reports it ACTIVE:
    /// Query and Scan answer that the table does not have the specified index. Default zero.
    pub fn indexes_lag(mut self, lag: Duration) -> Self {
        self.settings.lags.active_indexes = lag;
        self
    }

    /// Denies an action from the start. See [`LocalAws::deny`].
    pub fn deny(mut self, action: &str) -> Self {
        self.settings.denied.insert(action.to_owned());
        self
    }

    /// Starts the services, empty.
    ///
    /// # Panics
    /// SQLite cannot open a database in memory, or an action is denied that does not exist.
    ///
    /// # Cancellation
    /// Dropping the future before it completes starts nothing.
    pub async fn start(self) -> LocalAws {
        let services = Services::new(Clock::start(), self.settings);
        LocalAws { services: Arc::new(services) }
    }
}
