//! HTTP for `object_store` by the crates that the AWS SDK uses, so that no second client is built.

use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as Tcp},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService,
    },
};
use rustls::crypto::ring;
use tokio::time::timeout;

/// Time for a request until its answer begins, without that for its body; and for each next part of the answer. Then it fails:
/// `object_store` tries again only what may be repeated, which a create is not.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a request's body for which there is a second more, so that a slow line gets it through.
const BYTES_IN_SECOND: usize = 256 * 1024;

/// Makes clients. Their options are left aside, but for those that `object_store` heeds itself.
#[derive(Debug)]
pub(super) struct Https;

#[derive(Debug)]
struct Service(Client<HttpsConnector<Tcp>, HttpRequestBody>);

impl HttpConnector for Https {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let roots = HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider());
        let roots = roots.map_err(|error| object_store::Error::Generic { store: "S3", source: error.into() })?;
        let connector = roots.https_or_http().enable_http1().build();
        Ok(HttpClient::new(Service(Client::builder(TokioExecutor::new()).build(connector))))
    }
}

impl Service {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let time = time_for(request.body().content_length());
        let answer = within(time, self.0.request(request)).await?.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            HttpError::new(kind, error)
        })?;
        let (parts, mut body) = answer.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = within(ANSWERED_WITHIN, body.frame()).await? {
            let frame = frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(HttpResponse::from_parts(parts, bytes.freeze().into()))
    }
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.answer(request).await
    }
}

/// Time for a request with a body of this length, until its answer begins.
fn time_for(bytes: usize) -> Duration {
    let seconds = u32::try_from(bytes / BYTES_IN_SECOND).unwrap_or(u32::MAX);
    ANSWERED_WITHIN + Duration::from_secs(seconds.into())
}

async fn within<T>(time: Duration, part: impl Future<Output = T>) -> Result<T, HttpError> {
    timeout(time, part).await.map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_body_has_more_time() {
        assert_eq!(time_for(1_000), Duration::from_secs(60));
        assert_eq!(time_for(64 * 1024 * 1024), Duration::from_secs(60 + 256));
    }
}
