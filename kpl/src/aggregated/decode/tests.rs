use crate::aggregated::{DIGEST_LEN, MAGIC};
use md5::{Digest as _, Md5};
use proptest::prelude::*;

use super::{super::Aggregate, *};
use crate::record::UserRecord;

fn enveloped(body: &[u8]) -> Bytes {
    [&MAGIC[..], body, &Md5::digest(body)].concat().into()
}

fn user_record(record: &AggregatedRecord) -> UserRecord {
    let plain = UserRecord::new(&*record.partition_key, record.data.clone());
    match record.explicit_hash_key {
        Some(key) => plain.with_explicit_hash_key(key),
        None => plain,
    }
}

#[test]
fn data_is_a_slice_of_the_kinesis_record() {
    let mut aggregate = Aggregate::new();
    aggregate.push(UserRecord::new("k", "first"));
    aggregate.push(UserRecord::new("k", "second"));
    let data = aggregate.encode();

    let Decoded::Aggregate(records) = decode(&data) else { panic!("an aggregate") };

    let inside = data.as_ptr_range();
    assert!(records.iter().all(|record| inside.contains(&record.data.as_ptr())));
    assert!(records[0].partition_key.shares_with(&records[1].partition_key));
}

#[test]
fn unknown_fields_and_groups_are_skipped() {
    // Field 9: varint, 8 bytes, bytes, a group that holds another, 4 bytes.
    let unknown = [0x48, 1, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x4a, 1, 0, 0x4b, 0x53, 0x54, 0x4c, 0x4d, 1, 2, 3, 4];
    let body = [&b"\x0a\x01p"[..], &unknown, b"\x1a\x05\x08\x00\x1a\x01x"].concat();

    let Decoded::Aggregate(records) = decode(&enveloped(&body)) else { panic!("an aggregate") };
    assert_eq!(records.len(), 1);
}

#[test]
fn a_group_without_end_or_with_a_wrong_end_makes_a_plain_record() {
    for broken in [&[0x4b][..], &[0x4b, 0x54], &[0x4c], &[0x4b, 0x53, 0x4c, 0x54], &[0x4f], &[0x00, 0x00]] {
        assert_eq!(decode(&enveloped(broken)), Decoded::Plain, "{broken:x?}");
    }
    assert_eq!(decode(&enveloped(&[0x4b; 1000])), Decoded::Plain);
}

#[test]
fn a_tag_without_its_key_makes_a_plain_record() {
    let body = b"\x0a\x01p\x1a\x0a\x08\x00\x1a\x01x\x22\x03\x12\x01v";

    assert_eq!(decode(&enveloped(body)), Decoded::Plain);
}

#[test]
fn a_traceparent_that_is_none_spares_the_record() {
    let tag = b"\x22\x10\x0a\x0btraceparent\x12\x01v";
    let body = [&b"\x0a\x01p\x1a\x17\x08\x00\x1a\x01x"[..], tag].concat();

    let Decoded::Aggregate(records) = decode(&enveloped(&body)) else { panic!("an aggregate") };

    assert_eq!((&records[0].data[..], &records[0].trace_context), (&b"x"[..], &None));
}

#[test]
fn a_trace_context_stays_with_its_record_behind_a_malformed_one() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let tag = [&b"\x22\x46\x0a\x0btraceparent\x12\x37"[..], parent.as_bytes()].concat();
    let traced = |index: u8| [&b"\x1a\x4d\x08"[..], &[index], b"\x1a\x01x", &tag].concat();
    let body = [&b"\x0a\x01p"[..], &traced(9), b"\x1a\x05\x08\x00\x1a\x01y", &traced(0)].concat();

    let Decoded::Malformed(records) = decode(&enveloped(&body)) else { panic!("malformed") };

    let found =
        records.iter().flatten().map(|record| record.trace_context.as_ref().map(|context| context.traceparent()));
    assert_eq!(found.collect::<Vec<_>>(), [None, Some(parent)]);
}

#[test]
fn a_hash_key_that_is_no_number_spares_the_other_records() {
    let body = b"\x0a\x01p\x12\x02 5\x1a\x07\x08\x00\x10\x00\x1a\x01x\x1a\x05\x08\x00\x1a\x01y";

    let Decoded::Malformed(records) = decode(&enveloped(body)) else { panic!("malformed") };

    let malformed = records[0].as_ref().unwrap_err();
    assert_eq!((malformed.reason.clone(), &malformed.data[..]), (MalformedReason::ExplicitHashKey, &b"x"[..]));
    assert_eq!(&records[1].as_ref().unwrap().data[..], b"y");
}

