//! SHELL: the catalog of streams: those that the application lists, and those that only leases name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    future::pending,
    mem,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use tokio::{sync::Mutex as AsyncMutex, time::sleep};

use super::{
    Stream,
    identity::{DESCRIBE, Identity, Presence},
};
use crate::{
    error::{KinesisError, KinesisErrorKind, WorkerError},
    event::{Event, Events, chain},
    kinesis::Kinesis,
    locked::locked,
    logic::lineage::{
        former_streams::ListedNames,
        lookup::{DESCRIPTION_LIFE, Listed, Lookup, RETRY, look_up},
    },
    model::{InitialPosition, Lease, StreamId},
    settings::streams::{StreamConfig, Streams},
    time::now,
};

/// Streams described at the same time. Kinesis answers 20 a second and account.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const CONCURRENT_DESCRIPTIONS: usize = 5;
/// Pause before a stream is described again whose description failed in a way that may pass soon.
const RETRY_SOON: Duration = Duration::from_secs(1);

pub(crate) type Open = Arc<dyn Fn(&str) -> Arc<dyn Kinesis> + Send + Sync>;

pub(crate) enum Catalog {
    /// The application reads one stream, and lease keys are shard ids.
    Single(Arc<Stream>),
    /// The application reads many streams, and lease keys begin with the stream's id.
    Multi(Box<MultiCatalog>),
}

pub(crate) struct Resolved {
    pub(crate) streams: Vec<Arc<Stream>>,
    /// The names or ARNs of the others, and why they are not known.
    pub(crate) failed: Vec<(String, KinesisError)>,
}

impl Catalog {
    /// True if the lease is of an application of this kind.
    pub(crate) fn fits(&self, lease: &Lease) -> bool {
        matches!(self, Self::Multi(_)) == lease.stream.is_some()
    }

    pub(crate) fn id_of(&self, lease: &Lease) -> StreamId {
        match (self, &lease.stream) {
            (Self::Single(stream), _) => stream.id.clone(),
            (Self::Multi(_), Some(id)) => id.clone(),
            (Self::Multi(_), None) => StreamId::from(""),
        }
    }

    pub(crate) fn lists(&self, id: &StreamId) -> bool {
        match self {
            Self::Single(_) => true,
            Self::Multi(multi) => multi.lists(id),
        }
    }

    pub(crate) fn by_stream<'a>(&self, leases: &'a [Lease]) -> BTreeMap<StreamId, Vec<&'a Lease>> {
        let mut by_stream: BTreeMap<StreamId, Vec<&Lease>> = BTreeMap::new();
        for lease in leases {
            by_stream.entry(self.id_of(lease)).or_default().push(lease);
        }
        by_stream
    }

    /// Streams of these leases that nobody can read any more, as far as is known without asking.
    pub(crate) fn vanished_streams(&self, leases: &[Lease]) -> HashSet<StreamId> {
        match self {
            Self::Single(_) => HashSet::new(),
            Self::Multi(multi) => multi.vanished(leases.iter().filter_map(|lease| lease.stream.as_ref()).collect()),
        }
    }

    /// The stream of a lease, listed or not; None if it is unknown yet, is gone, or the lease is of another application.
    pub(crate) async fn stream_of(&self, lease: &Lease, events: &Events) -> Option<Arc<Stream>> {
        match (self, &lease.stream) {
            (Self::Single(stream), None) => Some(Arc::clone(stream)),
            (Self::Multi(multi), Some(id)) => multi.find(id, events).await,
            _ => None,
        }
    }

    /// Resolves when an application's only stream was deleted and created again: its leases are of no use any more.
    pub(crate) async fn only_stream_replaced(&self, table: &str) -> WorkerError {
        let Self::Single(stream) = self else { return pending().await };
        stream.vanished().await;
        match (stream.identity.presence(), stream.identity.first()) {
            (Presence::Replaced(found), Some(noted)) => WorkerError::other_stream(table, &found, noted),
            _ => pending().await, // nothing else is the loss of an only stream
        }
    }

    /// The listed streams, once all of them are active.
    pub(crate) async fn wait_until_active(&self, events: &Events) -> Result<Vec<Arc<Stream>>, WorkerError> {
        let multi = match self {
            Self::Single(stream) => {
                stream.wait_until_active().await?;
                return Ok(vec![Arc::clone(stream)]);
            }
            Self::Multi(multi) => multi,
        };
        loop {
            let resolved = multi.resolve(events).await;
            if let Some((stream, error)) = resolved.failed.into_iter().next() {
                return Err(WorkerError::of_stream(&stream, error));
            }
            if multi.known().unknown.is_empty() {
                return Ok(resolved.streams);
            }
            sleep(RETRY).await;
        }
    }

    /// The streams that the application lists now. Each failure is an event.
    pub(crate) async fn listed(&self, events: &Events) -> Vec<Arc<Stream>> {
        match self {
            Self::Single(stream) => vec![Arc::clone(stream)],
            Self::Multi(multi) => multi.resolve(events).await.streams,
        }
    }
}

