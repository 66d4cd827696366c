//! Dead letters: records that children kept failing at, appended to a file as lines of JSON.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use kcl::{BoxError, FailedRecords, Record};
use serde_json::json;

/// Appends the records; done once they are on the disk.
///
/// # Errors
/// The file cannot be written. The records are tried again.
pub(crate) async fn keep(path: PathBuf, failed: FailedRecords) -> Result<(), BoxError> {
    tokio::task::spawn_blocking(move || append(&path, &failed)).await?
}

fn append(path: &Path, failed: &FailedRecords) -> Result<(), BoxError> {
    let shown = |error: std::io::Error| format!("dead letters cannot be written to {}: {error}", path.display());
    let lines: String = failed.records.iter().map(|record| line(failed, record)).collect();
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(shown)?;
    file.write_all(lines.as_bytes()).map_err(shown)?;
    file.sync_data().map_err(shown)?;
    Ok(())
}

fn line(failed: &FailedRecords, record: &Record) -> String {
    let arrival = record.approximate_arrival.and_then(|arrival| arrival.duration_since(UNIX_EPOCH).ok());
    let object = json!({
        "shardId": failed.shard.shard_id.as_str(),
        "sequenceNumber": record.sequence_number.as_str(),
        "subSequenceNumber": record.sub_sequence_number,
        "partitionKey": &*record.partition_key,
        "approximateArrivalTimestamp": arrival.map(|arrival| u64::try_from(arrival.as_millis()).unwrap_or(u64::MAX)),
        "data": base64_simd::STANDARD.encode_to_string(&record.data),
        "attempts": failed.attempts,
        "error": failed.error.to_string(),
    });
    format!("{object}\n")
}
