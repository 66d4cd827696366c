//! The Runtime API on a loopback port.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
};

use crate::lambda::clock;

/// An invocation that did not succeed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// The function returned an error, in Lambda's form: `errorType` and `errorMessage`.
    #[error("function failed: {0}")]
    Returned(Value),
    /// The function did not answer in time. It is not ended, unlike by Lambda.
    #[error("function did not answer within {0:?}")]
    TimedOut(Duration),
    /// The Runtime API has ended.
    #[error("no Runtime API is served any more")]
    Ended,
}

/// Maximum bytes of an answer. Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_ANSWER_BYTES: usize = 6 * 1024 * 1024;

type Answer = Result<Value, Value>;

struct Invocation {
    id: String,
    event: Value,
    granted: Duration,
    answer: oneshot::Sender<Answer>,
}

struct Api {
    /// Locked while a function waits for its next invocation: there is one function.
    invocations: Mutex<mpsc::Receiver<Invocation>>,
    /// Invocations under way. Locked to add or take one.
    pending: StdMutex<HashMap<String, oneshot::Sender<Answer>>>,
}

/// The Runtime API of one function, which ends when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the Runtime API"]
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: mpsc::Sender<Invocation>,
    count: AtomicU64,
    _server: JoinSet<()>,
}

impl RuntimeApi {
    /// Serves on a free port.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn serve() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // One invocation at a time; its caller waits.
        let (sender, receiver) = mpsc::channel(1);
        let api = Arc::new(Api { invocations: Mutex::new(receiver), pending: StdMutex::default() });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .layer(DefaultBodyLimit::max(MAX_ANSWER_BYTES))
            .with_state(api);
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "Runtime API ended");
            }
        });
        Ok(Self { address, invocations: sender, count: AtomicU64::new(0), _server: server })
    }

    /// Environment of the function's process: the Runtime API, and the function's name and handler.
    pub fn environment(&self, function: &str, handler: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", function.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("_HANDLER", handler.to_owned()),
        ]
    }

    /// Invokes the function with an event, and waits for its answer. The function is told that it has this time.
    ///
    /// # Errors
    /// If the function fails, or does not answer.
    ///
    /// # Cancellation
    /// Dropping the future drops the answer; the function may still run.
    pub async fn invoke(&self, event: Value, granted: Duration) -> Result<Value, FunctionError> {
        let (answer, answered) = oneshot::channel();
        let id = format!("invocation-{}", self.count.fetch_add(1, Relaxed));
        let invocation = Invocation { id, event, granted, answer };
        let ended = |_| FunctionError::Ended;
        let invoked = async {
            self.invocations.send(invocation).await.map_err(|_| FunctionError::Ended)?;
            answered.await.map_err(ended)?.map_err(FunctionError::Returned)
        };
        tokio::time::timeout(granted, invoked).await.unwrap_or(Err(FunctionError::TimedOut(granted)))
    }
}

async fn next(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, StatusCode> {
    // A function that goes away while it waits takes no invocation with it.
    let invocation = api.invocations.lock().await.recv().await;
    let Invocation { id, event, granted, answer } = invocation.ok_or(StatusCode::GONE)?;
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", (clock::since_epoch() + granted).as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:local".to_owned()),
    ];
    api.pending().insert(id, answer);
    Ok((headers, Json(event)))
}

async fn response(state: State<Arc<Api>>, id: Path<String>, body: Bytes) -> StatusCode {
    answer(&state, &id, &body, Ok)
}

async fn error(state: State<Arc<Api>>, id: Path<String>, body: Bytes) -> StatusCode {
    answer(&state, &id, &body, Err)
}

fn answer(api: &Api, id: &str, body: &Bytes, answer: fn(Value) -> Answer) -> StatusCode {
    match (api.pending().remove(id), serde_json::from_slice(body)) {
        (Some(pending), Ok(body)) => {
            // The caller stopped waiting.
            drop(pending.send(answer(body)));
            StatusCode::ACCEPTED
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

impl Api {
    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
