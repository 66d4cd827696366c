//! A worker, the leader too, that is cut off for minutes, and whose calls arrive when it is too late.

use std::{collections::BTreeSet, time::Duration};

use aws_smithy_runtime_api::client::{
    http::{HttpClient as _, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use integration_tests::World;
use kcl::Event;
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
fn gated(world: &World) -> (World, watch::Sender<bool>) {
    let (gate, open) = watch::channel(true);
    let inner = world.aws.http_client().expect("the embedded AWS is an HTTP client");
    let client = http_client_fn(move |settings, components| {
        SharedHttpConnector::new(Gated { inner: inner.http_connector(settings, components), open: open.clone() })
    });
    let aws = world.aws.to_builder().http_client(client).build();
    (World { aws, ..world.clone() }, gate)
}

#[tokio::test(start_paused = true)]
async fn replaces_a_leader_cut_off_for_five_minutes_which_comes_back() {
    let world = World::start(6).await;
    let (behind_gate, gate) = gated(&world);
    let leader = behind_gate.run("w1");
    world.until("it leads", || world.events.count(|event| *event == Event::LeaderGained) == 1).await;
    world.settled().await;
    let others = ["w2", "w3"].map(|id| world.run(id));
    let putting = tokio::spawn({
        let world = world.clone();
        async move {
            for round in 0..800 {
                world.put(round * 10..(round + 1) * 10).await;
                sleep(Duration::from_millis(500)).await;
            }
        }
    });
    sleep(Duration::from_secs(30)).await;
    let status = world.status().await;
    assert_eq!(status.leader, Some("w1".into()));
    assert_eq!(world.journal.shards_by_worker()["w1"].len(), 6, "it began alone");

    gate.send(false).unwrap();
    let closed = Instant::now();
    sleep(Duration::from_secs(300)).await;
    gate.send(true).unwrap();
    let reopened = Instant::now();
    putting.await.unwrap();
    world.journal.processed(8_000).await;

    // What it had already read it may have processed until its leases had expired by its own clock, and not longer.
    let entries = world.journal.entries();
    let late = entries.iter().filter(|entry| {
        entry.worker == "w1" && !entry.keys.is_empty() && entry.at > closed + LEASE_DURATION && entry.at < reopened
    });
    assert_eq!(late.count(), 0);
    let by_others = |at: Instant| {
        let in_time = entries.iter().filter(|entry| entry.worker != "w1" && entry.at > closed && entry.at < at);
        in_time.filter(|entry| !entry.keys.is_empty()).map(|entry| entry.shard_id.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(by_others(closed + LEASE_DURATION.mul_f64(1.5) + Duration::from_secs(1)).len(), 6);
    let back = || world.journal.entries().iter().any(|entry| entry.worker == "w1" && entry.at > reopened);
    world.until("the former leader has shards again", back).await;
    // At least once, and not again and again: a late write of the old leader has undone nothing.
    let twice = world.journal.ids().len() - 8_000;
    assert!(twice < 300, "{twice} records were processed twice");

    leader.stop().await.unwrap();
    for worker in others {
        worker.stop().await.unwrap();
    }
}
