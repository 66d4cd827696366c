use md5::{Digest as _, Md5};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

mod message;
use crate::{hash_key::HashKey, trace_context::TraceContext};

fn aggregate_of(records: &[UserRecord]) -> Aggregate {
    let mut aggregate = Aggregate::new();
    records.iter().for_each(|record| aggregate.push(record));
    aggregate
}

fn position_or_push(table: &mut Vec<String>, key: String) -> u64 {
    let position = table.iter().position(|known| *known == key);
    position.unwrap_or_else(|| {
        table.push(key);
        table.len() - 1
    }) as u64
}

/// The same records through `prost`.
fn encode_by_prost(records: &[UserRecord]) -> Vec<u8> {
    let mut all = message::AggregatedRecord::default();
    for record in records {
        let partition_key_index = position_or_push(&mut all.partition_key_table, record.partition_key().to_owned());
        let explicit_hash_key_index =
            record.explicit_hash_key().map(|key| position_or_push(&mut all.explicit_hash_key_table, key.to_string()));
        let data = record.data().to_vec();
        let tags = record.trace_context().map(tags_for_prost).unwrap_or_default();
        all.records.push(message::Record { partition_key_index, explicit_hash_key_index, data, tags });
    }
    let body = all.encode_to_vec();
    [&MAGIC[..], &body, &Md5::digest(&body)].concat()
}

fn tags_for_prost(context: &TraceContext) -> Vec<message::Tag> {
    let tag = |(key, value): (&str, &str)| message::Tag { key: key.to_owned(), value: Some(value.to_owned()) };
    let tracestate = context.tracestate().map(|text| ("tracestate", text));
    [("traceparent", context.traceparent())].into_iter().chain(tracestate).map(tag).collect()
}

fn any_context() -> impl Strategy<Value = TraceContext> {
    let tracestate = prop::option::of("[a-z]{1,9}=[!-+]{1,200}");
    (1_u128.., 1_u64.., 0..4, tracestate).prop_map(|(trace_id, parent_id, flags, tracestate)| {
        let context = TraceContext::parse(&format!("00-{trace_id:032x}-{parent_id:016x}-0{flags}")).expect("valid");
        tracestate.into_iter().fold(context, |context, text| context.with_tracestate(&text).expect("valid"))
    })
}

fn any_record() -> impl Strategy<Value = UserRecord> {
    let key = prop_oneof!["[a-c]{1,2}", "\\PC{1,40}"];
    let hash_key = prop::option::of(prop_oneof![0..3_u128, any::<u128>(), Just(u128::MAX)]);
    let context = prop::option::weighted(0.3, any_context());
    (key, hash_key, prop::collection::vec(any::<u8>(), 0..300), context).prop_map(|(key, hash_key, data, context)| {
        let record =
            hash_key.map(HashKey).into_iter().fold(UserRecord::new(key, data), UserRecord::with_explicit_hash_key);
        context.into_iter().fold(record, UserRecord::with_trace_context)
    })
}

proptest! {
    #[test]
    fn bytes_are_those_of_an_independent_encoder(records in prop::collection::vec(any_record(), 0..200)) {
        prop_assert_eq!(aggregate_of(&records).encode(), encode_by_prost(&records));
    }

    #[test]
    fn the_size_is_known_before_and_after_each_record(records in prop::collection::vec(any_record(), 1..60)) {
        let mut aggregate = Aggregate::new();
        for record in &records {
            let predicted = aggregate.size_with(record);
            aggregate.push(record);
            prop_assert_eq!(aggregate.size_bytes(), predicted);
            prop_assert_eq!(aggregate.encode().len(), predicted);
        }
    }

    #[test]
    fn the_records_come_out_again_as_they_went_in(records in prop::collection::vec(any_record(), 0..60)) {
        let aggregate = aggregate_of(&records);

        prop_assert_eq!(aggregate.first_partition_key(), records.first().map(UserRecord::partition_key));
        prop_assert_eq!(aggregate.user_records(), records);
    }

    #[test]
    fn varint_lengths_agree_with_the_bytes_written(value: u64) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(varint_len(value), out.len());
    }
}

#[test]
fn a_record_that_does_not_fit_leaves_everything_as_it_was() {
    let record = UserRecord::new("alpha", "hello");
    let mut aggregate = Aggregate::new();
    let size = aggregate.size_with(&record);

    assert!(!aggregate.try_push(&record, size - 1));
    assert!(aggregate.is_empty() && aggregate.size_bytes() == MAGIC.len() + DIGEST_LEN);
    assert!(aggregate.try_push(&record, size));
    assert_eq!((aggregate.len(), aggregate.size_bytes()), (1, size));
}

#[test]
fn a_thousand_keys_keep_their_indexes() {
    let keys: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
    let records: Vec<_> = keys.iter().chain(&keys).map(|key| UserRecord::new(key, "x")).collect();

    assert_eq!(aggregate_of(&records).encode(), encode_by_prost(&records));
}
