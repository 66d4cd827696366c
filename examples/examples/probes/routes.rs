//! The probes of a process with a producer and a worker.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use kcl::WorkerHandle;
use kpl::Producer;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

#[derive(Clone)]
struct Service {
    producer: Producer,
    worker: WorkerHandle,
    metrics: PrometheusHandle,
}

#[derive(Serialize)]
struct Health {
    producer: kpl::Health,
    worker: kcl::Health,
}

/// `/livez` and `/readyz` answer 200 or 503 with the whole health as JSON, `/metrics` what Prometheus reads.
pub(crate) fn routes(producer: Producer, worker: WorkerHandle, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(service): State<Service>| async move { service.metrics.render() }))
        .with_state(Service { producer, worker, metrics })
}

async fn live(State(service): State<Service>) -> (StatusCode, Json<Health>) {
    let health = service.health();
    answer(health.producer.live && health.worker.live, health)
}

async fn ready(State(service): State<Service>) -> (StatusCode, Json<Health>) {
    let health = service.health();
    answer(health.producer.ready && health.worker.ready, health)
}

fn answer(is_well: bool, health: Health) -> (StatusCode, Json<Health>) {
    (if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(health))
}

impl Service {
    fn health(&self) -> Health {
        Health { producer: self.producer.health(), worker: self.worker.health() }
    }
}
