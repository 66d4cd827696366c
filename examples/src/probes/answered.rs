//! Probes over HTTP, by the health of a worker.

use anyhow::Context as _;
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use kcl::{Health, WorkerHandle};
use tokio::{net::TcpListener, task::JoinSet};
use tracing::{error, info};

/// An address that is listened on.
#[derive(Debug)]
pub struct Probes(TcpListener);

impl Probes {
    /// Listens on `HOST:PORT`.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn listen(address: &str) -> anyhow::Result<Self> {
        let bound = TcpListener::bind(address).await;
        let listener = bound.with_context(|| format!("{address} cannot be listened on for probes"))?;
        info!(address = %listener.local_addr()?, "probes are answered at /livez and /readyz");
        Ok(Self(listener))
    }

    /// Answers `/livez` and `/readyz` by 200 or 503, with the worker's health as JSON, until what is returned is dropped.
    #[must_use = "dropping it ends the answers"]
    pub fn answer(self, worker: WorkerHandle) -> JoinSet<()> {
        let routes = Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(worker);
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            if let Err(error) = axum::serve(self.0, routes).await {
                error!(%error, "probes are no longer answered");
            }
        });
        answering
    }
}

async fn live(State(worker): State<WorkerHandle>) -> (StatusCode, Json<Health>) {
    let health = worker.health();
    (status(health.live), Json(health))
}

async fn ready(State(worker): State<WorkerHandle>) -> (StatusCode, Json<Health>) {
    let health = worker.health();
    (status(health.ready), Json(health))
}

fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
