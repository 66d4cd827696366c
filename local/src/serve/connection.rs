//! Connections: accepts them, over TLS if configured, and answers every request.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::raise_panic;
use crate::event_stream::EventStream;
use crate::services::{Answer, Body, Dropped, MAX_BODY_BYTES, Request, Services};

/// Flow-control window of an HTTP/2 connection, in bytes.
const HTTP2_WINDOW: u32 = 16 << 20;

/// Maximum number of requests at once on an HTTP/2 connection; a subscription is one for as long as it lasts.
const HTTP2_STREAMS: u32 = 10_000;

/// Maximum number of connections to a port at once. More wait to be accepted.
const MAX_CONNECTIONS: usize = 10_000;

/// Time that a stopping server waits for requests that have begun.
const GRACE: Duration = Duration::from_secs(1);

/// Maximum time of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause before accepting again after the system refused, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Path of the probe: any answer says that requests are answered.
const LIVE: &str = "/livez";

/// The services, as every connection reaches them.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) services: Arc<Services>,
    pub(super) acceptor: Option<TlsAcceptor>,
    pub(super) stop: CancellationToken,
}

/// Handles new connections and connections that ended. Ends, with all its connections, when the door is stopped.
pub(super) async fn accept(listener: TcpListener, door: Door) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = door.stop.cancelled() => break,
            Some(ended) = connections.join_next() => raise_panic(ended),
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(secure(stream, door.clone()));
                }
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        raise_panic(ended);
    }
}

/// Serves the connection, over TLS if there is any.
async fn secure(stream: TcpStream, door: Door) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY not set");
    }
    let Some(acceptor) = &door.acceptor else {
        return serve(stream, door).await;
    };
    let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream));
    tokio::select! {
        () = door.stop.cancelled() => {}
        secured = handshake => match secured {
            Ok(Ok(stream)) => serve(stream, door).await,
            Ok(Err(error)) => debug!(%error, "no TLS"),
            Err(_) => debug!("no TLS in time"),
        },
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, door: Door) {
    let Door { services, stop, .. } = door;
    let service = service_fn(move |request| {
        let services = Arc::clone(&services);
        // An error makes hyper close the connection.
        async move { respond(&services, request).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let mut http2 = builder.http2();
    http2.initial_stream_window_size(HTTP2_WINDOW).initial_connection_window_size(HTTP2_WINDOW);
    http2.max_concurrent_streams(HTTP2_STREAMS);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // A client that never finishes its request must not keep the server from stopping.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(error, "connection broke");
    }
}

/// In memory, or as it comes.
type ResponseBody = Either<Full<Bytes>, StreamBody<EventStream>>;

async fn respond(
    services: &Arc<Services>,
    request: http::Request<Incoming>,
) -> Result<Response<ResponseBody>, Dropped> {
    let (head, body) = request.into_parts();
    // Requests to the services are all posted.
    if head.method == Method::GET && head.uri.path() == LIVE {
        return Ok(Response::new(Either::Left(Full::from("live\n"))));
    }
    let body = read(body).await;
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = Request {
        path: head.uri.path(),
        target: header("x-amz-target"),
        content_type: header("content-type"),
        content_encoding: header("content-encoding"),
        // A machine that slept leaves the virtual clock behind; so only when a skew is asked for.
        signed_at: if services.clock.is_skewed() { header("x-amz-date") } else { "" },
        body: body.as_deref().unwrap_or_default(),
    };
    let answer = match &body {
        Ok(_) => services.answer(request).await?,
        Err(BodyError::TooLarge) => services.refuse_too_large(request),
        Err(BodyError::Broken) => return Err(Dropped),
    };
    Ok(response(answer))
}

/// The reason why a body was not read.
enum BodyError {
    TooLarge,
    Broken,
}

/// The whole body. One that says it is too large need not come.
async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(error) => {
            debug!(error, "request body broke off");
            Err(BodyError::Broken)
        }
    }
}

fn response(answer: Answer) -> Response<ResponseBody> {
    answer.into_response(|body| match body {
        Body::Full(bytes) => Either::Left(Full::from(bytes)),
        Body::Events(events) => Either::Right(StreamBody::new(events)),
    })
}
