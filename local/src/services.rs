//! The services behind one door: a request in, an answer out, faults in between. No HTTP here; see `connector.rs`,
//! `serve.rs`.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::debug;

use crate::access::Access;
use crate::clock::Clock;
use crate::dynamodb::{DynamoDb, Lags};
use crate::event_stream::{self, EventStream};
use crate::faults::{End, Faults, RefusalKind, Verdict};
use crate::kinesis::{Call, Delays, Error, Kinesis, Limits, Reply, Step};
use crate::refusal::Refusal;
use crate::subscription;
use crate::timestamp::Millis;

/// One of the services, as `X-Amz-Target` and policies name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Kinesis,
    DynamoDb,
    CloudWatch,
}

impl Service {
    const ALL: [Service; 3] = [Service::Kinesis, Service::DynamoDb, Service::CloudWatch];

    /// The prefix of its actions in policies.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Service::Kinesis => "kinesis",
            Service::DynamoDb => "dynamodb",
            Service::CloudWatch => "cloudwatch",
        }
    }

    pub(crate) fn of_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.prefix() == prefix)
    }

    fn content_type(self) -> &'static str {
        match self {
            Service::Kinesis => "application/x-amz-json-1.1",
            Service::DynamoDb => "application/x-amz-json-1.0",
            Service::CloudWatch => "application/cbor",
        }
    }
}

/// A request as it came over HTTP, of any transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The header `X-Amz-Target`, or nothing.
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The service and the operation, as in `Kinesis_20131202.PutRecords`.
    fn route(self) -> Option<(Service, &'a str)> {
        match self.target.split_once('.')? {
            ("Kinesis_20131202", operation) => Some((Service::Kinesis, operation)),
            ("DynamoDB_20120810", operation) => Some((Service::DynamoDb, operation)),
            _ => None,
        }
    }
}

/// What goes back to the client.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) request_id: String,
    pub(crate) body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Full(Vec<u8>),
    /// Events, or a body that breaks off.
    Events(EventStream),
}

impl Body {
    /// The first half, and then the connection breaks.
    fn truncated(self) -> Self {
        let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let chunks = match self {
            Body::Full(mut bytes) => {
                bytes.truncate(bytes.len() / 2);
                vec![Ok(bytes.into()), broken]
            }
            Body::Events(_) => vec![broken],
        };
        Body::Events(EventStream::new(futures::stream::iter(chunks)))
    }
}

/// The client gets no answer: the connection is to be closed.
#[derive(Debug, thiserror::Error)]
#[error("connection closed before an answer")]
pub(crate) struct Dropped;

/// What the services are started with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) delays: Delays,
    pub(crate) limits: Limits,
    pub(crate) lags: Lags,
    /// Actions that are denied from the start.
    pub(crate) denied: BTreeSet<String>,
}

/// The state of the services.
#[derive(Debug)]
pub(crate) struct Services {
    clock: Clock,
    // Protects all streams for the length of one step of the core; JSON is read and written outside.
    kinesis: Mutex<Kinesis>,
    dynamodb: DynamoDb,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
    requests: AtomicU64,
}

impl Services {
    pub(crate) fn new(clock: Clock, settings: Settings) -> Self {
        let Settings { delays, limits, lags, denied } = settings;
        Self {
            clock,
            kinesis: Mutex::new(Kinesis::new(delays, limits)),
            dynamodb: DynamoDb::new(clock, lags),
            access: Access::new(denied),
            faults: Faults::default(),
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Performs the operation that the request names, and what the faults make of it.
    ///
    /// # Errors
    /// When a fault drops the connection.
    ///
    /// # Cancellation
    /// The call takes effect in one step between two delays, or not at all.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request<'_>) -> Result<Answer, Dropped> {
        let Some((service, operation)) = request.route() else {
            return Ok(self.refuse(Service::Kinesis, Error::unknown_operation().into()));
        };
        let verdict = self.faults.decide(service, operation);
        let refusal = |kind: &RefusalKind| kind.refusal(service, operation, request.body);
        pause(verdict.delay_before).await;
        let mut result = match &verdict.before {
            None => self.perform(service, operation, request.body, &verdict),
            Some(End::Refusal(kind)) => Err(refusal(kind)),
            Some(End::Drop | End::Truncate) => return Err(Dropped),
        };
        pause(verdict.delay_after).await;
        match &verdict.after {
            None | Some(End::Truncate) => {}
            Some(End::Refusal(kind)) => result = Err(refusal(kind)),
            Some(End::Drop) => return Err(Dropped),
        }
        let mut answer = match result {
            Ok(Reply::Body(body)) => self.reply(service.content_type(), Body::Full(body)),
            Ok(Reply::Events(subscription)) => {
                let events = subscription::events(Arc::clone(self), *subscription, verdict.cut_events_after);
                self.reply(event_stream::CONTENT_TYPE, Body::Events(events))
            }
            Err(refusal) => {
                debug!(operation, body = %String::from_utf8_lossy(&refusal.body), "request refused");
                self.refuse(service, refusal)
            }
        };
        if matches!(verdict.after, Some(End::Truncate)) {
            answer.body = answer.body.truncated();
        }
        Ok(answer)
    }

    fn reply(&self, content_type: &'static str, body: Body) -> Answer {
        // Unique is all a request id must be; counting keeps runs alike.
        let request_id = format!("{:032x}", self.requests.fetch_add(1, Ordering::Relaxed));
        Answer { status: 200, content_type, request_id, body }
    }

    fn refuse(&self, service: Service, refusal: Refusal) -> Answer {
        let answer = self.reply(service.content_type(), Body::Full(refusal.body));
        Answer { status: refusal.status, ..answer }
    }

    fn perform(&self, service: Service, operation: &str, body: &[u8], verdict: &Verdict) -> Result<Reply, Refusal> {
        if let Some(message) = self.access.refusal(service, operation, body) {
            return Err(Error::access_denied(message).into());
        }
        match service {
            Service::Kinesis => {
                let record_faults = verdict.records;
                Ok(Call { operation, body, record_faults }.perform(self)?)
            }
            Service::DynamoDb => self.dynamodb.perform(operation, body, self.clock.now()).map(Reply::Body),
            Service::CloudWatch => Err(Error::unknown_operation().into()),
        }
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

impl Step for &Services {
    fn run<A>(self, step: impl FnOnce(&mut Kinesis, Millis) -> A) -> A {
        let mut kinesis = self.kinesis.lock().expect("no step of the core panics");
        // Read under the lock, so that time never goes back from one step to the next.
        step(&mut kinesis, self.clock.now())
    }
}
