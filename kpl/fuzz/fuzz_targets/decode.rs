//! Decodes arbitrary bytes, as they are and as the body of an aggregate with a right digest. What is decoded as a sound
//! aggregate is the same after it was encoded and decoded again.

#![no_main]

use bytes::Bytes;
use kpl::{
    HashKeyRange, UserRecord,
    aggregated::{Aggregate, AggregatedRecord, Deaggregator, Decoded, MAGIC, decode},
};
use libfuzzer_sys::fuzz_target;
use md5::{Digest as _, Md5};

fuzz_target!(|body: &[u8]| {
    look_at(&Bytes::copy_from_slice(body));
    look_at(&[&MAGIC[..], body, Md5::digest(body).as_slice()].concat().into());
});

fn look_at(data: &Bytes) {
    let decoded = decode(data);
    let lenient = Deaggregator::new().deaggregate("outer", data);
    let strict = Deaggregator::new().within(HashKeyRange::FULL).deaggregate_strictly("outer", data);
    match decoded {
        Decoded::Plain => assert_eq!(lenient.records.len(), 1),
        Decoded::Malformed(records) => {
            assert!(strict.is_err());
            assert_eq!(lenient.records.len(), records.len());
        }
        Decoded::Aggregate(records) => {
            assert_eq!(strict, Ok(lenient));
            // Without records there is no body, and without a body no aggregate.
            if !records.is_empty() {
                assert_eq!(decode(&encoded(&records)), Decoded::Aggregate(records));
            }
        }
        other => panic!("no property of {other:?}"),
    }
}

fn encoded(records: &[AggregatedRecord]) -> Bytes {
    let mut aggregate = Aggregate::new();
    for record in records {
        let plain = UserRecord::new(&*record.partition_key, record.data.clone());
        let with_hash_key = record.explicit_hash_key.into_iter().fold(plain, UserRecord::with_explicit_hash_key);
        let context = record.trace_context.as_deref().cloned();
        aggregate.push(context.into_iter().fold(with_hash_key, UserRecord::with_trace_context));
    }
    aggregate.encode()
}
