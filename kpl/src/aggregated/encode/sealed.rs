//! Sealed aggregates: those that no more records join.

use std::{mem::take, ops::Range};

use bytes::Bytes;

use super::{Aggregate, user_records};
use crate::{
    aggregated::{DIGEST_LEN, MAGIC},
    digest::{LANES, digest_each},
    record::UserRecord,
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
        str::from_utf8(&self.encoded.bytes()[self.first_partition_key.clone()]).unwrap_or_default()
    }

    pub(crate) fn user_records(self) -> Vec<UserRecord> {
        let mut encoded = match self.encoded {
            Encoded::WithoutDigest(bytes) => bytes.into(),
            Encoded::Complete(bytes) => bytes,
        };
        encoded.truncate(self.size_bytes.saturating_sub(DIGEST_LEN));
        user_records(&encoded)
    }

    /// Bytes that are sent, once they have their digest.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match &self.encoded {
            Encoded::Complete(bytes) => bytes.clone(),
            Encoded::WithoutDigest(_) => unreachable!("what is sent has its digest"),
        }
    }

    pub(crate) fn has_digest(&self) -> bool {
        matches!(self.encoded, Encoded::Complete(_))
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
            assert_eq!(sealed.user_records(), aggregate.user_records());
        }
    }
}
