//! A worker, the leader too, that is cut off for minutes, and whose calls arrive when it is too late.

use std::{collections::BTreeSet, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use integration_tests::{APPLICATION, Journal, TestStream, eventually};
use kcl::FleetStatus;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

const LEASE_DURATION: Duration = Duration::from_secs(10);

/// Lets calls through while it is open. Calls made while it is closed wait, and take place when it opens, whether or not
/// their callers still wait.
#[derive(Debug, Clone)]
struct Gated {
    inner: SharedHttpConnector,
    open: watch::Receiver<bool>,
}

impl HttpConnector for Gated {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { inner, mut open } = self.clone();
        let call = tokio::spawn(async move {
            let _ = open.wait_for(|open| *open).await; // the test is over
            let answer = inner.call(request).await;
            let _ = open.wait_for(|open| *open).await; // the test is over
            answer
        });
        HttpConnectorFuture::new(async move { call.await.map_err(|error| ConnectorError::other(error.into(), None))? })
    }
}

/// The same stream, behind a gate.
fn gated(stream: &TestStream) -> (TestStream, watch::Sender<bool>) {
    let (gate, open) = watch::channel(true);
    let inner = stream.aws.http_client().expect("the embedded AWS is an HTTP client");
    let client = http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Gated { inner: inner.http_connector(settings, components), open: open.clone() })
    });
    let aws = stream.aws.to_builder().http_client(client).build();
    (TestStream { aws, ..stream.clone() }, gate)
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_for_five_minutes_is_replaced_and_comes_back_as_one_of_many() {
    let (stream, journal) = (TestStream::start(6).await, Journal::default());
    let (behind_gate, gate) = gated(&stream);
    let leader = behind_gate.run("w1", &journal);
    sleep(Duration::from_secs(3)).await;
    let others = ["w2", "w3"].map(|id| stream.run(id, &journal));
    let putting = tokio::spawn({
        let stream = stream.clone();
        async move {
            for round in 0..800 {
                stream.put(round * 10..(round + 1) * 10).await;
                sleep(Duration::from_millis(500)).await;
            }
        }
    });
    sleep(Duration::from_secs(30)).await;
    let status = FleetStatus::read(&stream.aws, APPLICATION).await.unwrap();
    assert_eq!(status.leader, Some("w1".into()));
    assert_eq!(journal.shards_by_worker()["w1"].len(), 6, "it began alone");

    gate.send(false).unwrap();
    let closed = Instant::now();
    sleep(Duration::from_secs(300)).await;
    gate.send(true).unwrap();
    let reopened = Instant::now();
    putting.await.unwrap();
    journal.processed(8_000).await;

    // What it had already read it may have processed until its leases had expired by its own clock, and not longer.
    let entries = journal.entries();
    let late = entries.iter().filter(|entry| {
        entry.worker == "w1" && !entry.keys.is_empty() && entry.at > closed + LEASE_DURATION && entry.at < reopened
    });
    assert_eq!(late.count(), 0);
    let by_others = |at: Instant| {
        let in_time = entries.iter().filter(|entry| entry.worker != "w1" && entry.at > closed && entry.at < at);
        in_time.filter(|entry| !entry.keys.is_empty()).map(|entry| entry.shard_id.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(by_others(closed + LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1)).len(), 6);
    let back = || journal.entries().iter().any(|entry| entry.worker == "w1" && entry.at > reopened);
    eventually("the former leader has shards again", back).await;
    // At least once, and not again and again: a late write of the old leader has undone nothing.
    assert_eq!(journal.distinct(), 8_000);
    let twice = journal.ids().len() - 8_000;
    assert!(twice < 300, "{twice} records were processed twice");

    leader.stop().await.unwrap();
    for worker in others {
        worker.stop().await.unwrap();
    }
}
