//! Both services behind one door: a target and a body in, an answer out. No HTTP here; see `connector.rs`, `serve.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::debug;

use crate::access::Access;
use crate::clock::Clock;
use crate::dynamodb::DynamoDb;
use crate::event_stream::{self, EventStream};
use crate::kinesis::{Call, Delays, Error, Kinesis, Reply, Step};
use crate::subscription;
use crate::timestamp::Millis;

/// One of the two services, as `X-Amz-Target` and policies name them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    Kinesis,
    DynamoDb,
}

impl Service {
    /// Reads `Kinesis_20131202.PutRecords`.
    fn split_target(target: &str) -> Option<(Service, &str)> {
        match target.split_once('.')? {
            ("Kinesis_20131202", operation) => Some((Service::Kinesis, operation)),
            ("DynamoDB_20120810", operation) => Some((Service::DynamoDb, operation)),
            _ => None,
        }
    }

    /// The prefix of its actions in policies.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Service::Kinesis => "kinesis",
            Service::DynamoDb => "dynamodb",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Service::Kinesis => "application/x-amz-json-1.1",
            Service::DynamoDb => "application/x-amz-json-1.0",
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
    Events(EventStream),
}

/// The state of both services.
#[derive(Debug)]
pub(crate) struct Services {
    clock: Clock,
    // Protects all streams for the length of one step of the core; JSON is read and written outside.
    kinesis: Mutex<Kinesis>,
    dynamodb: DynamoDb,
    pub(crate) access: Access,
    requests: AtomicU64,
}

impl Services {
    pub(crate) fn new(clock: Clock, delays: Delays, access: Access) -> Self {
        Self {
            clock,
            kinesis: Mutex::new(Kinesis::new(delays)),
            dynamodb: DynamoDb::new(clock),
            access,
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Performs the operation that `target` names.
    pub(crate) fn answer(self: &Arc<Self>, target: &str, body: &[u8]) -> Answer {
        let (service, result) = match Service::split_target(target) {
            Some((service, operation)) => (service, self.perform(service, operation, body)),
            None => (Service::Kinesis, Err((400, Error::unknown_operation().to_json()))),
        };
        // Unique is all a request id must be; counting keeps runs alike.
        let request_id = format!("{:032x}", self.requests.fetch_add(1, Ordering::Relaxed));
        let (status, content_type, body) = match result {
            Ok(Reply::Body(body)) => (200, service.content_type(), Body::Full(body)),
            Ok(Reply::Events(subscription)) => {
                let events = subscription::events(Arc::clone(self), *subscription);
                (200, event_stream::CONTENT_TYPE, Body::Events(events))
            }
            Err((status, body)) => {
                debug!(target, status, body = %String::from_utf8_lossy(&body), "request refused");
                (status, service.content_type(), Body::Full(body))
            }
        };
        Answer { status, content_type, request_id, body }
    }

    fn perform(&self, service: Service, operation: &str, body: &[u8]) -> Result<Reply, (u16, Vec<u8>)> {
        if let Some(message) = self.access.refusal(service, operation, body) {
            return Err((400, Error::access_denied(message).to_json()));
        }
        match service {
            Service::Kinesis => Call { operation, body }.perform(self).map_err(|error| (400, error.to_json())),
            Service::DynamoDb => self
                .dynamodb
                .perform(operation, body, self.clock.now())
                .map(Reply::Body)
                .map_err(|refused| (refused.status, refused.body)),
        }
    }
}

impl Step for &Services {
    fn run<A>(self, step: impl FnOnce(&mut Kinesis, Millis) -> A) -> A {
        let mut kinesis = self.kinesis.lock().expect("no step of the core panics");
        // Read under the lock, so that time never goes back from one step to the next.
        step(&mut kinesis, self.clock.now())
    }
}
