//! [`Guard`]: rules on every call of a run's clients before it is sent, and keeps its books.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::ledger::{CapReached, Ledger, Totals};
use super::prefix::Prefix;
use super::ruling::{Ruling, rule};

/// Time between two looks at the stream hours that time alone adds.
const LOOK: Duration = Duration::from_secs(10);

/// Interceptor of all clients of a run. Clones share the books.
#[derive(Debug, Clone)]
pub struct Guard {
    prefix: Prefix,
    // Protects the books between calls that are under way side by side.
    ledger: Arc<Mutex<Ledger>>,
    /// Cancelled when the cap is reached.
    full: CancellationToken,
}

/// The ruling on a call that is under way.
#[derive(Debug)]
struct Ruled(Ruling);

impl Storable for Ruled {
    type Storer = StoreReplace<Self>;
}

impl Guard {
    /// A guard of what has the prefix, that stops at a cap on stream hours.
    pub fn new(prefix: Prefix, cap: u64) -> Self {
        Self { prefix, ledger: Arc::new(Mutex::new(Ledger::new(cap))), full: CancellationToken::new() }
    }

    /// Beginning of the names that may be made.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Numbers of what was made.
    pub fn totals(&self) -> Totals {
        self.ledger().totals()
    }

    /// Stream hours so far.
    pub fn hours(&self) -> u64 {
        self.ledger().hours(Instant::now())
    }

    /// Streams whose names begin so and that are not deleted.
    pub fn streams(&self, beginning: &str) -> Vec<String> {
        self.ledger().streams(beginning)
    }

    /// Tables that were made whose names begin so.
    pub fn tables(&self, beginning: &str) -> Vec<String> {
        self.ledger().tables(beginning)
    }

    /// True if the cap was reached: calls were refused for it, or time has passed it.
    pub fn is_full(&self) -> bool {
        self.full.is_cancelled()
    }

    /// Resolves when the cap is reached.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn filled(&self) {
        loop {
            tokio::select! {
                () = self.full.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            if self.ledger().is_over(Instant::now()) {
                self.full.cancel();
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what is about to be made.
    fn enter(&self, ruling: &Ruling) -> Result<(), CapReached> {
        let (mut ledger, now) = (self.ledger(), Instant::now());
        match ruling {
            Ruling::Pass | Ruling::DeleteStream { .. } | Ruling::Refuse(_) => Ok(()),
            Ruling::CreateStream { name, shards } => ledger.create(name, *shards, now),
            Ruling::OpenShards { name, shards } => ledger.open(name, *shards, now),
            Ruling::RegisterConsumer { name } => ledger.consume(name, now),
            Ruling::CreateTable { name } => {
                ledger.create_table(name);
                Ok(())
            }
        }
    }
}

impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    /// Once a call, however often it is retried.
    fn read_after_serialization(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(|metadata| metadata.name().to_owned());
        let operation = operation.ok_or("a call without a name")?;
        let body = context.request().body().bytes().ok_or("a request whose body is not in memory")?;
        let body: Value = serde_json::from_slice(body)?;
        let ruling = rule(&self.prefix, &operation, &body);
        if let Ruling::Refuse(reason) = &ruling {
            return Err(reason.clone().into());
        }
        if let Err(reached) = self.enter(&ruling) {
            self.full.cancel();
            return Err(reached.into());
        }
        config.interceptor_state().store_put(Ruled(ruling));
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_accepted = matches!(context.output_or_error(), Some(Ok(_)));
        // Without an answer, what was asked for may have been made.
        let is_refused = !is_accepted && context.response().is_some();
        match config.load::<Ruled>() {
            Some(Ruled(Ruling::CreateStream { name, .. })) if is_accepted => self.ledger().accepted(name),
            Some(Ruled(Ruling::CreateStream { name, .. })) if is_refused => self.ledger().refused(name),
            Some(Ruled(Ruling::DeleteStream { name })) if is_accepted => self.ledger().deleted(name, Instant::now()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::DisplayErrorContext;
    use kinesis_local::LocalAws;

    use super::super::clients::Clients;
    use super::*;

    async fn guarded(cap: u64) -> (LocalAws, Guard, Clients) {
        let aws = LocalAws::start().await;
        let guard = Guard::new(Prefix::random(), cap);
        let clients = Clients::direct(&aws.sdk_config(), &guard);
        (aws, guard, clients)
    }

    #[tokio::test(start_paused = true)]
    async fn a_foreign_stream_is_not_touched() {
        let (aws, _, clients) = guarded(10).await;
        aws.create_stream("orders", 1).unwrap();

        let delete = clients.kinesis.delete_stream().stream_name("orders").send().await;
        let describe = clients.dynamodb.describe_table().table_name("orders").send().await;

        let refusal = DisplayErrorContext(delete.unwrap_err()).to_string();
        assert!(refusal.contains("DeleteStream names"), "{refusal}");
        describe.unwrap_err();
        let names = clients.kinesis.list_streams().send().await.unwrap();
        assert_eq!(names.stream_names(), ["orders"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_and_deleted_is_in_the_books() {
        let (_aws, guard, clients) = guarded(10).await;
        let name = guard.prefix().name("stream");
        let create = || clients.kinesis.create_stream().stream_name(&name).shard_count(2).send();

        create().await.unwrap();
        create().await.unwrap_err();
        assert_eq!((guard.streams(""), guard.hours()), (vec![name.clone()], 2));

        clients.kinesis.delete_stream().stream_name(&name).send().await.unwrap();
        assert_eq!((guard.streams(""), guard.hours()), (vec![], 2));
        assert_eq!(guard.totals(), Totals { streams: 1, shards: 2, consumers: 0, tables: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_stops_at_its_cap() {
        let (_aws, guard, clients) = guarded(3).await;
        let create =
            |what: &str| clients.kinesis.create_stream().stream_name(guard.prefix().name(what)).shard_count(2).send();

        create("a").await.unwrap();
        assert!(!guard.is_full());
        create("b").await.unwrap_err();

        guard.filled().await;
        assert_eq!(guard.streams("").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn time_alone_reaches_the_cap() {
        let (_aws, guard, clients) = guarded(1).await;
        clients.kinesis.create_stream().stream_name(guard.prefix().name("a")).shard_count(1).send().await.unwrap();
        let begun = Instant::now();

        guard.filled().await;

        assert_eq!(begun.elapsed().as_secs(), 3600);
    }
}
