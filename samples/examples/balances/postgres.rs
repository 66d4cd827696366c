//! Balances in PostgreSQL, in one transaction with the shard's mark.

use std::{
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use examples::trade::Trade;
use kcl::{BoxError, RecordBatch, SinkKey, SinkMark, SinkTransaction, TransactionalSink};
use tokio_postgres::{Client, Config, NoTls};

use crate::ledger::{Positions, positions};

/// Limits of a statement and of a pause between two: a worker that stalls in a transaction loses it with its locks.
const TIMEOUTS: &str = "-c statement_timeout=20s -c idle_in_transaction_session_timeout=20s";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS balances (symbol text PRIMARY KEY, shares bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS marks (key text PRIMARY KEY, mark text NOT NULL);
";
/// Lock until the end of the transaction, also where there is no row yet.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
/// Statement of its own: its snapshot has what the lock's former holder committed.
const READ_MARK: &str = "SELECT mark FROM marks WHERE key = $1";
const STORE_MARK: &str = "INSERT INTO marks VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET mark = excluded.mark";
/// Symbols are sorted, so that two shards lock rows in one order.
const ADD: &str = "
    INSERT INTO balances SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (symbol) DO UPDATE SET shares = balances.shares + excluded.shares
";

/// A database by its address.
#[derive(Debug, Clone)]
pub(crate) struct Database(Arc<Config>);

impl Database {
    pub(crate) fn at(address: &str) -> Result<Self, tokio_postgres::Error> {
        let mut config = Config::from_str(address)?;
        config.options(TIMEOUTS).connect_timeout(Duration::from_secs(5));
        Ok(Self(Arc::new(config)))
    }

    /// Opens a connection. Dropping the client closes it, which rolls back what is not committed.
    async fn connect(&self) -> Result<Client, BoxError> {
        let connected = self.0.connect(NoTls).await;
        let (client, connection) =
            connected.map_err(|error| format!("the database cannot be reached: {}", cause(&error)))?;
        // Ends with the client, or with the server: then the client's calls fail.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    pub(crate) async fn create_tables(&self) -> Result<(), BoxError> {
        Ok(self.connect().await?.batch_execute(TABLES).await?)
    }

    /// All balances.
    pub(crate) async fn read(&self) -> Result<Positions, BoxError> {
        let rows = self.connect().await?.query("SELECT symbol, shares FROM balances", &[]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

/// The client's error names its cause only as its source.
fn cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// The sink of one shard.
#[derive(Debug)]
pub(crate) struct PostgresSink {
    database: Database,
    /// The connection between two transactions; locked to take it out and to put it back.
    idle: Arc<Mutex<Option<Client>>>,
}

impl PostgresSink {
    pub(crate) fn new(database: &Database) -> Self {
        Self { database: database.clone(), idle: Arc::default() }
    }
}

impl TransactionalSink for PostgresSink {
    type Error = BoxError;
    type Transaction = PostgresTransaction;

    async fn begin(&mut self) -> Result<PostgresTransaction, BoxError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|client| !client.is_closed());
        let client = match kept {
            Some(client) => client,
            None => self.database.connect().await?,
        };
        client.batch_execute("BEGIN").await?;
        Ok(PostgresTransaction { client, idle: Arc::clone(&self.idle) })
    }
}

/// Transaction with the connection that it has to itself.
#[derive(Debug)]
pub(crate) struct PostgresTransaction {
    client: Client,
    idle: Arc<Mutex<Option<Client>>>,
}

impl SinkTransaction for PostgresTransaction {
    type Error = BoxError;

    async fn mark(&mut self, key: &SinkKey) -> Result<Option<SinkMark>, BoxError> {
        let key = key.to_string();
        self.client.execute(LOCK, &[&key]).await?;
        let row = self.client.query_opt(READ_MARK, &[&key]).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(row.try_get::<_, &str>(0)?.parse()?))
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), BoxError> {
        let trades: Vec<Trade> =
            batch.records.iter().map(|record| Trade::from_json(&record.data)).collect::<Result<_, _>>()?;
        let (symbols, shares): (Vec<String>, Vec<i64>) = positions(trades).into_iter().unzip();
        self.client.execute(ADD, &[&symbols, &shares]).await?;
        Ok(())
    }

    async fn set_mark(&mut self, key: &SinkKey, mark: &SinkMark) -> Result<(), BoxError> {
        self.client.execute(STORE_MARK, &[&key.to_string(), &mark.to_string()]).await?;
        Ok(())
    }

    async fn commit(self) -> Result<(), BoxError> {
        self.client.batch_execute("COMMIT").await?;
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.client);
        Ok(())
    }
}
