//! Answers of the proxy: the status that belongs to what became of a request.

use axum::{
    Json,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use kpl::{DeliveryErrorKind, PutError, RecordError};
use serde::Serialize;

use crate::put_records::may_be_stored;

/// Time after which a refused client tries again, in seconds. The producer empties a full buffer at once, so it is the least that the
/// header can say.
const RETRY_AFTER_SECONDS: &str = "1";

/// A request that was not carried out as a whole.
#[derive(Debug, Serialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// Refusal whose request must be changed.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "InvalidRequest", message: message.into() }
    }

    pub(super) fn unknown_stream(stream: &str) -> Self {
        let message = format!("stream {stream:?} is not served here");
        Self { status: StatusCode::NOT_FOUND, code: "UnknownStream", message }
    }

    pub(super) fn too_long(max_bytes: usize) -> Self {
        let message = format!("body is longer than {max_bytes} bytes, or ended early");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: "BodyTooLong", message }
    }

    pub(super) fn too_slow() -> Self {
        let message = "body did not come in time".to_owned();
        Self { status: StatusCode::REQUEST_TIMEOUT, code: "BodyTooSlow", message }
    }

    /// Refusal that passes by itself: nothing was put.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: "Busy", message: message.into() }
    }

    /// The refusal of a single record.
    pub(super) fn of(error: &RecordError) -> Self {
        let (status, code) = match error {
            RecordError::Refused(PutError::BufferFull { .. }) => (StatusCode::TOO_MANY_REQUESTS, "Busy"),
            RecordError::Refused(PutError::ShutDown { .. }) => (StatusCode::SERVICE_UNAVAILABLE, "ShuttingDown"),
            RecordError::Refused(_) => (StatusCode::BAD_REQUEST, "InvalidRequest"),
            // A client that tries again may store it twice.
            RecordError::Failed(error) if may_be_stored(error) => (StatusCode::GATEWAY_TIMEOUT, "NotKnownToBeStored"),
            RecordError::Failed(error) => match error.kind() {
                DeliveryErrorKind::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, "Throttled"),
                _ => (StatusCode::BAD_GATEWAY, "Rejected"),
            },
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Failed"),
        };
        Self { status, code, message: error.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            (self.status, [(RETRY_AFTER, RETRY_AFTER_SECONDS)], Json(self)).into_response()
        } else {
            (self.status, Json(self)).into_response()
        }
    }
}
