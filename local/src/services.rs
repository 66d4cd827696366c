//! The services behind one entrance: a request in, an answer out, faults in between. No HTTP here; see `connector.rs`,
//! `serve.rs`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::HeaderValue;
use tracing::debug;

use crate::access::Access;
use crate::clock::{Clock, ServiceClock};
use crate::cloudwatch::{self, CloudWatch};
use crate::dynamodb::engine::{EngineKind, Limited};
use crate::dynamodb::{self, DynamoDb, Lags};
use crate::event_stream::{self, EventStream};
use crate::faults::{End, Faults, RecordFaults, RefusalKind};
use crate::kinesis::{self, Call, Delays, Error, Kinesis, Limits, Reply, Step};
use crate::query;
use crate::refusal::Refusal;
use crate::signature;
use crate::subscription::{self, Framing};
use crate::timestamp::Millis;
use crate::wire::Format;

/// Maximum size of a request's body. The maximum of the services is PutRecords': 10 MiB in base64, and JSON.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// One of the services, as `X-Amz-Target` and policies name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Kinesis,
    DynamoDb,
    CloudWatch,
}

impl Service {
    pub(crate) const ALL: [Service; 3] = [Service::Kinesis, Service::DynamoDb, Service::CloudWatch];

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

    /// The operations that are answered.
    pub(crate) fn operations(self) -> &'static [&'static str] {
        match self {
            Service::Kinesis => &kinesis::OPERATIONS,
            Service::DynamoDb => &dynamodb::OPERATIONS,
            Service::CloudWatch => &cloudwatch::OPERATIONS,
        }
    }

    /// The content type of its answers.
    pub(crate) fn content_type(self, format: Format) -> &'static str {
        match (self, format) {
            (Service::Kinesis, Format::Cbor) => "application/x-amz-cbor-1.1",
            (Service::Kinesis, _) => "application/x-amz-json-1.1",
            (Service::CloudWatch, Format::Cbor) => "application/cbor",
            (Service::CloudWatch, Format::Query) => "text/xml",
            (Service::DynamoDb, _) | (Service::CloudWatch, Format::Json) => "application/x-amz-json-1.0",
        }
    }
}

/// A request as it came over HTTP, of any transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The path of the URL, which names the operation in RPC v2.
    pub(crate) path: &'a str,
    /// The header `X-Amz-Target`, or nothing.
    pub(crate) target: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) content_encoding: &'a str,
    /// The header `X-Amz-Date`: when the request was signed, or nothing.
    pub(crate) signed_at: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The service and the operation, as in the target `Kinesis_20131202.PutRecords`.
    fn route(self) -> Option<(Service, &'a str)> {
        if let Some(operation) = self.path.strip_prefix("/service/GraniteServiceVersion20100801/operation/") {
            return Some((Service::CloudWatch, operation));
        }
        if self.target.is_empty() && Format::of(self.content_type) == Format::Query {
            // Only PutMetricData comes compressed.
            let operation = if self.is_gzip() { Some("PutMetricData") } else { query::action(self.body) };
            return Some((Service::CloudWatch, operation?));
        }
        match self.target.split_once('.')? {
            ("Kinesis_20131202", operation) => Some((Service::Kinesis, operation)),
            ("DynamoDB_20120810", operation) => Some((Service::DynamoDb, operation)),
            ("GraniteServiceVersion20100801", operation) => Some((Service::CloudWatch, operation)),
            _ => None,
        }
    }

    fn format(self, service: Service) -> Format {
        match service {
            Service::DynamoDb => Format::Json,
            Service::CloudWatch => Format::of(self.content_type),
            Service::Kinesis => match Format::of(self.content_type) {
                Format::Cbor => Format::Cbor,
                _ => Format::Json,
            },
        }
    }

    pub(crate) fn is_gzip(self) -> bool {
        self.content_encoding == "gzip"
    }
}

/// An answer to the client.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(&'static str, HeaderValue)>,
    pub(crate) body: Body,
}

impl Answer {
    /// As a response, with the body in the form of the transport.
    pub(crate) fn into_response<B>(self, body: impl FnOnce(Body) -> B) -> http::Response<B> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(body(self.body)).expect("the statuses are valid, by FaultRule, and so are the header names")
    }
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
        let half = match self {
            Body::Full(mut bytes) => {
                bytes.truncate(bytes.len() / 2);
                bytes.into()
            }
            Body::Events(_) => Bytes::new(),
        };
        let half = futures::stream::once(async move { Ok(half) });
        Body::Events(EventStream::new(half.chain(event_stream::broken())))
    }
}

/// A call without an answer: the connection must be closed.
#[derive(Debug, thiserror::Error)]
#[error("connection closed before an answer")]
pub(crate) struct Dropped;

/// Settings of the services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) delays: Delays,
    pub(crate) limits: Limits,
    pub(crate) lags: Lags,
    /// Engine that keeps the tables of DynamoDB.
    pub(crate) engine: EngineKind,
    /// Limits of DynamoDB's partitions.
    pub(crate) tables: Limited,
    /// Actions that are denied from the start.
    pub(crate) denied: BTreeSet<String>,
}

/// The state of the services.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) clock: ServiceClock,
    // Protects all streams for the length of one step of the core; bodies are read and written outside.
    kinesis: Mutex<Kinesis>,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) cloudwatch: CloudWatch,
    pub(crate) access: Access,
    pub(crate) faults: Faults,
    requests: AtomicU64,
}

