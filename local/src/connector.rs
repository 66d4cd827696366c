//! The services as an HTTP client of the AWS SDK: no sockets, no HTTP parsing, no waiting.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};

use crate::services::{Body, Dropped, Request, Services};

/// An HTTP client for any number of SDK clients.
pub(crate) fn http_client(services: Arc<Services>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector { services });
    http_client_fn(move |_settings, _components| connector.clone())
}

#[derive(Debug)]
struct Connector {
    services: Arc<Services>,
}

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let services = Arc::clone(&self.services);
        HttpConnectorFuture::new(async move {
            // A call over a network never completes at once; without this, a polling loop would starve its thread.
            tokio::task::yield_now().await;
            let body = request.take_body();
            let collected;
            let bytes = match body.bytes() {
                Some(bytes) => bytes,
                None => {
                    collected = collect(body).await?;
                    &collected
                }
            };
            let uri: http::Uri = request.uri().parse().unwrap_or_default();
            let header = |name| request.headers().get(name).unwrap_or_default();
            let answer = services
                .answer(Request {
                    path: uri.path(),
                    target: header("x-amz-target"),
                    content_type: header("content-type"),
                    content_encoding: header("content-encoding"),
                    body: bytes,
                })
                .await;
            // As over a network, where this is not taken for an I/O error: the call may be tried again.
            let dropped = |dropped: Dropped| ConnectorError::other(dropped.into(), Some(ErrorKind::TransientError));
            let answer = answer.map_err(dropped)?;
            let mut response = http::Response::builder();
            if answer.is_rpc {
                response = response.header("smithy-protocol", "rpc-v2-cbor");
            }
            let response = response
                .status(answer.status)
                .header("content-type", answer.content_type)
                .header("x-amzn-requestid", answer.request_id)
                .body(match answer.body {
                    Body::Full(bytes) => SdkBody::from(bytes),
                    Body::Events(events) => SdkBody::from_body_1_x(StreamBody::new(events)),
                })
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The whole of a body that is not in memory.
async fn collect(body: SdkBody) -> Result<Bytes, ConnectorError> {
    let collected = body.collect().await.map_err(ConnectorError::io)?;
    Ok(collected.to_bytes())
}
