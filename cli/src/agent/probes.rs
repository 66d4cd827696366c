//! SHELL: probes of the agent: `/livez` and `/readyz` over HTTP, by the health of each flow's producer.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use kpl::{Health, Producer};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{connections, failure::Failure};

/// Listens on an address, says so, and answers until what is returned is dropped.
pub(super) async fn serve(address: &str, producers: BTreeMap<String, Producer>) -> Result<JoinSet<()>, Failure> {
    let unbound = |error| Failure::new(format!("{address} cannot be listened on ({error})"), "pass another --probes");
    let listener = TcpListener::bind(address).await.map_err(unbound)?;
    eprintln!("kds: probes are answered at http://{}/livez and /readyz", listener.local_addr().map_err(unbound)?);
    let mut serving = JoinSet::new();
    serving.spawn(connections::answer(listener, move |request| answer(request, &producers)));
    Ok(serving)
}

/// 200 if all producers are well, else 503, with the health of each flow.
fn answer(request: &Request<Incoming>, producers: &BTreeMap<String, Producer>) -> Response<Full<Bytes>> {
    let health: BTreeMap<&str, Health> = producers.iter().map(|(flow, it)| (flow.as_str(), it.health())).collect();
    let is_well = match request.uri().path() {
        "/livez" => health.values().all(|flow| flow.live),
        "/readyz" => health.values().all(|flow| flow.ready),
        _ => return with(StatusCode::NOT_FOUND, "only /livez and /readyz\n".into()),
    };
    let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    with(status, serde_json::to_vec(&health).unwrap_or_default().into())
}

fn with(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
