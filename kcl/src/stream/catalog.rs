//! SHELL: the streams that this worker may read: those that the application lists, and those that leases tell of.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    future::pending,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use tokio::{sync::Mutex as AsyncMutex, time::sleep};

use super::{
    Stream,
    identity::{Identity, Standing},
    listing,
};
use crate::{
    error::{KinesisError, KinesisErrorKind, WorkerError},
    event::{Event, Events, chain},
    kinesis::Kinesis,
    logic::lineage::former_streams::Listed,
    model::{
        lease::Lease,
        policies::{FormerStreams, InitialPosition},
        stream_id::StreamId,
    },
    settings::streams::{StreamConfig, Streams},
    time::now,
};

/// Streams described at the same time. Kinesis answers 20 a second and account.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html>
const CONCURRENT_DESCRIPTIONS: usize = 5;
/// After this time a stream is described again: it may have been deleted and created anew.
/// Source: KCL's interval between looks at the list of streams.
pub(crate) const DESCRIPTION_LIFE: Duration = Duration::from_secs(60);
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

    /// Whether the application lists a stream of this name.
    pub(crate) fn lists(&self, id: &StreamId) -> bool {
        match self {
            Self::One(_) => true,
            Self::Several(several) => several.lists(id),
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

    /// Streams of these leases that nobody can read any more, as far as is known without asking.
    pub(crate) fn lost_streams(&self, leases: &[Lease]) -> HashSet<StreamId> {
        match self {
            Self::One(_) => HashSet::new(),
            Self::Several(several) => several.lost(leases.iter().filter_map(|lease| lease.stream.as_ref()).collect()),
        }
    }

    /// The stream of a lease, listed or not; None if it cannot be told yet, or does not exist any more, or the lease is of
    /// an application of another kind.
    pub(crate) async fn stream_of(&self, lease: &Lease, events: &Events) -> Option<Arc<Stream>> {
        match (self, &lease.stream) {
            (Self::One(stream), None) => Some(Arc::clone(stream)),
            (Self::Several(several), Some(id)) => several.find(id, events).await,
            _ => None,
        }
    }

    /// Resolves when an application's only stream was deleted and created again: its leases are of no use any more.
    pub(crate) async fn only_stream_replaced(&self, table: &str) -> WorkerError {
        let Self::One(stream) = self else { return pending().await };
        stream.lost().await;
        match (stream.identity.standing(), stream.identity.first()) {
            (Standing::Replaced(found), Some(noted)) => WorkerError::other_stream(table, &found, noted),
            _ => pending().await, // nothing else is the loss of an only stream
        }
    }

    /// The listed streams, once all of them are active.
    pub(crate) async fn wait_until_active(&self, events: &Events) -> Result<Vec<Arc<Stream>>, WorkerError> {
        let several = match self {
            Self::One(stream) => {
                listing::wait_until_active(stream).await?;
                return Ok(vec![Arc::clone(stream)]);
            }
            Self::Several(several) => several,
        };
        loop {
            let listing = several.resolve(events).await;
            if let Some((stream, error)) = listing.failed.into_iter().next() {
                return Err(WorkerError::of_stream(&stream, error));
            }
            if several.known().unknown.is_empty() {
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
    /// What is known; changed in a few lines at a time.
    state: Mutex<State>,
    /// Held while streams are described, so that each is described once. Whoever has no need of a description must not
    /// wait for it.
    describing: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    /// The listed streams by the names or ARNs that they were given by.
    listed: HashMap<String, Described>,
    unlisted: HashMap<StreamId, Arc<Stream>>,
    /// The unlisted ones that are read, each reported once.
    reported: HashSet<StreamId>,
}

/// What became of a listed stream when it was described last.
#[derive(Clone)]
struct Described {
    config: StreamConfig,
    kinesis: Arc<dyn Kinesis>,
    /// None until it was described once.
    stream: Option<Arc<Stream>>,
    /// The service says that there is none of this name.
    gone: bool,
    /// When it was described last, and how long that is good for.
    described: Option<(Instant, Duration)>,
}

impl Described {
    /// Whether it is to be described again; after `at_most` in any case.
    fn is_due(&self, at_most: Duration) -> bool {
        let at_most = if self.stream.as_ref().is_some_and(|stream| !stream.is_present()) { RETRY } else { at_most };
        self.described.is_none_or(|(at, life)| (now() - at) >= life.min(at_most))
    }

    fn is_fresh(&self) -> bool {
        self.described.is_some_and(|(at, _)| (now() - at) < DESCRIPTION_LIFE * 2)
    }

    /// Whether the stream of a lease may be listed by this name.
    fn has_name_of(&self, id: &StreamId) -> bool {
        match &self.stream {
            Some(stream) => (stream.id.account(), stream.id.name()) == (id.account(), id.name()),
            None => StreamId::of_one(&self.config.stream).name() == id.name(),
        }
    }

    /// What this says of a stream of its name.
    fn place(&self, id: &StreamId) -> Place {
        match &self.stream {
            Some(stream) if stream.id == *id && !self.gone && stream.is_present() => Place::Known(Arc::clone(stream)),
            Some(stream) if stream.id == *id => Place::Lost,
            // It was deleted and created again: its name leads to another stream now, unless we know the earlier one.
            Some(stream) if self.is_fresh() || id.creation_epoch() < stream.id.creation_epoch() => Place::Lost,
            None if self.gone && self.is_fresh() => Place::Lost,
            _ => Place::Unsure,
        }
    }
}

/// Where the stream of a lease is to be found.
enum Place {
    Known(Arc<Stream>),
    /// It does not exist any more; nobody can read it.
    Lost,
    /// The name is listed, and what it leads to must be found out.
    Unsure,
    /// Only leases tell of it.
    Unlisted,
}

impl State {
    /// Of several streams whose names fit the one that is known counts, then those that may be it.
    fn place<'a>(&self, id: &StreamId, named: impl Iterator<Item = &'a Described>) -> Place {
        let mut place = None;
        for one in named.filter(|one| one.has_name_of(id)) {
            place = match (one.place(id), place) {
                (Place::Known(stream), _) => return Place::Known(stream),
                (Place::Lost, Some(Place::Unsure)) => Some(Place::Unsure),
                (found, _) => Some(found),
            };
        }
        let lost = self.unlisted.get(id).is_some_and(|stream| !stream.is_present());
        place.unwrap_or(if lost { Place::Lost } else { Place::Unlisted })
    }
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
        let (state, describing) = (Mutex::default(), AsyncMutex::default());
        Self { list, default_position, arn_prefix, open, state, describing }
    }

    pub(crate) fn former(&self) -> &FormerStreams {
        self.list.former()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list as it is now, and what is known of it.
    fn listed(&self) -> Vec<Described> {
        let mut state = self.state();
        let mut known = mem::take(&mut state.listed);
        let listed = self.list.get().into_iter().map(|config| match known.remove(&config.stream) {
            Some(described) if described.config == config => described,
            _ => {
                let kinesis = (self.open)(&config.stream);
                Described { config, kinesis, stream: None, gone: false, described: None }
            }
        });
        let listed: Vec<Described> = listed.collect();
        state.listed = listed.iter().map(|one| (one.config.stream.clone(), one.clone())).collect();
        listed
    }

    /// Describes the listed streams, unless that was done a short time ago.
    ///
    /// Cancellation: safe, what was learned by then stays known.
    pub(crate) async fn resolve(&self, events: &Events) -> Listing {
        let failed = self.describe_all(events, |one| one.is_due(Duration::MAX)).await;
        let mut seen = HashSet::new();
        // In the order of the list, so that of two names for one stream always the same counts.
        let known = self.listed().into_iter().filter(|one| !one.gone).filter_map(|one| one.stream);
        let known = known.filter(|stream| stream.is_present());
        Listing { streams: known.filter(|stream| seen.insert(stream.id.clone())).collect(), failed }
    }

    async fn describe_all(&self, events: &Events, which: impl Fn(&Described) -> bool) -> Vec<(String, KinesisError)> {
        let _turn = self.describing.lock().await;
        let due: Vec<Described> = self.listed().into_iter().filter(which).collect();
        let mut described = stream::iter(due).map(|one| self.describe(one)).buffered(CONCURRENT_DESCRIPTIONS);
        let mut failed = Vec::new();
        while let Some((one, error)) = described.next().await {
            let stream = one.config.stream.clone();
            self.state().listed.insert(stream.clone(), one);
            if let Some(error) = error {
                events.emit(Event::StreamUnavailable { stream: stream.clone(), error: chain(&error) });
                failed.push((stream, error));
            }
        }
        failed
    }

    /// Describes one stream. What is known of it stays known unless the service says otherwise.
    async fn describe(&self, mut one: Described) -> (Described, Option<KinesisError>) {
        let answer = match &one.stream {
            Some(stream) => stream.describe().await,
            None => one.kinesis.describe().await,
        };
        let mut life = RETRY;
        let error = match answer {
            Ok(found) if !found.active => None, // it is being created, or deleted
            Ok(found) => match StreamId::of_several(&found.identity, one.config.creation_epoch) {
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
                None => Some(unusable(&found.identity.arn)),
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
        Stream::one_of_several(id, config, self.default_position, Arc::clone(kinesis))
    }

    /// Asks Kinesis only if it must: what is known already is found whatever state its control plane is in.
    async fn find(&self, id: &StreamId, events: &Events) -> Option<Arc<Stream>> {
        let place = || {
            let listed = self.listed();
            self.state().place(id, listed.iter())
        };
        let mut found = place();
        if matches!(found, Place::Lost | Place::Unsure) {
            self.describe_all(events, |one| one.has_name_of(id) && one.is_due(RETRY)).await;
            found = place();
        }
        match found {
            Place::Known(stream) => Some(stream),
            Place::Unlisted => {
                let stream = self.unlisted(id)?;
                if self.state().reported.insert(id.clone()) {
                    events.emit(Event::StreamNotListed { stream_id: id.clone() });
                }
                Some(stream)
            }
            Place::Lost | Place::Unsure => None,
        }
    }

    /// Those of these streams that nobody can read any more, as far as is known without asking.
    fn lost(&self, ids: BTreeSet<&StreamId>) -> HashSet<StreamId> {
        let listed = self.listed();
        let mut by_name: HashMap<String, Vec<&Described>> = HashMap::new();
        for one in &listed {
            by_name.entry(StreamId::of_one(&one.config.stream).name().to_owned()).or_default().push(one);
        }
        let mut state = self.state();
        // What no lease tells of any more need not be remembered.
        state.unlisted.retain(|id, _| ids.contains(id));
        state.reported.retain(|id| ids.contains(id));
        let is_lost = |id: &&StreamId| {
            let named = by_name.get(id.name()).into_iter().flatten().copied();
            matches!(state.place(id, named), Place::Lost)
        };
        ids.into_iter().filter(is_lost).cloned().collect()
    }

    fn lists(&self, id: &StreamId) -> bool {
        self.listed().iter().any(|one| one.has_name_of(id))
    }

    /// The stream of leases, unless one of its name is listed.
    pub(crate) fn former_stream(&self, id: &StreamId) -> Option<Arc<Stream>> {
        if self.lists(id) { None } else { self.unlisted(id) }
    }

    /// A stream that only leases tell of.
    fn unlisted(&self, id: &StreamId) -> Option<Arc<Stream>> {
        let account = id.account()?;
        let config = StreamConfig::new(format!("{}:{account}:stream/{}", self.arn_prefix, id.name()));
        let open = || Arc::new(self.stream(id.clone(), &config, &(self.open)(&config.stream)));
        Some(Arc::clone(self.state().unlisted.entry(id.clone()).or_insert_with(open)))
    }

    /// What is known of the list without asking anybody.
    pub(crate) fn known(&self) -> Listed {
        let mut listed = Listed::default();
        for one in self.listed() {
            if one.stream.is_none() || one.gone {
                listed.unknown.insert(StreamId::of_one(&one.config.stream).name().to_owned());
            }
            listed.known.extend(one.stream.map(|stream| stream.id.clone()));
        }
        listed
    }
}

fn unusable(arn: &str) -> KinesisError {
    let source = format!("the stream's ARN {arn:?} has no account and name").into();
    KinesisError { kind: KinesisErrorKind::Other, action: "kinesis:DescribeStreamSummary", source }
}
