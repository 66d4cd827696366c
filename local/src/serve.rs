//! The services on loopback ports, for other processes and other languages.
//!
//! HTTP/1.1 and HTTP/2 in clear text, told apart by the first bytes. Either port answers for both services; there are
//! two because tools want one endpoint each. There is no TLS, and signatures are not checked.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::event_stream::EventStream;
use crate::services::{Body, Dropped, Request, Services};

/// Largest body of a request. The largest that the services take is PutRecords: 10 MiB of data in base64, and JSON.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What a client may have under way at once on an HTTP/2 connection without waiting for us, in bytes.
const HTTP2_WINDOW: u32 = 16 << 20;

/// How long a stopping server waits for requests that have begun.
const GRACE: Duration = Duration::from_secs(1);

/// How long to wait before accepting again when the system refused, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to serve. By default on any free port of 127.0.0.1.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServeOptions {
    kinesis_port: u16,
    dynamodb_port: u16,
}

impl ServeOptions {
    /// Port for Kinesis. Default 0: any free one.
    #[must_use]
    pub fn kinesis_port(mut self, port: u16) -> Self {
        self.kinesis_port = port;
        self
    }

    /// Port for DynamoDB. Default 0: any free one.
    #[must_use]
    pub fn dynamodb_port(mut self, port: u16) -> Self {
        self.dynamodb_port = port;
        self
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The port is taken, or may not be used. Nothing is served.
    #[error("cannot serve {service} on {address}")]
    Bind {
        /// Which of the services.
        service: &'static str,
        /// Where it was to be served.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Serves until it is stopped or dropped.
#[derive(Debug)]
#[must_use = "dropping it stops the server"]
pub struct Server {
    kinesis: SocketAddr,
    dynamodb: SocketAddr,
    listeners: JoinSet<()>,
    stop: DropGuard,
}

impl Server {
    pub(crate) async fn start(services: Arc<Services>, options: ServeOptions) -> Result<Self, ServeError> {
        let (kinesis_listener, kinesis) = bind("Kinesis", options.kinesis_port).await?;
        let (dynamodb_listener, dynamodb) = bind("DynamoDB", options.dynamodb_port).await?;
        let stop = CancellationToken::new();
        let mut listeners = JoinSet::new();
        listeners.spawn(accept(kinesis_listener, Arc::clone(&services), stop.clone()));
        listeners.spawn(accept(dynamodb_listener, services, stop.clone()));
        Ok(Self { kinesis, dynamodb, listeners, stop: stop.drop_guard() })
    }

    /// Where Kinesis is served.
    pub fn kinesis_address(&self) -> SocketAddr {
        self.kinesis
    }

    /// Where DynamoDB is served.
    pub fn dynamodb_address(&self) -> SocketAddr {
        self.dynamodb
    }

    /// The endpoint URL of Kinesis, for `AWS_ENDPOINT_URL_KINESIS` and `endpoint_url` of clients.
    pub fn kinesis_url(&self) -> String {
        format!("http://{}", self.kinesis)
    }

    /// The endpoint URL of DynamoDB, for `AWS_ENDPOINT_URL_DYNAMODB` and `endpoint_url` of clients.
    pub fn dynamodb_url(&self) -> String {
        format!("http://{}", self.dynamodb)
    }

    /// Stops accepting, answers the requests that have begun (for at most a second), and closes all connections.
    ///
    /// # Panics
    /// When answering a request panicked.
    ///
    /// # Cancellation
    /// Dropping the future closes all connections at once.
    pub async fn stop(mut self) {
        drop(self.stop);
        while let Some(ended) = self.listeners.join_next().await {
            raise_panic(ended);
        }
    }
}

async fn bind(service: &'static str, port: u16) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let refused = |source| ServeError::Bind { service, address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Handles new connections and connections that ended. Ends, with all its connections, when `stop` is cancelled.
async fn accept(listener: TcpListener, services: Arc<Services>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => raise_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&services), stop.clone()));
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

fn raise_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

async fn serve_connection(stream: TcpStream, services: Arc<Services>, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY not set");
    }
    let service = service_fn(move |request| {
        let services = Arc::clone(&services);
        // An error makes hyper close the connection.
        async move { respond(&services, request).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().initial_stream_window_size(HTTP2_WINDOW).initial_connection_window_size(HTTP2_WINDOW);
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
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            debug!(error, "request body not read");
            let mut response = Response::new(Either::Left(Full::default()));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(response);
        }
    };
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let answer = services.answer(Request { target, body: &body }).await?;
    let response = Response::builder()
        .status(answer.status)
        .header(http::header::CONTENT_TYPE, answer.content_type)
        .header("x-amzn-requestid", answer.request_id)
        .body(match answer.body {
            Body::Full(bytes) => Either::Left(Full::from(bytes)),
            Body::Events(events) => Either::Right(StreamBody::new(events)),
        })
        .expect("status, header names and values are valid");
    Ok(response)
}
