//! Sealed aggregates: those that no more records join.

use std::{mem::take, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Aggregate, user_records};
use crate::{
    aggregated::{DIGEST_LEN, MAGIC},
    compressed::{FrameReader, FrameWriter},
    digest::{LANES, digest_each},
    record::UserRecord,
    record_number::RecordNumber,
};

/// An aggregate as it will be sent. The digest is added when it is needed, for several aggregates together.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    encoded: Encoded,
    pub(crate) size_bytes: usize,
    first_partition_key: Range<usize>,
}

#[derive(Debug)]
enum Encoded {
    WithoutDigest(Vec<u8>),
    /// Shared with requests.
    Complete(Bytes),
    /// The same, compressed.
    Framed(Box<Framed>),
}

#[derive(Debug)]
struct Framed {
    frame: Bytes,
    /// Of the first record, which is not readable in the frame.
    partition_key: String,
    writer: Arc<FrameWriter>,
}

impl Framed {
    /// The aggregate as it was before.
    fn content(&self) -> Bytes {
        let dictionary = self.writer.dictionary().cloned();
        let reader = dictionary.into_iter().fold(FrameReader::new(), FrameReader::with_dictionary);
        reader.open(&self.frame).and_then(Result::ok).unwrap_or_default()
    }
}

impl Default for Encoded {
    fn default() -> Self {
        Self::WithoutDigest(Vec::new())
    }
}

impl Encoded {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::WithoutDigest(bytes) => bytes,
            Self::Complete(bytes) => bytes,
            Self::Framed(framed) => &framed.frame,
        }
    }

    fn complete(&mut self, digest: &[u8; DIGEST_LEN]) {
        if let Self::WithoutDigest(bytes) = self {
            bytes.extend_from_slice(digest);
            *self = Self::Complete(take(bytes).into());
        }
    }
}

impl Aggregate {
    /// Removes all records; their room stays.
    pub(crate) fn clear(&mut self) {
        self.partition_keys.clear();
        self.hash_keys.clear();
        self.records.clear();
        self.numbered.clear();
        self.len = 0;
    }

    pub(crate) fn room_bytes(&self) -> usize {
        self.records.capacity()
    }
}

impl Sealed {
    pub(crate) fn new(aggregate: &Aggregate) -> Self {
        let Range { start, end } = aggregate.partition_keys.first_range();
        let first_partition_key = MAGIC.len() + start..MAGIC.len() + end;
        let encoded = Encoded::WithoutDigest(aggregate.without_digest());
        Self { encoded, size_bytes: aggregate.size_bytes(), first_partition_key }
    }

    pub(crate) fn first_partition_key(&self) -> &str {
        match &self.encoded {
            Encoded::Framed(framed) => &framed.partition_key,
            other => str::from_utf8(&other.bytes()[self.first_partition_key.clone()]).unwrap_or_default(),
        }
    }

    /// Compresses the aggregate, unless that makes it no shorter. Returns its length before.
    pub(crate) fn compress(&mut self, writer: &Arc<FrameWriter>) -> usize {
        Self::digest_all([&mut *self].into_iter());
        let len = self.size_bytes;
        if let Encoded::Complete(bytes) = &self.encoded
            && let Some(frame) = writer.frame(bytes)
        {
            let partition_key = self.first_partition_key().to_owned();
            self.size_bytes = frame.len();
            self.encoded = Encoded::Framed(Box::new(Framed { frame, partition_key, writer: Arc::clone(writer) }));
        }
        len
    }

    /// The records with their numbers.
    pub(crate) fn user_records(self) -> Vec<(UserRecord, Option<RecordNumber>)> {
        let encoded = match self.encoded {
            Encoded::WithoutDigest(bytes) => bytes.into(),
            Encoded::Complete(bytes) => without_digest(bytes),
            Encoded::Framed(framed) => without_digest(framed.content()),
        };
        user_records(&encoded)
    }

    /// Bytes that are sent, once they have their digest.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match &self.encoded {
            Encoded::Complete(bytes) => bytes.clone(),
            Encoded::Framed(framed) => framed.frame.clone(),
            Encoded::WithoutDigest(_) => unreachable!("what is sent has its digest"),
        }
    }

    pub(crate) fn has_digest(&self) -> bool {
        !matches!(self.encoded, Encoded::WithoutDigest(_))
    }

    pub(crate) fn digest_all<'a>(aggregates: impl Iterator<Item = &'a mut Self>) {
        let mut without: Vec<_> = aggregates.filter(|sealed| !sealed.has_digest()).collect();
        for some in without.chunks_mut(LANES) {
            let bodies = some.iter().map(|sealed| &sealed.encoded.bytes()[MAGIC.len()..]);
            let digests = digest_each(bodies);
            for (sealed, digest) in some.iter_mut().zip(digests) {
                sealed.encoded.complete(&digest);
            }
        }
    }
}

fn without_digest(mut aggregate: Bytes) -> Bytes {
    aggregate.truncate(aggregate.len().saturating_sub(DIGEST_LEN));
    aggregate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_aggregates_are_sent_as_each_would_be_encoded_alone() {
        let aggregates: Vec<Aggregate> = (1..30)
            .map(|records| {
                let mut aggregate = Aggregate::new();
                (0..records).for_each(|n| aggregate.push(UserRecord::new(format!("key-{records}-{n}"), vec![n; 50])));
                aggregate
            })
            .collect();
        let mut sealed: Vec<Sealed> = aggregates.iter().map(Sealed::new).collect();

        Sealed::digest_all(sealed[..3].iter_mut());
        Sealed::digest_all(sealed.iter_mut());

        for (sealed, aggregate) in sealed.into_iter().zip(aggregates) {
            assert_eq!((sealed.to_bytes(), sealed.size_bytes), (aggregate.encode(), aggregate.size_bytes()));
            assert_eq!(Some(sealed.first_partition_key()), aggregate.first_partition_key());
            let records: Vec<_> = sealed.user_records().into_iter().map(|(record, _)| record).collect();
            assert_eq!(records, aggregate.user_records());
        }
    }
}
