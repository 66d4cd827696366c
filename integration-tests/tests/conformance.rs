//! The conformance suite against the embedded services, and against another emulator in process.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use ferrokinesis::store::StoreOptions;
use futures::SinkExt;
use futures::channel::mpsc;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use integration_tests::conformance::{self, Divergences, Peer};
use kinesis_local::LocalAws;
use tokio::sync::Mutex;
use tower::Service;

/// An embedded AWS of a check's own.
async fn ours() -> Peer {
    let config = LocalAws::start().await.sdk_config();
    let limited = LocalAws::builder().enforce_limits().start().await.sdk_config();
    Peer::new(&config).with_limits(&limited).with_dynamodb(&config).with_virtual_time()
}

#[tokio::test(start_paused = true)]
async fn the_embedded_services_pass_every_check() {
    let checks = conformance::checks();

    let report = conformance::run(&checks, ours, 1, &Divergences::default()).await;

    println!("{report}");
    assert!(report.is_clean(), "see FAILED, VANISHED and UNKNOWN above");
    assert_eq!(report.passed(), checks.len());
}

/// The embedded services with the other DynamoDB that can stand behind them.
#[tokio::test(start_paused = true)]
async fn dynoxide_diverges_from_dynamodb_as_listed() {
    let by_dynoxide = async || {
        let config = LocalAws::builder().dynamodb_by_dynoxide().start().await.sdk_config();
        Peer::new(&config).with_dynamodb(&config)
    };
    let checks: Vec<_> =
        conformance::checks().into_iter().filter(|check| check.needs == conformance::Needs::DynamoDb).collect();

    let divergences = Divergences::parse(include_str!("../conformance/divergences/dynoxide-3.2.0.txt")).unwrap();
    let report = conformance::run(&checks, by_dynoxide, 1, &divergences).await;

    println!("{report}");
    assert!(report.is_clean(), "see FAILED, VANISHED and UNKNOWN above");
}

/// Calls a router in process, as if it were the network. One call at a time: ferrokinesis holds locks that block the
/// thread while it waits for others.
#[derive(Clone, Debug)]
struct InProcess(Arc<Mutex<axum::Router>>);

impl InProcess {
    fn http_client(router: axum::Router) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Self(Arc::new(Mutex::new(router))));
        http_client_fn(move |_settings, _components| connector.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let router = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let mut router = router.lock().await;
            let answer = router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
            let answer = answer.map(|body| SdkBody::from_body_1_x(shareable(body)));
            HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The same body, that threads can share as the SDK asks for. Its frames pass one by one.
fn shareable(mut body: Body) -> StreamBody<mpsc::Receiver<Result<Frame<Bytes>, axum::Error>>> {
    let (mut sender, receiver) = mpsc::channel(0);
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            if sender.send(frame).await.is_err() {
                return; // caller stopped reading
            }
        }
    });
    StreamBody::new(receiver)
}

/// Clients for a ferrokinesis of their own. Its limits are for writing only.
fn ferrokinesis(enforce_limits: bool) -> SdkConfig {
    let options = StoreOptions {
        create_stream_ms: 0,
        delete_stream_ms: 0,
        update_stream_ms: 0,
        shard_limit: 10_000,
        enforce_limits,
        ..StoreOptions::default()
    };
    let (router, _store) = ferrokinesis::create_app(options);
    // Else requests above 2 MB are refused by the router.
    let http_client = InProcess::http_client(router.layer(DefaultBodyLimit::max(64 << 20)));
    conformance::config("http://in-process", http_client)
}

/// In real time: its clock is the machine's.
#[tokio::test]
async fn ferrokinesis_diverges_as_listed() {
    let peer = Peer::new(&ferrokinesis(false)).with_limits(&ferrokinesis(true));
    let divergences = Divergences::parse(include_str!("../conformance/divergences/ferrokinesis-0.7.0.txt")).unwrap();

    let report = conformance::run(&conformance::checks(), async || peer.clone(), 32, &divergences).await;

    println!("{report}");
    assert!(report.is_clean(), "see FAILED, VANISHED and UNKNOWN above");
}

#[test]
fn every_check_has_a_name_of_its_own_and_a_source() {
    let checks = conformance::checks();

    let names: BTreeSet<_> = checks.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), checks.len());
    assert!(checks.len() >= 80, "{} checks", checks.len());
    let has_source =
        |source: &str| source.starts_with("https://docs.aws.amazon.com/") || source.starts_with("observed");
    assert!(checks.iter().all(|check| has_source(check.source)));
}
