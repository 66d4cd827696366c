//! Compressed records on their way into another stream: as they are, where one of its shards owns all that may be in them, else
//! taken apart. Pure.

use kcl::Record;
use kpl::{
    HashKey, HashKeyRange, UserRecord,
    aggregated::{DeaggregateError, DeaggregatedRecord, Deaggregator},
    compressed::{Frame, FrameError, FrameReader},
};

/// Form in which a record is put.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Passage {
    /// A user record of its own.
    UserRecord(UserRecord),
    /// A compressed record as it is, with the hash keys that its user records may have.
    Frame(UserRecord, HashKeyRange),
}

impl Passage {
    pub(super) fn is_frame(&self) -> bool {
        matches!(self, Self::Frame(..))
    }

    /// True if both are put in the same form.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.is_frame() == other.is_frame()
    }

    pub(super) fn record(&self) -> &UserRecord {
        match self {
            Self::UserRecord(record) | Self::Frame(record, _) => record,
        }
    }
}

/// True of a sound compressed record as it is stored.
pub(super) fn is_frame(record: &Record) -> bool {
    !record.aggregated && matches!(Frame::of(&record.data), Some(Ok(_)))
}

/// A record that is not compressed.
pub(super) fn user_record(record: Record) -> Passage {
    let context = record.trace_context().cloned();
    let copy = UserRecord::new(&*record.partition_key, record.data);
    let copy = record.explicit_hash_key.into_iter().fold(copy, UserRecord::with_explicit_hash_key);
    Passage::UserRecord(context.into_iter().fold(copy, UserRecord::with_trace_context))
}

/// A compressed record of a shard that owns `from`, on its way to shards that own the hash keys of `to`. Without `to` it is taken
/// apart in any case.
///
/// # Errors
/// It must be taken apart and cannot be opened.
pub(super) fn of_frame(
    record: &Record,
    from: HashKeyRange,
    to: Option<&[HashKeyRange]>,
    frames: &FrameReader,
) -> Result<Vec<Passage>, FrameError> {
    let as_it_is = || UserRecord::new(&*record.partition_key, record.data.clone());
    let is_owned = |keys: HashKeyRange| to.is_some_and(|to| to.iter().any(|range| covers(range, keys)));
    let placed = |keys: HashKeyRange| vec![Passage::Frame(as_it_is().with_explicit_hash_key(keys.start), keys)];
    if is_owned(from) {
        return Ok(placed(from));
    }
    let deaggregator = Deaggregator::new().within(from).opening_with(frames.clone());
    let content = match deaggregator.deaggregate_strictly(&record.partition_key, &record.data) {
        Err(DeaggregateError::Frame(error)) => return Err(error),
        Err(_) => deaggregator.deaggregate(&record.partition_key, &record.data),
        Ok(content) => content,
    };
    let is_single = content.records.iter().any(|record| record.sub_sequence_number.is_none());
    match keys_of(&content.records) {
        // Its own hash key is not known: Kinesis does not return it.
        Some(keys) if is_single && to.is_some() => Ok(vec![Passage::Frame(as_it_is(), keys)]),
        Some(keys) if is_owned(keys) => Ok(placed(keys)),
        _ => Ok(content.records.into_iter().map(of_content).collect()),
    }
}

/// True if the range owns all of these hash keys.
pub(super) fn covers(range: &HashKeyRange, keys: HashKeyRange) -> bool {
    range.contains(keys.start) && range.contains(keys.end)
}

/// From the lowest to the highest hash key.
fn keys_of(records: &[DeaggregatedRecord]) -> Option<HashKeyRange> {
    let hash_key = |record: &DeaggregatedRecord| {
        record.explicit_hash_key.unwrap_or_else(|| HashKey::of_partition_key(&record.partition_key))
    };
    let keys = || records.iter().map(hash_key);
    Some(HashKeyRange { start: keys().min()?, end: keys().max()? })
}

