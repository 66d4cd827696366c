//! [`LocalAws`]: the handle to both services.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::access::Access;
use crate::clock::Clock;
use crate::kinesis::Delays;
use crate::serve::{ServeError, ServeOptions, Server};
use crate::services::Services;
use crate::{REGION, connector};

/// An embedded Kinesis and DynamoDB. Clones share one state; it goes when the last clone and the last client go.
#[derive(Clone, Debug)]
pub struct LocalAws {
    services: Arc<Services>,
}

impl LocalAws {
    /// Starts both services, empty, with the defaults of [`LocalAws::builder`].
    ///
    /// # Cancellation
    /// Dropping the future before it completes starts nothing.
    pub async fn start() -> LocalAws {
        Self::builder().start().await
    }

    /// Starts both services with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The configuration for clients of both services: in process, with credentials and a region that need no
    /// environment. Sleeps, timeouts and retries of the clients follow tokio's clock, paused or not.
    pub fn sdk_config(&self) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "kinesis-local");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(TokioSleep::new())
            .time_source(self.services.clock())
            .http_client(connector::http_client(Arc::clone(&self.services)))
            .build()
    }

    /// Serves both services on loopback ports as well, for other processes and other languages.
    ///
    /// Not for tests under paused time: a socket does not wait for a virtual clock, so timeouts fire early.
    ///
    /// # Errors
    /// When a port cannot be used.
    ///
    /// # Cancellation
    /// Dropping the future before it completes serves nothing.
    pub async fn serve(&self, options: ServeOptions) -> Result<Server, ServeError> {
        Server::start(Arc::clone(&self.services), options).await
    }

    /// Denies an action from now on, by its name in policies: `kinesis:PutRecords`, `dynamodb:CreateTable`. Its calls
    /// are answered with AccessDeniedException.
    pub fn deny(&self, action: &str) {
        self.services.access.deny(action);
    }

    /// Allows an action again that was denied.
    pub fn allow(&self, action: &str) {
        self.services.access.allow(action);
    }
}

/// Settings of a [`LocalAws`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing starts before start() is called"]
pub struct Builder {
    delays: Delays,
    denied: BTreeSet<String>,
}

impl Builder {
    /// How long a new stream stays CREATING. Default zero: it is ACTIVE at once.
    pub fn creating_takes(mut self, delay: Duration) -> Self {
        self.delays.creating = delay;
        self
    }

    /// How long a stream stays UPDATING when shards are split, merged or scaled; they change at the end. Default zero.
    pub fn updating_takes(mut self, delay: Duration) -> Self {
        self.delays.updating = delay;
        self
    }

    /// How long a deleted stream stays DELETING. Default zero: it is gone at once.
    pub fn deleting_takes(mut self, delay: Duration) -> Self {
        self.delays.deleting = delay;
        self
    }

    /// How long a registered consumer stays CREATING. Default zero: it is ACTIVE at once. Deregistering one takes as
    /// long as deleting a stream.
    pub fn registering_takes(mut self, delay: Duration) -> Self {
        self.delays.registering = delay;
        self
    }

    /// Denies an action from the start. See [`LocalAws::deny`].
    pub fn deny(mut self, action: &str) -> Self {
        self.denied.insert(action.to_owned());
        self
    }

    /// Starts both services, empty.
    ///
    /// # Panics
    /// When SQLite cannot open a database in memory.
    ///
    /// # Cancellation
    /// Dropping the future before it completes starts nothing.
    pub async fn start(self) -> LocalAws {
        let services = Services::new(Clock::start(), self.delays, Access::new(self.denied));
        LocalAws { services: Arc::new(services) }
    }
}