impl Services {
    pub(crate) fn new(clock: Clock, settings: Settings) -> Self {
        let Settings { delays, limits, lags, engine, tables, denied } = settings;
        let clock = ServiceClock::start(clock);
        Self {
            dynamodb: DynamoDb::new(&clock, lags, (engine, tables)),
            clock,
            kinesis: Mutex::new(Kinesis::new(delays, limits)),
            cloudwatch: CloudWatch::default(),
            access: Access::new(denied),
            faults: Faults::default(),
            requests: AtomicU64::new(0),
        }
    }

    /// Sets how far the services' clock is ahead of the process'. What is done by then stays done.
    pub(crate) fn set_skew_millis(&self, millis: i64) {
        self.run(|kinesis, now| {
            kinesis.settle(now);
            self.clock.set_skew_millis(millis);
        });
    }

    /// Creates a stream, whatever is denied or limited.
    pub(crate) fn create_stream(&self, name: &str, shards: u32) -> Result<(), Error> {
        self.run(|kinesis, now| kinesis.create(name, shards, now))
    }

    /// Performs the operation that the request names, with the faults that apply to it.
    ///
    /// # Errors
    /// A fault drops the connection.
    ///
    /// # Cancellation
    /// The call takes effect in one step between two delays, or not at all.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request<'_>) -> Result<Answer, Dropped> {
        let Some((service, operation)) = request.route() else {
            return Ok(
                self.refuse((Service::Kinesis, Format::of(request.content_type)), Error::unknown_operation().into())
            );
        };
        let format = request.format(service);
        if request.body.len() > MAX_BODY_BYTES {
            return Ok(self.refuse((service, format), too_large()));
        }
        let verdict = self.faults.decide(service, operation, request.body.len());
        let refusal = |kind: &RefusalKind| kind.refusal(service, operation, request.body);
        pause(verdict.delay_before).await;
        let mut result = match &verdict.before {
            None => self.perform((service, operation), request, verdict.records),
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
            Ok(Reply::Body(body)) => self.reply((service, format), service.content_type(format), Body::Full(body)),
            Ok(Reply::Events(subscription)) => {
                let framing = Framing { format, cut_after: verdict.cut_events_after };
                let events = subscription::events(Arc::clone(self), *subscription, framing);
                self.reply((service, format), event_stream::CONTENT_TYPE, Body::Events(events))
            }
            Err(refusal) => {
                debug!(operation, body = %String::from_utf8_lossy(&refusal.body), "request refused");
                self.refuse((service, format), refusal)
            }
        };
        if matches!(verdict.after, Some(End::Truncate)) {
            answer.body = answer.body.truncated();
        }
        Ok(answer)
    }

    /// The answer to a request whose body was not even read, because it is too large.
    #[cfg(feature = "serve")]
    pub(crate) fn refuse_too_large(&self, request: Request<'_>) -> Answer {
        let service = request.route().map_or(Service::Kinesis, |(service, _)| service);
        self.refuse((service, request.format(service)), too_large())
    }

    fn reply(&self, (service, format): (Service, Format), content_type: &'static str, body: Body) -> Answer {
        // Unique is all a request id must be; counting keeps runs alike.
        let request_id = format!("{:032x}", self.requests.fetch_add(1, Ordering::Relaxed));
        let mut headers = vec![
            ("content-type", HeaderValue::from_static(content_type)),
            ("x-amzn-requestid", text(request_id)),
            ("date", text(self.clock.now().as_http_date())),
        ];
        if service == Service::CloudWatch && format == Format::Cbor {
            headers.push(("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor")));
        }
        if let (Service::DynamoDb, Body::Full(bytes)) = (service, &body) {
            headers.push(("x-amz-crc32", crc32fast::hash(bytes).into()));
        }
        Answer { status: 200, headers, body }
    }

    fn refuse(&self, (service, format): (Service, Format), refusal: Refusal) -> Answer {
        if refusal.is_bare {
            let headers = vec![("date", text(self.clock.now().as_http_date()))];
            return Answer { status: refusal.status, headers, body: Body::Full(refusal.body) };
        }
        let body = Body::Full(format.transcode(refusal.body));
        let answer = self.reply((service, format), service.content_type(format), body);
        Answer { status: refusal.status, ..answer }
    }

    fn perform(
        &self,
        (service, operation): (Service, &str),
        request: Request<'_>,
        record_faults: Option<RecordFaults>,
    ) -> Result<Reply, Refusal> {
        let (format, body) = (request.format(service), request.body);
        signature::require_current(service, request.signed_at, self.clock.now())?;
        if let Some(message) = self.access.refusal(service, operation, format, body) {
            return Err(Error::access_denied(message).into());
        }
        match service {
            Service::Kinesis => Ok(Call { operation, format, body, record_faults }.perform(self)?),
            Service::DynamoDb => {
                self.dynamodb.perform((operation, body), record_faults, self.clock.now()).map(Reply::Body)
            }
            Service::CloudWatch => {
                let now = self.clock.now().into();
                self.cloudwatch.perform(operation, request, format, now).map(Reply::Body)
            }
        }
    }
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).expect("digits and dates are ASCII")
}

fn too_large() -> Refusal {
    let message = format!("the body is larger than {MAX_BODY_BYTES} bytes");
    Refusal::new(413, "RequestEntityTooLargeException", &message)
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

impl Step for &Services {
    fn run<A>(self, step: impl FnOnce(&mut Kinesis, Millis) -> A) -> A {
        let mut kinesis = self.kinesis.lock().expect("no step of the core panics");
        // Read under the lock, so that time goes back from one step to the next only when the skew is changed.
        step(&mut kinesis, self.clock.now())
    }
}
