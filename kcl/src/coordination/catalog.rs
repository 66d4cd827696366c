//! SHELL: the streams that this worker may read: those that the application lists, and those that leases tell of.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::shard_sync;
use crate::{
    config::{FormerStreams, InitialPosition, StreamConfig, Streams},
    error::WorkerError,
    event::{Event, Events, chain},
    kinesis::{Kinesis, KinesisError, KinesisErrorKind},
    lease::Lease,
    logic::former_streams::Listed,
    stream::{Stream, StreamId},
};

/// Streams described at the same time. Kinesis answers 20 a second and account.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const CONCURRENT_DESCRIPTIONS: usize = 5;
/// After this time a stream is described again: it may have been deleted and created anew.
/// Source: KCL's interval between looks at the list of streams.
pub(super) const DESCRIPTION_LIFE: Duration = Duration::from_secs(60);
/// Pause before a stream that could not be described is tried again: if the failure may pass soon, and otherwise.
const RETRY_SOON: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(10);

/// Opens a stream, given by name or ARN.
pub(crate) type Open = Arc<dyn Fn(&str) -> Arc<dyn Kinesis> + Send + Sync>;

/// See above.
#[derive(Debug)]
pub(crate) enum Catalog {
    /// The application reads one stream, and lease keys are shard ids.
    One(Arc<Stream>),
    /// It reads several, and lease keys begin with the stream's id.
    Several(Box<Several>),
}

/// The listed streams.
pub(crate) struct Listing {
    /// Those that are known.
    pub(crate) streams: Vec<Arc<Stream>>,
    /// The names or ARNs of the others, and why they are not known.
    pub(crate) failed: Vec<(String, KinesisError)>,
}

impl Catalog {
    /// Whether the lease is of an application of this kind.
    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        matches!(self, Self::Several(_)) == lease.stream.is_some()
    }

    /// The id of a fitting lease's stream.
    pub(crate) fn id_of(&self, lease: &Lease) -> StreamId {
        match (self, &lease.stream) {
            (Self::One(stream), _) => stream.id.clone(),
            (Self::Several(_), Some(id)) => id.clone(),
            (Self::Several(_), None) => StreamId::from(""),
        }
    }

    /// Fitting leases by their streams.
    pub(crate) fn by_stream<'a>(&self, leases: &'a [Lease]) -> BTreeMap<StreamId, Vec<&'a Lease>> {
        let mut by_stream: BTreeMap<StreamId, Vec<&Lease>> = BTreeMap::new();
        for lease in leases {
            by_stream.entry(self.id_of(lease)).or_default().push(lease);
        }
        by_stream
    }

    /// The stream of a lease, listed or not; None if it cannot be told yet, or the lease is of an application of another
    /// kind.
    pub(crate) async fn stream_of(&self, lease: &Lease, events: &Events) -> Option<Arc<Stream>> {
        match (self, &lease.stream) {
            (Self::One(stream), None) => Some(Arc::clone(stream)),
            (Self::Several(several), Some(id)) => several.find(id, events).await,
            _ => None,
        }
    }

    /// The listed streams, once all of them are active.
    pub(crate) async fn wait_until_active(&self, events: &Events) -> Result<Vec<Arc<Stream>>, WorkerError> {
        let several = match self {
            Self::One(stream) => {
                shard_sync::wait_until_active(stream).await?;
                return Ok(vec![Arc::clone(stream)]);
            }
            Self::Several(several) => several,
        };
        loop {
            let listing = several.resolve(events).await;
            if let Some((stream, error)) = listing.failed.into_iter().next() {
                return Err(WorkerError::of_stream(&stream, error));
            }
            if several.known().await.unknown.is_empty() {
                return Ok(listing.streams);
            }
            sleep(RETRY).await;
        }
    }

    /// The streams that the application lists now. Each failure is an event.
    pub(crate) async fn listed(&self, events: &Events) -> Vec<Arc<Stream>> {
        match self {
            Self::One(stream) => vec![Arc::clone(stream)],
            Self::Several(several) => several.resolve(events).await.streams,
        }
    }
}

/// Streams that come and go while the worker runs.
pub(crate) struct Several {
    list: Streams,
    default_position: InitialPosition,
    /// `arn:<partition>:kinesis:<region>`, for streams that only leases tell of.
    arn_prefix: String,
    open: Open,
    /// Held while streams are described, so that each is described once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What became of the listed streams when they were described last.
    described: Vec<Described>,
    unlisted: HashMap<StreamId, Arc<Stream>>,
}

#[derive(Clone)]
struct Described {
    config: StreamConfig,
    kinesis: Arc<dyn Kinesis>,
    /// None until it was described once.
    stream: Option<Arc<Stream>>,
    again_at: Instant,
}

impl fmt::Debug for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Several").field("list", &self.list).finish_non_exhaustive()
    }
}

impl Several {
    pub(crate) fn new(list: Streams, default_position: InitialPosition, region: &str, open: Open) -> Self {
        let partition = match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let arn_prefix = format!("arn:{partition}:kinesis:{region}");
        Self { list, default_position, arn_prefix, open, state: Mutex::default() }
    }

