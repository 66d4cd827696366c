//! SHELL: HTTP connections of a command that serves, as many as are bounded.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 64;
/// Time in which a request must have come.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before accepting again after the system refused, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until it is dropped, with all its connections.
pub(crate) async fn answer<B>(
    listener: TcpListener,
    answer: impl Fn(&Request<Incoming>) -> Response<B> + Send + Sync + 'static,
) where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let (answer, mut connections) = (Arc::new(answer), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                let Ok((socket, _)) = accepted else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let answer = Arc::clone(&answer);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answer = Arc::clone(&answer);
                        async move { Ok::<_, Infallible>(answer(&request)) }
                    });
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                    let _ = server.serve_connection(TokioIo::new(socket), service).await; // who asked went away
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
