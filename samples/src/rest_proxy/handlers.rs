//! The two requests.

use std::sync::Arc;

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Path, State as StateOf},
};
use bytes::Bytes;
use kpl::{Producer, PutError, RecordError, UserRecord};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{State, answer::Refusal};
use crate::put_records::{Entry, Outcome, Outcomes, PutRecords};

/// Maximum bytes of a body: 10 MiB of records, in base64, and their keys.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

type Shared = StateOf<Arc<State>>;

/// Puts one record, and answers when it is stored.
pub(super) async fn put_record(state: Shared, stream: Path<String>, body: Body) -> Result<Json<Outcome>, Refusal> {
    let _turn = state.requests.try_acquire().map_err(|_| too_many())?;
    let producer = producer(&state, &stream)?;
    let entry: Entry = read(&state, body).await?;
    let record = entry.user_record(producer).map_err(|error| Refusal::invalid(error.to_string()))?;
    let outcome = async { Ok::<_, RecordError>(producer.try_put(record)?.await?) }.await;
    match outcome {
        Ok(delivered) => Ok(Json(Outcome::from(Ok(delivered)))),
        Err(error) => Err(Refusal::of(&error)),
    }
}

/// Puts many records, and answers when all are stored or have failed. If there is no space for the first, none is put.
pub(super) async fn put_records(state: Shared, stream: Path<String>, body: Body) -> Result<Json<Outcomes>, Refusal> {
    let _turn = state.requests.try_acquire().map_err(|_| too_many())?;
    let producer = producer(&state, &stream)?;
    let request: PutRecords = read(&state, body).await?;
    let records = request.user_records(producer).map_err(|error| Refusal::invalid(error.to_string()))?;
    let outcomes = put_each(producer, records).await?;
    Ok(Json(outcomes.into_iter().collect()))
}

/// Records are put in order. After the first that finds no space, none is put: a later one must not overtake it.
async fn put_each(producer: &Producer, records: Vec<UserRecord>) -> Result<Vec<Outcome>, Refusal> {
    let count = records.len();
    let mut accepted = Vec::with_capacity(count);
    for record in records {
        match producer.try_put(record) {
            Err(PutError::BufferFull { .. }) if accepted.is_empty() => return Err(Refusal::busy("the buffer is full")),
            Err(PutError::BufferFull { .. }) => break,
            put => accepted.push(put),
        }
    }
    let mut outcomes = Vec::with_capacity(count);
    for put in accepted {
        outcomes.push(Outcome::from(async { Ok::<_, RecordError>(put?.await?) }.await));
    }
    outcomes.resize_with(count, || Outcome::failed("BufferFull", "the buffer is full: put the record again"));
    Ok(outcomes)
}

fn producer<'a>(state: &'a State, stream: &str) -> Result<&'a Producer, Refusal> {
    state.producers.get(stream).ok_or_else(|| Refusal::unknown_stream(stream))
}

async fn read<T: DeserializeOwned>(state: &State, body: Body) -> Result<T, Refusal> {
    let body: Bytes = match timeout(state.settings.body_timeout, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Refusal::too_long(MAX_BODY_BYTES)),
        Err(_) => return Err(Refusal::too_slow()),
    };
    serde_json::from_slice(&body).map_err(|error| Refusal::invalid(format!("body is not the JSON expected: {error}")))
}

fn too_many() -> Refusal {
    Refusal::busy("too many requests are under way")
}
