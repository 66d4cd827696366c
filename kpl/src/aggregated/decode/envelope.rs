//! The envelope of an aggregate: magic before it, digest behind.

use bytes::Bytes;

use super::ParsedAggregate;
use crate::{
    aggregated::{DIGEST_LEN, MAGIC},
    digest::{LANES, digest_each},
};

/// A Kinesis record's data that begin with the magic and end with the right digest. Shares the data.
#[derive(Debug, Clone)]
pub struct Enveloped(Bytes);

impl Enveloped {
    /// None if the data are not enveloped: then the Kinesis record is a plain one.
    pub fn of(data: &Bytes) -> Option<Self> {
        Self::of_each([data].into_iter()).pop().flatten()
    }

    /// The same for several, in less time than it takes to look at one after the other: for all records of a read.
    pub fn of_each<'a>(data: impl Iterator<Item = &'a Bytes>) -> Vec<Option<Self>> {
        let mut found: Vec<Option<Self>> = data.map(|data| body(data).is_some().then(|| Self(data.clone()))).collect();
        let mut doubtful: Vec<_> = found.iter_mut().filter(|found| found.is_some()).collect();
        doubtful.chunks_mut(LANES).for_each(Self::check);
        found
    }

    /// Takes out what has a wrong digest.
    fn check(doubtful: &mut [&mut Option<Self>]) {
        let digests = digest_each(doubtful.iter().map(|found| found.as_ref().and_then(Self::body).unwrap_or_default()));
        for (found, digest) in doubtful.iter_mut().zip(digests) {
            found.take_if(|found| !found.0.ends_with(&digest));
        }
    }

    /// Parses the aggregate; `None` if it is none. Never panics, whatever the bytes.
    pub fn parse(&self) -> Option<ParsedAggregate<'_>> {
        ParsedAggregate::of_body(&self.0, self.body()?)
    }

    fn body(&self) -> Option<&[u8]> {
        body(&self.0)
    }
}

/// Bytes between magic and digest.
fn body(data: &Bytes) -> Option<&[u8]> {
    let rest = data.strip_prefix(&MAGIC).filter(|rest| rest.len() > DIGEST_LEN)?;
    Some(&rest[..rest.len() - DIGEST_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{aggregated::Aggregate, record::UserRecord};

    #[test]
    fn each_is_found_among_others_and_none_with_a_bit_flipped() {
        let encoded = |records: u8| {
            let mut aggregate = Aggregate::new();
            (0..records).for_each(|n| aggregate.push(UserRecord::new(format!("key-{n}"), vec![n; 30])));
            aggregate.encode()
        };
        let flipped = |data: Bytes| {
            let mut bytes = data.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Bytes::from(bytes)
        };
        let data: Vec<Bytes> = (0..40)
            .map(|n| match n % 4 {
                0 => encoded(n),
                1 => flipped(encoded(n)),
                2 => Bytes::from(vec![n; 100]),
                _ => encoded(200),
            })
            .collect();

        let found = Enveloped::of_each(data.iter());

        for (n, (found, data)) in found.iter().zip(&data).enumerate() {
            let enveloped = matches!(n % 4, 0 | 3) && n > 0;
            assert_eq!(found.is_some(), enveloped, "{n}");
            assert_eq!(Enveloped::of(data).is_some(), enveloped, "{n}");
        }
    }
}
