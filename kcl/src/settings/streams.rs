//! The streams of an application.

use std::sync::{Arc, Mutex};

use crate::{
    locked::locked,
    model::{FormerStreams, InitialPosition},
};

/// One stream of an application, and what is particular to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "give it to Streams"]
pub struct StreamConfig {
    pub(crate) stream: String,
    pub(crate) initial_position: Option<InitialPosition>,
    pub(crate) consumer_arn: Option<Arc<str>>,
    pub(crate) creation_epoch: Option<u64>,
}

impl StreamConfig {
    /// A stream by its name, in the account and region of the configuration, or by its ARN.
    pub fn new(stream: impl Into<String>) -> Self {
        Self { stream: stream.into(), initial_position: None, consumer_arn: None, creation_epoch: None }
    }

    /// Start in shards without a checkpoint. Default
    /// [`WorkerBuilder::initial_position`](crate::WorkerBuilder::initial_position).
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.initial_position = Some(position);
        self
    }

    /// The registered consumer that reads this stream by fan-out. Default: one of the application's name, registered if
    /// need be. Needed for a stream of another account.
    #[doc(alias = "consumerArn")]
    pub fn consumer_arn(mut self, arn: impl Into<Arc<str>>) -> Self {
        self.consumer_arn = Some(arn.into());
        self
    }

    /// The stream's creation time in seconds since 1970, at least 1, as in lease keys. Default: the time from Kinesis,
    /// so that a stream created again starts anew. Must be the same on all workers, those of Java included.
    #[doc(alias = "streamCreationEpoch")]
    pub fn creation_epoch(mut self, seconds: u64) -> Self {
        self.creation_epoch = Some(seconds.max(1));
        self
    }
}

/// The streams of an application that reads several with one lease table. Clones share one list, which may change.
///
/// All workers need the same list, as any may lead and create the leases for it. The leader notices a change within
/// seconds. A stream that cannot be read is reported as an [`Event`](crate::Event) and tried again.
///
/// Keys of several streams differ from those of one, so an application cannot switch and keep its checkpoints.
///
/// ```no_run
/// use kcl::{InitialPosition, StreamConfig, Streams, Worker};
/// # use kcl::{BoxError, Checkpointer, RecordBatch, RecordProcessor, ShardContext};
/// # struct Printer;
/// # impl RecordProcessor for Printer {
/// #     type Error = BoxError;
/// #     async fn process_records(&mut self, _: RecordBatch, _: &Checkpointer) -> Result<(), BoxError> { Ok(()) }
/// # }
///
/// # async fn example(aws: aws_types::SdkConfig) -> Result<(), BoxError> {
/// let streams = Streams::new(["orders", "payments"]);
/// let worker = Worker::builder(&aws, "auditor", streams.clone()).build(|shard: &ShardContext| {
///     println!("{} of {}", shard.shard_id, shard.stream_id.name());
///     Printer
/// })?;
/// let running = worker.start();
/// streams.add(StreamConfig::new("refunds").initial_position(InitialPosition::TrimHorizon));
/// # running.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[doc(alias = "StreamTracker")]
#[doc(alias = "MultiStreamTracker")]
pub struct Streams {
    list: Arc<Mutex<Vec<StreamConfig>>>,
    pub(crate) former: FormerStreams,
}

impl Streams {
    /// Starts with these streams. Of two with the same name or ARN the later counts.
    pub fn new<S: Into<StreamConfig>>(streams: impl IntoIterator<Item = S>) -> Self {
        let this = Self::default();
        this.set(streams);
        this
    }

    /// Treatment of the leases of streams that are no longer listed. Default [`FormerStreams::Keep`].
    pub fn former_streams(mut self, former: FormerStreams) -> Self {
        self.former = former;
        self
    }

    /// Adds a stream, or replaces the one of this name or ARN.
    pub fn add(&self, stream: impl Into<StreamConfig>) {
        let stream = stream.into(); // the application's code, not to be called under the lock
        put(&mut locked(&self.list), stream);
    }

    /// Removes the stream listed by this name or ARN; false if there is none. See [`FormerStreams`] for its leases.
    pub fn remove(&self, stream: &str) -> bool {
        let mut list = locked(&self.list);
        let before = list.len();
        list.retain(|listed| listed.stream != stream);
        list.len() < before
    }

    /// Lists these streams and no others.
    pub fn set<S: Into<StreamConfig>>(&self, streams: impl IntoIterator<Item = S>) {
        let mut new: Vec<StreamConfig> = Vec::new();
        streams.into_iter().for_each(|stream| put(&mut new, stream.into()));
        *locked(&self.list) = new;
    }

    /// The streams as they are listed now.
    pub fn get(&self) -> Vec<StreamConfig> {
        locked(&self.list).clone()
    }
}

fn put(list: &mut Vec<StreamConfig>, stream: StreamConfig) {
    list.retain(|listed| listed.stream != stream.stream);
    list.push(stream);
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Single(StreamConfig),
    Multi(Streams),
}

/// A stream, or several: what [`Worker::builder`](crate::Worker::builder) takes.
#[derive(Debug, Clone)]
pub struct StreamSource(pub(crate) Source);

macro_rules! one_stream {
    ($($from:ty),*) => {$(
        impl From<$from> for StreamConfig {
            fn from(stream: $from) -> Self {
                Self::new(stream)
            }
        }

        impl From<$from> for StreamSource {
            fn from(stream: $from) -> Self {
                Self(Source::Single(StreamConfig::new(stream)))
            }
        }
    )*};
}

one_stream!(&str, String, &String);

impl From<Streams> for StreamSource {
    fn from(streams: Streams) -> Self {
        Self(Source::Multi(streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(streams: &Streams) -> Vec<String> {
        streams.get().into_iter().map(|stream| stream.stream).collect()
    }

    #[test]
    fn clones_share_one_list() {
        let streams = Streams::new(["a", "b"]);
        let clone = streams.clone();
        clone.add("c");
        assert!(clone.remove("a"));
        assert!(!clone.remove("a"), "it is gone");
        assert_eq!(names(&streams), ["b", "c"]);
    }

    #[test]
    fn a_stream_is_listed_once_with_its_last_settings() {
        let streams = Streams::new(["a", "b", "a"]);
        assert_eq!(names(&streams), ["b", "a"]);
        streams.add(StreamConfig::new("b").creation_epoch(0));
        assert_eq!(streams.get()[1].creation_epoch, Some(1), "0 is not a creation time");
    }
}