    pub(crate) fn former(&self) -> &FormerStreams {
        self.list.former()
    }

    /// Describes the listed streams, unless that was done a short time ago.
    pub(crate) async fn resolve(&self, events: &Events) -> Listing {
        let mut state = self.state.lock().await;
        let mut known: HashMap<String, Described> =
            state.described.drain(..).map(|one| (one.config.stream.clone(), one)).collect();
        let now = Instant::now();
        let listed = self.list.get().into_iter().map(|config| match known.remove(&config.stream) {
            Some(described) if described.config == config => described,
            _ => Described { kinesis: (self.open)(&config.stream), config, stream: None, again_at: now },
        });
        // In the order of the list, so that of two names for one stream always the same counts.
        let described = stream::iter(listed).map(|one| self.describe(one, now)).buffered(CONCURRENT_DESCRIPTIONS);
        let described: Vec<(Described, Option<KinesisError>)> = described.collect().await;
        let (mut streams, mut failed, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (one, error) in described {
            if let Some(error) = error {
                let stream = one.config.stream.clone();
                events.emit(Event::StreamUnavailable { stream: stream.clone(), error: chain(&error) });
                failed.push((stream, error));
            }
            streams.extend(one.stream.iter().filter(|stream| seen.insert(stream.id.clone())).cloned());
            state.described.push(one);
        }
        Listing { streams, failed }
    }

    /// Describes one stream if it is time to. What is known of it stays known unless the service says otherwise.
    async fn describe(&self, mut one: Described, now: Instant) -> (Described, Option<KinesisError>) {
        if one.again_at > now {
            return (one, None);
        }
        one.again_at = now + RETRY;
        let error = match one.kinesis.describe().await {
            Ok(found) if !found.active => return (one, None), // it is being created, or deleted
            Ok(found) => match StreamId::of_several(&found.identity, one.config.creation_epoch) {
                Some(id) => {
                    one.again_at = now + DESCRIPTION_LIFE;
                    if one.stream.as_ref().is_none_or(|known| known.id != id) {
                        one.stream = Some(Arc::new(self.stream(id, &one.config, &one.kinesis)));
                    }
                    return (one, None);
                }
                None => unusable(&found.identity.arn),
            },
            Err(error) => error,
        };
        if error.may_pass() {
            one.again_at = now + RETRY_SOON;
        }
        if error.kind == KinesisErrorKind::NotFound {
            one.stream = None;
        }
        (one, Some(error))
    }

    fn stream(&self, id: StreamId, config: &StreamConfig, kinesis: &Arc<dyn Kinesis>) -> Stream {
        Stream::one_of_several(id, config, self.default_position, Arc::clone(kinesis))
    }

    async fn find(&self, id: &StreamId, events: &Events) -> Option<Arc<Stream>> {
        let streams = self.resolve(events).await.streams;
        let same_name = |stream: &&Arc<Stream>| (stream.id.account(), stream.id.name()) == (id.account(), id.name());
        match streams.iter().find(|stream| stream.id == *id) {
            Some(stream) => Some(Arc::clone(stream)),
            // It was deleted and created again: its name leads to another stream now.
            None if streams.iter().any(|stream| same_name(&stream)) => None,
            // It may be one of the list of which only the name is known yet; then its settings matter.
            None if self.known().await.unknown.contains(id.name()) => None,
            None => self.unlisted(id, events).await,
        }
    }

    /// A stream that only leases tell of.
    pub(crate) async fn unlisted(&self, id: &StreamId, events: &Events) -> Option<Arc<Stream>> {
        let account = id.account()?;
        let mut state = self.state.lock().await;
        if let Some(known) = state.unlisted.get(id) {
            return Some(Arc::clone(known));
        }
        let config = StreamConfig::new(format!("{}:{account}:stream/{}", self.arn_prefix, id.name()));
        let kinesis = (self.open)(&config.stream);
        let stream = Arc::new(self.stream(id.clone(), &config, &kinesis));
        state.unlisted.insert(id.clone(), Arc::clone(&stream));
        events.emit(Event::StreamNotListed { stream_id: id.clone() });
        Some(stream)
    }

    /// What is known of the list without asking anybody.
    pub(crate) async fn known(&self) -> Listed {
        let mut listed = Listed::default();
        let state = self.state.lock().await;
        for config in self.list.get() {
            let described = state.described.iter().find(|one| one.config == config);
            match described.and_then(|one| one.stream.as_ref()) {
                Some(stream) => {
                    listed.known.insert(stream.id.clone());
                }
                None => {
                    listed.unknown.insert(StreamId::of_one(&config.stream).name().to_owned());
                }
            }
        }
        listed
    }
}

fn unusable(arn: &str) -> KinesisError {
    let source = format!("the stream's ARN {arn:?} has no account and name").into();
    KinesisError { kind: KinesisErrorKind::Other, action: "kinesis:DescribeStreamSummary", source }
}
