//! The place of the balances.

use aws_types::SdkConfig;
use kcl::{BoxError, CheckpointEvery, ShardContext, WorkerBuilder, WorkerError};

use crate::{
    ledger::{self, Ledger, Positions},
    postgres::{Database, PostgresSink},
    server::PostgresServer,
};

#[derive(Debug)]
pub(crate) enum Store {
    Postgres {
        database: Database,
        address: String,
        /// None: somebody else's.
        server: Option<PostgresServer>,
    },
    Dynamodb(aws_sdk_dynamodb::Client),
}

impl Store {
    /// A database at an address, or, in the first process, one that it starts.
    pub(crate) async fn postgres(address: Option<String>, may_start: bool) -> anyhow::Result<Self> {
        let (address, server) = match address {
            Some(address) => (address, None),
            None => {
                anyhow::ensure!(may_start, "a worker needs the address of its database");
                let server = PostgresServer::start().await?;
                (server.address(), Some(server))
            }
        };
        Ok(Self::Postgres { database: Database::at(&address)?, address, server })
    }

    pub(crate) fn dynamodb(aws: &SdkConfig) -> Self {
        Self::Dynamodb(aws_sdk_dynamodb::Client::new(aws))
    }

    /// Arguments by which a worker process has the same store.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Postgres { address, .. } => vec!["postgres".to_owned(), "--database".to_owned(), address.clone()],
            Self::Dynamodb(_) => vec!["dynamodb".to_owned()],
        }
    }

    pub(crate) async fn create_tables(&self) -> Result<(), BoxError> {
        match self {
            Self::Postgres { database, .. } => database.create_tables().await,
            Self::Dynamodb(client) => Ok(ledger::create_table(client).await?),
        }
    }

    pub(crate) async fn read(&self) -> Result<Positions, BoxError> {
        match self {
            Self::Postgres { database, .. } => database.read().await,
            Self::Dynamodb(client) => Ok(ledger::read(client).await?),
        }
    }

    /// Runs a worker until `stop`.
    pub(crate) async fn work(
        &self,
        worker: WorkerBuilder,
        stop: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        let ended: Result<(), WorkerError> = match self {
            Self::Postgres { database, .. } => {
                let database = database.clone();
                let sink = move |_: &ShardContext| PostgresSink::new(&database);
                worker.build_sink(CheckpointEvery::default(), sink)?.run_until(stop).await
            }
            Self::Dynamodb(_) => worker.build(|_: &ShardContext| Ledger)?.run_until(stop).await,
        };
        Ok(ended?)
    }
}
