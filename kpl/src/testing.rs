//! A scriptable Kinesis, for tests of what uses a producer (feature `test-util`).
//!
//! ```
//! use kpl::{Producer, UserRecord, testing::FakeKinesis};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kinesis = FakeKinesis::new(2);
//! let aws = aws_types::SdkConfig::builder().build();
//! let producer = Producer::builder(&aws, "StockTradeStream").kinesis(kinesis.clone()).build()?;
//!
//! producer.put(UserRecord::new("AAPL", "trade")).await?.await?;
//!
//! assert_eq!(kinesis.delivered()[0].data, "trade");
//! # Ok(())
//! # }
//! ```

mod stream;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use self::stream::{DeliveredRecord, FakeStream};
use crate::{
    id::ShardId,
    kinesis::{BoxFuture, Entry, EntryResult, Kinesis, KinesisError, PutRecordsRequest, Shard, StreamSummary},
    stream::Stream,
};

/// Reaction of a [`FakeKinesis`] to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// Carries it out.
    Accept,
    /// Fails the call as a whole.
    Fail(KinesisError),
    /// Fails the entries at these positions and stores the others.
    FailEntries(Vec<(usize, KinesisError)>),
    /// Stores all entries, and answers only this number of them.
    Answer(usize),
    /// Stores all entries and never answers.
    Hang,
    /// Panics.
    Panic,
}

/// A Kinesis with one stream, in memory. Clones share it.
#[derive(Clone)]
pub struct FakeKinesis {
    /// Held for the time of a call or a question.
    state: Arc<Mutex<State>>,
}

type PutRule = Box<dyn FnMut(&[Entry]) -> Reaction + Send>;
type ListRule = Box<dyn FnMut() -> Reaction + Send>;

struct State {
    stream: FakeStream,
    latency: Duration,
    on_put: PutRule,
    on_list: ListRule,
    summary: Result<StreamSummary, KinesisError>,
    requests: Vec<Vec<Entry>>,
    listings: usize,
    descriptions: usize,
    running: usize,
    max_running: usize,
}

impl FakeKinesis {
    /// A stream of `shards` shards that divide the hash keys evenly, which accepts everything at once.
    pub fn new(shards: usize) -> Self {
        let state = State {
            stream: FakeStream::new(shards),
            latency: Duration::ZERO,
            on_put: Box::new(|_| Reaction::Accept),
            on_list: Box::new(|| Reaction::Accept),
            summary: Ok(StreamSummary::default()),
            requests: Vec::new(),
            listings: 0,
            descriptions: 0,
            running: 0,
            max_running: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sets the duration of each call, which takes effect at its end.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// Sets the reaction to calls of PutRecords from now on.
    pub fn on_put(&self, rule: impl FnMut(&[Entry]) -> Reaction + Send + 'static) {
        self.state().on_put = Box::new(rule);
    }

    /// Sets the reaction to calls of ListShards from now on.
    pub fn on_list(&self, rule: impl FnMut() -> Reaction + Send + 'static) {
        self.state().on_list = Box::new(rule);
    }

    /// Sets the answer to calls of DescribeStreamSummary from now on.
    pub fn describe_as(&self, summary: Result<StreamSummary, KinesisError>) {
        self.state().summary = summary;
    }

    /// Splits an open shard in the middle.
    pub fn split(&self, shard_id: &ShardId) {
        self.state().stream.split(shard_id);
    }

    /// The open shards.
    pub fn shards(&self) -> Vec<Shard> {
        self.state().stream.shards().to_vec()
    }

    /// The entries of every PutRecords call so far, in the order the calls were made.
    pub fn requests(&self) -> Vec<Vec<Entry>> {
        self.state().requests.clone()
    }

    /// Number of ListShards calls so far.
    pub fn listings(&self) -> usize {
        self.state().listings
    }

    /// Number of DescribeStreamSummary calls so far.
    pub fn descriptions(&self) -> usize {
        self.state().descriptions
    }

    /// Maximum number of PutRecords calls that ran at a time.
    pub fn most_running(&self) -> usize {
        self.state().max_running
    }

    /// The user records that a KCL would deliver, see [`FakeStream::delivered`].
    pub fn delivered(&self) -> Vec<DeliveredRecord> {
        self.state().stream.delivered()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A reaction may panic while the lock is held; the state is whole nevertheless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass_time(&self) {
        let latency = self.state().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }
}

impl fmt::Debug for FakeKinesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeKinesis").finish_non_exhaustive()
    }
}

impl Kinesis for FakeKinesis {
    fn put_records(&self, request: PutRecordsRequest) -> BoxFuture<'_, Result<Vec<EntryResult>, KinesisError>> {
        Box::pin(async move {
            let reaction = {
                let mut state = self.state();
                state.requests.push(request.entries.clone());
                state.running += 1;
                state.max_running = state.max_running.max(state.running);
                (state.on_put)(&request.entries)
            };
            self.pass_time().await;
            let answer = {
                let mut state = self.state();
                state.running -= 1;
                state.stream.put(&request.entries, &reaction)
            };
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn list_shards(&self, _stream: Stream) -> BoxFuture<'_, Result<Vec<Shard>, KinesisError>> {
        Box::pin(async move {
            let reaction = {
                let mut state = self.state();
                state.listings += 1;
                (state.on_list)()
            };
            self.pass_time().await;
            match reaction {
                Reaction::Fail(error) => Err(error),
                Reaction::Hang => std::future::pending().await,
                Reaction::Panic => panic!("list shards panics"),
                _ => Ok(self.shards()),
            }
        })
    }

    fn describe_stream(&self, _stream: Stream) -> BoxFuture<'_, Result<StreamSummary, KinesisError>> {
        Box::pin(async move {
            self.state().descriptions += 1;
            self.pass_time().await;
            self.state().summary.clone()
        })
    }
}

#[cfg(test)]
pub(crate) use fixtures::{shard, start, uniform_shards};

#[cfg(test)]
mod fixtures {
    use std::time::Instant;

    use super::FakeStream;
    use crate::{
        hash_key::{HashKey, HashKeyRange},
        kinesis::Shard,
    };

    /// Some instant, for logic.
    pub(crate) fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    pub(crate) fn shard(id: &str, start: u128, end: u128) -> Shard {
        Shard { shard_id: id.into(), hash_key_range: HashKeyRange { start: HashKey(start), end: HashKey(end) } }
    }

    pub(crate) fn uniform_shards(count: usize) -> Vec<Shard> {
        FakeStream::new(count).shards().to_vec()
    }
}