/// Streams that are listed and unlisted while the worker runs.
pub(crate) struct MultiCatalog {
    pub(crate) list: Streams,
    default_position: InitialPosition,
    /// `arn:<partition>:kinesis:<region>`, for streams that only leases name.
    arn_prefix: String,
    open: Open,
    /// Changed in a few lines at a time.
    state: Mutex<State>,
    /// Held while streams are described, so that each is described once. Not for tasks that need no description.
    describing: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    /// The listed streams by the names or ARNs that they were given by.
    listed: HashMap<String, ListedStream>,
    unlisted: HashMap<StreamId, Arc<Stream>>,
    /// The unlisted ones that are read, each reported once.
    reported: HashSet<StreamId>,
}

impl State {
    fn look_up<'a>(
        &self,
        id: &StreamId,
        listed: impl Iterator<Item = &'a ListedStream>,
    ) -> Lookup<Option<Arc<Stream>>> {
        let has_vanished = self.unlisted.get(id).is_some_and(|stream| !stream.is_present());
        let otherwise = if has_vanished { Lookup::Vanished } else { Lookup::Unlisted };
        look_up(id, listed.map(|one| (one.as_known(), one.stream.clone())), otherwise, now())
    }
}

#[derive(Clone)]
struct ListedStream {
    config: StreamConfig,
    kinesis: Arc<dyn Kinesis>,
    stream: Option<Arc<Stream>>,
    /// The service says that there is none of this name.
    gone: bool,
    /// Time of its last description, and how long that is good.
    described: Option<(Instant, Duration)>,
}

impl ListedStream {
    fn as_known(&self) -> Listed<'_> {
        let known = self.stream.as_ref().map(|stream| (&stream.id, stream.is_present()));
        Listed { given: &self.config.stream, known, gone: self.gone, described: self.described }
    }

    fn is_due(&self, max_age: Duration) -> bool {
        self.as_known().is_due(max_age, now())
    }
}

impl MultiCatalog {
    pub(crate) fn new(list: Streams, default_position: InitialPosition, region: &str, open: Open) -> Self {
        let partition = match region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let arn_prefix = format!("arn:{partition}:kinesis:{region}");
        let (state, describing) = (Mutex::default(), AsyncMutex::default());
        Self { list, default_position, arn_prefix, open, state, describing }
    }

    fn listed(&self) -> Vec<ListedStream> {
        let mut state = locked(&self.state);
        let mut known = mem::take(&mut state.listed);
        let listed = self.list.get().into_iter().map(|config| match known.remove(&config.stream) {
            Some(described) if described.config == config => described,
            _ => {
                let kinesis = (self.open)(&config.stream);
                ListedStream { config, kinesis, stream: None, gone: false, described: None }
            }
        });
        let listed: Vec<ListedStream> = listed.collect();
        state.listed = listed.iter().map(|one| (one.config.stream.clone(), one.clone())).collect();
        listed
    }

    /// Describes the listed streams, unless that was done a short time ago. Cancellation: safe, what is known stays known.
    pub(crate) async fn resolve(&self, events: &Events) -> Resolved {
        let failed = self.describe_all(events, |one| one.is_due(Duration::MAX)).await;
        let mut seen = HashSet::new();
        // In the order of the list, so that of two names for one stream always the same counts.
        let known = self.listed().into_iter().filter(|one| !one.gone).filter_map(|one| one.stream);
        let known = known.filter(|stream| stream.is_present());
        Resolved { streams: known.filter(|stream| seen.insert(stream.id.clone())).collect(), failed }
    }

    async fn describe_all(
        &self,
        events: &Events,
        which: impl Fn(&ListedStream) -> bool,
    ) -> Vec<(String, KinesisError)> {
        let _turn = self.describing.lock().await;
        let due: Vec<ListedStream> = self.listed().into_iter().filter(which).collect();
        let mut described = stream::iter(due).map(|one| self.describe(one)).buffered(CONCURRENT_DESCRIPTIONS);
        let mut failed = Vec::new();
        while let Some((one, error)) = described.next().await {
            let stream = one.config.stream.clone();
            locked(&self.state).listed.insert(stream.clone(), one);
            if let Some(error) = error {
                events.emit(Event::StreamUnavailable { stream: stream.clone(), error: chain(&error) });
                failed.push((stream, error));
            }
        }
        failed
    }