/// (p, `hash_key`, "x"), (p, -, "y")
fn with_hash_key(hash_key: &str) -> Bytes {
    let body = b"\x1a\x07\x08\x00\x10\x00\x1a\x01x\x1a\x05\x08\x00\x1a\x01y";
    enveloped(&[b"\x0a\x01p\x12", &[hash_key.len() as u8][..], hash_key.as_bytes(), body].concat())
}

#[test]
fn the_tables_of_an_aggregate_have_unused_entries_too() {
    let data = enveloped(b"\x0a\x01p\x0a\x06unused\x12\x017\x12\x01x\x1a\x05\x08\x00\x1a\x01y");
    let enveloped = Enveloped::of(&data).unwrap();
    let aggregate = enveloped.parse().unwrap();

    assert_eq!(aggregate.partition_keys(), ["p", "unused"]);
    assert_eq!(aggregate.explicit_hash_keys(), [Ok(HashKey(7)), Err(MalformedReason::ExplicitHashKey)]);
}

#[test]
fn explicit_hash_keys_are_read_as_the_kcl_reads_them() {
    let max = u128::MAX.to_string();
    for (text, key) in [("+5", 5), ("-0", 0), ("007", 7), (max.as_str(), u128::MAX)] {
        let Decoded::Aggregate(records) = decode(&with_hash_key(text)) else { panic!("an aggregate: {text}") };
        assert_eq!(records[0].explicit_hash_key, Some(HashKey(key)), "{text}");
    }
    use MalformedReason::{ExplicitHashKey, ExplicitHashKeyOutside};
    let above = "340282366920938463463374607431768211456";
    for (text, reason) in [
        (above, ExplicitHashKeyOutside),
        ("-1", ExplicitHashKeyOutside),
        (" 5", ExplicitHashKey),
        ("", ExplicitHashKey),
        ("+", ExplicitHashKey),
        ("+-5", ExplicitHashKey),
        ("5x", ExplicitHashKey),
    ] {
        let Decoded::Malformed(records) = decode(&with_hash_key(text)) else { panic!("malformed: {text}") };
        assert_eq!(records[0].as_ref().unwrap_err().reason, reason, "{text}");
        assert!(records[1].is_ok(), "{text}");
    }
}

#[test]
fn an_aggregate_with_a_hash_key_that_no_shard_owns_belongs_in_none() {
    for (text, belongs) in [("340282366920938463463374607431768211456", false), ("-1", false), (" 5", true)] {
        let data = with_hash_key(text);
        let enveloped = Enveloped::of(&data).expect("enveloped");
        assert_eq!(enveloped.parse().expect("an aggregate").belongs_in(&HashKeyRange::FULL), belongs, "{text}");
    }
}

#[test]
fn a_hash_key_index_outside_of_its_table_is_malformed() {
    let body = b"\x0a\x01p\x1a\x07\x08\x00\x10\x04\x1a\x01x";

    let Decoded::Malformed(records) = decode(&enveloped(body)) else { panic!("malformed") };

    let malformed = records[0].as_ref().unwrap_err();
    assert_eq!(malformed.reason, MalformedReason::ExplicitHashKeyIndex { index: 4, len: 0 });
    let text = "user record 0 of the aggregate is malformed: explicit hash key index 4 is outside of a table of 0";
    assert_eq!(malformed.to_string(), text);
}

proptest! {
    #[test]
    fn decodes_encoded_records(
        records in prop::collection::vec(("\\PC{1,8}", prop::option::of(any::<u128>()), ".{0,50}"), 1..50),
    ) {
        let records: Vec<_> = records
            .into_iter()
            .map(|(key, hash_key, data)| match hash_key {
                Some(hash_key) => UserRecord::new(key, data).with_explicit_hash_key(HashKey(hash_key)),
                None => UserRecord::new(key, data),
            })
            .collect();
        let mut aggregate = Aggregate::new();
        records.iter().for_each(|record| aggregate.push(record));

        let Decoded::Aggregate(decoded) = decode(&aggregate.encode()) else { panic!("an aggregate") };
        prop_assert_eq!(decoded.iter().map(user_record).collect::<Vec<_>>(), records);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&enveloped(&body));
        decode(&body.into());
    }

    #[test]
    fn no_mutation_of_an_aggregate_makes_it_panic(position in 0_usize..200, byte: u8, cut in 0_usize..50) {
        let mut aggregate = Aggregate::new();
        for n in 0..20_u8 {
            aggregate.push(UserRecord::new(format!("k{}", n % 3), vec![n; 3]).with_explicit_hash_key(HashKey(n.into())));
        }
        let whole = aggregate.encode();
        let mut body = whole[MAGIC.len()..whole.len() - DIGEST_LEN].to_vec();
        let position = position % body.len();
        body[position] = byte;
        body.truncate(body.len() - cut);
        decode(&enveloped(&body));
    }
}
