//! Services that tell of each call.

use std::{fmt, sync::Arc};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use aws_types::SdkConfig;

/// The same services by the same client, whose calls are told by the operation's name before they are made.
///
/// # Panics
/// If the configuration has no client.
pub fn of_calls(aws: &SdkConfig, tell: impl Fn(&str) + Send + Sync + 'static) -> SdkConfig {
    let (client, tell) = (aws.http_client().expect("configuration has a client"), Arc::new(tell));
    let client = http_client_fn(move |settings: &HttpConnectorSettings, components: &RuntimeComponents| {
        let inner = client.http_connector(settings, components);
        SharedHttpConnector::new(Told { inner, tell: Arc::clone(&tell) })
    });
    aws.to_builder().http_client(client).build()
}

struct Told<F> {
    inner: SharedHttpConnector,
    tell: Arc<F>,
}

impl<F> fmt::Debug for Told<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

impl<F: Fn(&str) + Send + Sync> HttpConnector for Told<F> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        (self.tell)(operation.unwrap_or_default());
        self.inner.call(request)
    }
}
