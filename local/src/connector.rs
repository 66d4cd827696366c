//! The services as an HTTP client of the AWS SDK: no sockets, no HTTP parsing, no waiting except for a slow link.
//!
//! Read timeouts hold as over a network, by tokio's clock. Connecting takes no time, so connect timeouts never strike.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use futures::FutureExt;
use http_body_util::{BodyExt, StreamBody};

use crate::link::Link;
use crate::services::{Body, Dropped, Request, Services};

/// An HTTP client for any number of SDK clients, on one link.
pub(crate) fn http_client(services: Arc<Services>, link: Link) -> SharedHttpClient {
    http_client_fn(move |settings, _components| {
        let (services, link, read_timeout) = (Arc::clone(&services), link.clone(), settings.read_timeout());
        SharedHttpConnector::new(Connector { services, link, read_timeout })
    })
}

#[derive(Debug)]
struct Connector {
    services: Arc<Services>,
    link: Link,
    read_timeout: Option<Duration>,
}

/// No answer began within the read timeout of the client.
#[derive(Debug, thiserror::Error)]
#[error("HTTP read timeout occurred after {0:?}")]
struct ReadTimeout(Duration);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = exchange(Arc::clone(&self.services), self.link.clone(), request);
        HttpConnectorFuture::new(match self.read_timeout {
            None => call.left_future(),
            Some(timeout) => {
                let late = move |_| Err(ConnectorError::timeout(ReadTimeout(timeout).into()));
                tokio::time::timeout(timeout, call).map(move |result| result.unwrap_or_else(late)).right_future()
            }
        })
    }
}

async fn exchange(
    services: Arc<Services>,
    link: Link,
    mut request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    // A call over a network never completes at once; without this, a polling loop would starve its thread.
    tokio::task::yield_now().await;
    // To its end, even when it is in memory: only then does the SDK know that nothing is left to be sent.
    let body = request.take_body().collect().await.map_err(ConnectorError::io)?.to_bytes();
    link.send(body.len()).await;
    let uri: http::Uri = request.uri().parse().unwrap_or_default();
    let header = |name| request.headers().get(name).unwrap_or_default();
    let answer = services
        .answer(Request {
            path: uri.path(),
            target: header("x-amz-target"),
            content_type: header("content-type"),
            content_encoding: header("content-encoding"),
            signed_at: header("x-amz-date"),
            body: &body,
        })
        .await;
    // As over a network, where this is not taken for an I/O error: the call may be tried again.
    let dropped = |dropped: Dropped| ConnectorError::other(dropped.into(), Some(ErrorKind::TransientError));
    let response = answer.map_err(dropped)?.into_response(|body| match body {
        Body::Full(bytes) => link.receive(bytes),
        Body::Events(events) => SdkBody::from_body_1_x(StreamBody::new(link.receive_events(events))),
    });
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