fn of_content(record: DeaggregatedRecord) -> Passage {
    let copy = UserRecord::new(&*record.partition_key, record.data);
    let copy = record.explicit_hash_key.into_iter().fold(copy, UserRecord::with_explicit_hash_key);
    Passage::UserRecord(record.trace_context.into_iter().fold(copy, |copy, context| copy.with_trace_context(*context)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kpl::{
        aggregated::Aggregate,
        compressed::{Compression, Dictionary, FrameWriter},
    };

    use super::*;

    const FULL: HashKeyRange = HashKeyRange::FULL;

    /// A compressed aggregate of records with these hash keys.
    fn frame(hash_keys: &[u128], dictionary: Option<&Dictionary>) -> Record {
        let mut aggregate = Aggregate::new();
        for hash_key in hash_keys {
            aggregate.push(UserRecord::new("k", "x".repeat(200)).with_explicit_hash_key(HashKey(*hash_key)));
        }
        compressed(&aggregate.encode(), dictionary)
    }

    fn compressed(content: &[u8], dictionary: Option<&Dictionary>) -> Record {
        let data = FrameWriter::new(Compression::Zstd(1), dictionary.cloned()).frame(content).expect("shorter");
        Record::new("a", data, "1".parse().expect("a number"))
    }

    fn halves() -> [HashKeyRange; 2] {
        let middle = u128::MAX / 2;
        [(0, middle), (middle + 1, u128::MAX)]
            .map(|(start, end)| HashKeyRange { start: HashKey(start), end: HashKey(end) })
    }

    fn unknown() -> Dictionary {
        let samples: Vec<String> = (0..2_000).map(|n| format!("{{\"id\":{n},\"symbol\":\"AMZN\"}}")).collect();
        let samples: Vec<&[u8]> = samples.iter().map(String::as_bytes).collect();
        Dictionary::train(&samples, 1_024).expect("enough samples")
    }

    fn passages(record: &Record, from: HashKeyRange, to: Option<&[HashKeyRange]>) -> Vec<Passage> {
        of_frame(record, from, to, &FrameReader::new()).expect("opened")
    }

    #[test]
    fn a_frame_stays_as_it_is_where_a_shard_owns_all_of_its_own_shard() {
        let dictionary = unknown();
        for record in [frame(&[1, 2], None), frame(&[1, 2], Some(&dictionary))] {
            let [lower, _] = halves();
            let kept = passages(&record, lower, Some(&halves()));

            let as_it_is = UserRecord::new("a", record.data.clone()).with_explicit_hash_key(HashKey(0));
            assert_eq!(kept, [Passage::Frame(as_it_is, lower)]);
        }
    }

    #[test]
    fn a_frame_stays_as_it_is_where_a_smaller_shard_owns_what_is_in_it() {
        let record = frame(&[7, 9], None);
        let kept = passages(&record, FULL, Some(&halves()));

        let keys = HashKeyRange { start: HashKey(7), end: HashKey(9) };
        assert_eq!(kept, [Passage::Frame(UserRecord::new("a", record.data).with_explicit_hash_key(HashKey(7)), keys)]);
    }

    #[test]
    fn a_frame_of_several_shards_is_taken_apart_with_its_keys() {
        for to in [Some(&halves()[..]), None] {
            let apart = passages(&frame(&[7, u128::MAX], None), FULL, to);

            let keys: Vec<_> = apart.iter().map(|passage| passage.record().explicit_hash_key()).collect();
            assert_eq!(keys, [Some(HashKey(7)), Some(HashKey(u128::MAX))]);
            assert!(apart.iter().all(|passage| !passage.is_frame() && passage.record().data().len() == 200));
        }
    }

    #[test]
    fn a_frame_of_a_single_record_keeps_its_partition_key_alone() {
        let record = compressed(&[b'x'; 500], None);
        let own = HashKey::of_partition_key("a");

        let kept = passages(&record, FULL, Some(&halves()));
        let key = HashKeyRange { start: own, end: own };
        assert_eq!(kept, [Passage::Frame(UserRecord::new("a", record.data.clone()), key)]);
        let opened = passages(&record, FULL, None);
        assert_eq!(opened, [Passage::UserRecord(UserRecord::new("a", Bytes::from(vec![b'x'; 500])))]);
    }

    #[test]
    fn a_frame_that_must_be_taken_apart_needs_its_dictionary() {
        let dictionary = unknown();
        let record = frame(&[7, u128::MAX], Some(&dictionary));

        let closed = of_frame(&record, FULL, Some(&halves()), &FrameReader::new());
        assert!(matches!(closed, Err(FrameError::UnknownDictionary { id, .. }) if id == dictionary.id()), "{closed:?}");
        let reader = FrameReader::new().with_dictionary(dictionary);
        assert_eq!(of_frame(&record, FULL, Some(&halves()), &reader).map(|apart| apart.len()), Ok(2));
    }
}