    /// Describes one stream. What is known of it stays known unless the service says otherwise.
    async fn describe(&self, mut one: ListedStream) -> (ListedStream, Option<KinesisError>) {
        let answer = match &one.stream {
            Some(stream) => stream.describe().await,
            None => one.kinesis.describe().await,
        };
        let mut life = RETRY;
        let error = match answer {
            Ok(found) if !found.active => None, // it is being created, or deleted
            Ok(found) => match StreamId::of_multi(&found.identity, one.config.creation_epoch) {
                Some(id) => {
                    life = DESCRIPTION_LIFE;
                    one.gone = false;
                    if one.stream.as_ref().is_none_or(|known| known.id != id) {
                        let identity = Identity::of(found.identity);
                        let stream = self.stream(id, &one.config, &one.kinesis);
                        one.stream = Some(Arc::new(Stream { identity, ..stream }));
                    }
                    None
                }
                None => {
                    let source = format!("the stream's ARN {:?} has no account and name", found.identity.arn);
                    Some(KinesisError::other(DESCRIBE, source))
                }
            },
            Err(error) => Some(error),
        };
        if let Some(error) = &error {
            one.gone |= error.kind == KinesisErrorKind::NotFound;
            if error.may_pass() {
                life = RETRY_SOON;
            }
        }
        one.described = Some((now(), life));
        (one, error)
    }

    fn stream(&self, id: StreamId, config: &StreamConfig, kinesis: &Arc<dyn Kinesis>) -> Stream {
        let stream = Stream::only(config, self.default_position, Arc::clone(kinesis));
        Stream { key_prefix: Some(id.clone()), id, ..stream }
    }

    /// Asks Kinesis only if it must: what is known already is found whatever state its control plane is in.
    async fn find(&self, id: &StreamId, events: &Events) -> Option<Arc<Stream>> {
        let look_up = || {
            let listed = self.listed();
            locked(&self.state).look_up(id, listed.iter())
        };
        let mut found = look_up();
        if let Lookup::Vanished | Lookup::Unsure = found {
            self.describe_all(events, |one| one.as_known().has_name_of(id) && one.is_due(RETRY)).await;
            found = look_up();
        }
        match found {
            Lookup::Known(stream) => stream,
            Lookup::Unlisted => {
                let stream = self.unlisted(id)?;
                if locked(&self.state).reported.insert(id.clone()) {
                    events.emit(Event::StreamNotListed { stream_id: id.clone() });
                }
                Some(stream)
            }
            Lookup::Vanished | Lookup::Unsure => None,
        }
    }

    /// Those of these streams that nobody can read any more, as far as is known without asking.
    fn vanished(&self, ids: BTreeSet<&StreamId>) -> HashSet<StreamId> {
        let listed = self.listed();
        let mut by_name: HashMap<String, Vec<&ListedStream>> = HashMap::new();
        for one in &listed {
            by_name.entry(StreamId::of_single(&one.config.stream).name().to_owned()).or_default().push(one);
        }
        let mut state = locked(&self.state);
        // Streams without leases need not be remembered.
        state.unlisted.retain(|id, _| ids.contains(id));
        state.reported.retain(|id| ids.contains(id));
        let has_vanished = |id: &&StreamId| {
            let named = by_name.get(id.name()).into_iter().flatten().copied();
            matches!(state.look_up(id, named), Lookup::Vanished)
        };
        ids.into_iter().filter(has_vanished).cloned().collect()
    }

    fn lists(&self, id: &StreamId) -> bool {
        self.listed().iter().any(|one| one.as_known().has_name_of(id))
    }

    /// The stream of leases, unless one of its name is listed.
    pub(crate) fn former_stream(&self, id: &StreamId) -> Option<Arc<Stream>> {
        if self.lists(id) { None } else { self.unlisted(id) }
    }

    fn unlisted(&self, id: &StreamId) -> Option<Arc<Stream>> {
        let account = id.account()?;
        let config = StreamConfig::new(format!("{}:{account}:stream/{}", self.arn_prefix, id.name()));
        let open = || Arc::new(self.stream(id.clone(), &config, &(self.open)(&config.stream)));
        Some(Arc::clone(locked(&self.state).unlisted.entry(id.clone()).or_insert_with(open)))
    }

    /// The ids and names of the listed streams, without a call.
    pub(crate) fn known(&self) -> ListedNames {
        let mut listed = ListedNames::default();
        for one in self.listed() {
            if one.stream.is_none() || one.gone {
                listed.unknown.insert(StreamId::of_single(&one.config.stream).name().to_owned());
            }
            listed.known.extend(one.stream.map(|stream| stream.id.clone()));
        }
        listed
    }
}
