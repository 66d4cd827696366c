//! CloudWatch: keeps the metrics that are put, for tests. Its only operation is PutMetricData.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ciborium::Value;
use flate2::read::GzDecoder;

use crate::refusal::Refusal;
use crate::services::Request;
use crate::wire::Format;

mod metric;

pub use self::metric::{Metric, MetricForm};

/// Operations that are answered.
pub(crate) const OPERATIONS: [&str; 1] = ["PutMetricData"];

/// Maximum number of metrics that are kept; the oldest are dropped first.
const MAX_METRICS: usize = 100_000;

/// Maximum size of a body once it is unpacked.
const MAX_BODY_BYTES: u64 = 32 << 20;

/// Metrics of one request. docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
const MAX_DATA: usize = 1000;

/// The metrics that were put, oldest first.
#[derive(Debug, Default)]
pub(crate) struct CloudWatch {
    // Protects a queue for the length of one change or copy.
    metrics: Mutex<VecDeque<Metric>>,
}

impl CloudWatch {
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        self.lock().iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Performs one operation.
    pub(crate) fn perform(
        &self,
        operation: &str,
        request: Request<'_>,
        format: Format,
        now: SystemTime,
    ) -> Result<Vec<u8>, Refusal> {
        if !OPERATIONS.contains(&operation) {
            return Err(Refusal::new(400, "UnknownOperationException", ""));
        }
        let body = unpack(request)?;
        let input: Value =
            format.decode(&body).map_err(|error| Refusal::new(400, "SerializationException", &error.0))?;
        let metrics = read(&input, now)?;
        let mut kept = self.lock();
        kept.extend(metrics);
        let surplus = kept.len().saturating_sub(MAX_METRICS);
        kept.drain(..surplus);
        Ok(format.encode(&std::collections::BTreeMap::<String, String>::new()))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Metric>> {
        // A queue is whole even when a thread panicked between two of its changes.
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body as it was before it was compressed.
fn unpack(request: Request<'_>) -> Result<Vec<u8>, Refusal> {
    if !request.is_gzip() {
        return Ok(request.body.to_owned());
    }
    let mut body = Vec::new();
    let read = GzDecoder::new(request.body).take(MAX_BODY_BYTES).read_to_end(&mut body);
    if read.is_err() || body.len() as u64 == MAX_BODY_BYTES {
        return Err(Refusal::new(400, "SerializationException", "the body is not gzip, or is too large"));
    }
    Ok(body)
}

/// The metrics of a request that keeps the limits.
fn read(input: &Value, now: SystemTime) -> Result<Vec<Metric>, Refusal> {
    let namespace = metric::text(input, "Namespace").unwrap_or_default();
    if namespace.is_empty() {
        return Err(missing("Namespace"));
    }
    if namespace.starts_with("AWS/") {
        let message = format!("The value {namespace} for parameter Namespace is invalid.");
        return Err(Refusal::new(400, "InvalidParameterValueException", &message));
    }
    let entities = metric::list(input, "EntityMetricData");
    let of_entities = entities.iter().flat_map(|entity| metric::list(entity, "MetricData"));
    let data: Vec<_> = metric::list(input, "MetricData").iter().chain(of_entities).collect();
    if data.is_empty() {
        return Err(missing("MetricData"));
    }
    if data.len() > MAX_DATA {
        let message = format!("The collection MetricData must not have a size greater than {MAX_DATA}.");
        return Err(Refusal::new(400, "InvalidParameterValueException", &message));
    }
    data.into_iter().map(|datum| Metric::read(namespace, datum, now)).collect()
}

fn missing(parameter: &str) -> Refusal {
    let message = format!("The parameter {parameter} is required.");
    Refusal::new(400, "MissingRequiredParameterException", &message)
}
