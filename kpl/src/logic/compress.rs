//! Compression of complete Kinesis records. Pure.
//!
//! - (A) Records keep their order; all of them leave.
//! - (B) No aggregate of several records is longer than the limit: one that is when it is compressed is divided.
//! - (C) What compression does not make shorter stays as it is.

use std::sync::Arc;

use super::{
    fill::Fill,
    kinesis_record::KinesisRecord,
    pending::{Detach, Pending},
};
use crate::{
    compressed::{FrameWriter, MAX_CONTENT_BYTES},
    config::{AggregateKey, Config, Limits},
};

/// Maximum content of an aggregate over the length that it may have compressed.
const MAX_RATIO: usize = 32;
/// Part of the buffer that the content of one aggregate may be.
const BUFFER_PART: usize = 32;

/// The writer of frames, and what may be in one.
#[derive(Debug, Clone)]
pub(crate) struct Compressing {
    writer: Arc<FrameWriter>,
    max_content: usize,
    /// Maximum bytes of an aggregate of one.
    max_alone: usize,
}

impl PartialEq for Compressing {
    fn eq(&self, other: &Self) -> bool {
        let bounds = |of: &Self| (of.max_content, of.max_alone);
        Arc::ptr_eq(&self.writer, &other.writer) && bounds(self) == bounds(other)
    }
}

impl Eq for Compressing {}

impl Compressing {
    /// `None` without compression. An aggregate may have `max_bytes`, one of one record `max_alone`.
    pub(crate) fn of(config: &Config, max_bytes: usize, max_alone: usize) -> Option<Self> {
        let of_buffer = config.max_outstanding_bytes / BUFFER_PART;
        let max_content = max_bytes.saturating_mul(MAX_RATIO).min(of_buffer).min(MAX_CONTENT_BYTES);
        config.frames.clone().map(|writer| Self { writer, max_content, max_alone })
    }

    /// Limits of an aggregate's content, by those of its length when it is compressed.
    pub(crate) fn limits(&self, limits: Limits, fill: Fill) -> Limits {
        Limits { max_bytes: fill.content_bytes(limits.max_bytes, self.max_content), ..limits }
    }

    /// Compresses a Kinesis record, and divides it if it is an aggregate longer than `max_bytes` then. `learn` is called with
    /// the lengths of the whole before and after.
    pub(crate) fn compress<T: Detach>(
        &self,
        mut record: KinesisRecord<T>,
        max_bytes: usize,
        learn: impl FnOnce(usize, usize),
    ) -> Vec<KinesisRecord<T>> {
        let (content, compressed) = record.compress(&self.writer);
        learn(content, compressed);
        let max_bytes_of_it = if record.courses().len() == 1 { self.max_alone } else { max_bytes };
        if !record.is_aggregate() || compressed <= max_bytes_of_it {
            return vec![record];
        }
        let key = record.key();
        let parts = divided(record.into_records(), compressed.div_ceil(max_bytes.max(1)));
        parts.into_iter().flat_map(|part| self.compress_part(part, key, max_bytes)).collect()
    }

    fn compress_part<T: Detach>(
        &self,
        mut part: Vec<Pending<T>>,
        key: AggregateKey,
        max_bytes: usize,
    ) -> Vec<KinesisRecord<T>> {
        if part.len() > 1 {
            let packed = KinesisRecord::packed(part, key);
            return packed.into_iter().flat_map(|record| self.compress(record, max_bytes, |_, _| {})).collect();
        }
        let alone = part.pop().map(|record| {
            let mut alone = KinesisRecord::alone(record, key, self.max_alone);
            alone.compress(&self.writer);
            alone
        });
        alone.into_iter().collect()
    }
}

/// All of `records`, in their order, as a Kinesis record, or as several if one would be longer than a record may be.
pub(crate) fn packed<T: Detach>(
    records: Vec<Pending<T>>,
    key: AggregateKey,
    compressing: Option<&Compressing>,
) -> Vec<KinesisRecord<T>> {
    let whole = KinesisRecord::packed(records, key).into_iter();
    match compressing {
        None => whole.collect(),
        Some(compressing) => {
            whole.flat_map(|record| compressing.compress(record, compressing.max_alone, |_, _| {})).collect()
        }
    }
}

/// Records in their order, in `parts` of about the same length, at least two if there are as many records.
fn divided<T: Detach>(records: Vec<Pending<T>>, parts: usize) -> Vec<Vec<Pending<T>>> {
    let size = |record: &Pending<T>| record.as_ref().size_bytes() + 1;
    let each = records.iter().map(size).sum::<usize>().div_ceil(parts.max(2));
    let (mut divided, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for record in records {
        let size = size(&record);
        if bytes > 0 && bytes + size > each {
            divided.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(record);
    }
    divided.push(part);
    divided
}

#[cfg(test)]
mod tests;
