//! Byte-exact vectors of the format. They were made by an encoder independent of this one and checked against Google's
//! protobuf 7.36.2 and `aws_kinesis_agg` 1.2.3, which agree on every one that is valid.

use bytes::Bytes;

use super::{Aggregate, Decoded, MalformedReason, decode};
use crate::{
    hash_key::{HashKey, HashKeyRange},
    record::UserRecord,
    trace_context::TraceContext,
};

const V1: &str =
    "f3899ac20a05616c7068610a04626574611a0908001a0568656c6c6f1a0908011a05776f726c641d27993ca4a60179a460cc6247c9ba5a";
const V2: &str = "f3899ac20a06757365722d310a06757365722d3212013012273334303238323336363932303933383436333436333337343630373433\
    313736383231313435351a0508001a01611a08080010001a0262621a09080110011a036363631a06080110001a0095cb2243d7f9ac7f8febb9\
    716e8b9eb4";
const V3: &str = "f3899ac20a05c3a9e4b8961a0408001a001a0708001a0300ff80224888cb06e015b5cc955a29a4846946";
const V5: &str = "f3899ac20a036475700a01781a0508001a01311a0508011a01321a0508001a013339ca0eb9b5d7e3d31300955279e7d77b";
const T1: &str =
    "f3899ac20a01701a0e08001a02743022060a016b1201761a0e08001a02743122060a016b120176981bb88d6bbf9d23e931a24ea5d9c2b8";
const T2: &str = "f3899ac20a05616c7068611a5108001a0568656c6c6f22460a0b7472616365706172656e74123730302d34626639326633353737623334\
    646136613363653932396430653065343733362d303066303637616130626139303262372d3031d59241abe2b742fba59783d877af351f";
const T3: &str = "f3899ac20a05616c7068610a04626574611201371a880108001a0568656c6c6f22460a0b7472616365706172656e74123730302d346266\
    39326633353737623334646136613363653932396430653065343733362d303066303637616130626139303262372d303122350a0a7472\
    61636573746174651227726f6a6f3d303066303637616130626139303262372c636f6e676f3d7436317263576b674d7a451a4e08011000\
    1a0022460a0b7472616365706172656e74123730302d30616637363531393136636434336464383434386562323131633830333139632d\
    623761643662373136393230333333312d30301a0908011a05776f726c64ff4479be51c61a48b8ae4bb740fde6d2";
const N2: &str =
    "f3899ac20a05616c7068610a04626574611a0908001a0568656c6c6f1a0908011a05776f726c307010f9961e943d2ab20e475cc29546";
const N3: &str = "f3899ac2d41d8cd98f00b204e9800998ecf8427e";
const N5: &str = "f3899ac20a01701a0608001a026f6b1a0708051a036261645331fbf64d8cefeef107e9d0eaaf0489";
const N6: &str = "f3899ac20a0170644877cb891859c4827e14847f4dc64d";
const N7: &str = "f3899ac20a01701a031a01788797cb8d0e96760e78cffe5fcf55aea7";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).expect("hex digit")).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn record(partition_key: &str, hash_key: Option<u128>, data: impl Into<Bytes>) -> UserRecord {
    let record = UserRecord::new(partition_key, data.into());
    match hash_key {
        Some(key) => record.with_explicit_hash_key(HashKey(key)),
        None => record,
    }
}

/// Encodes to exactly `expected`, decodes back to exactly `records`, and would carry `outer` as explicit hash key.
#[track_caller]
fn assert_golden(records: &[UserRecord], expected: &Bytes, outer: u128) {
    let mut aggregate = Aggregate::new();
    records.iter().for_each(|record| aggregate.push(record));

    assert_eq!(aggregate.encode(), expected);
    assert_eq!(aggregate.size_bytes(), expected.len());
    assert_eq!(records[0].hash_key(), HashKey(outer));
    assert_eq!(decoded(expected), records);
}

#[track_caller]
fn decoded(data: &Bytes) -> Vec<UserRecord> {
    let Decoded::Aggregate(records) = decode(data) else { panic!("not an aggregate: {data:x?}") };
    let user_record = |r: super::AggregatedRecord| {
        let record = record(&r.partition_key, r.explicit_hash_key.map(|key| key.0), r.data);
        r.trace_context.into_iter().map(|context| *context).fold(record, UserRecord::with_trace_context)
    };
    records.into_iter().map(user_record).collect()
}

fn v1() -> [UserRecord; 2] {
    [record("alpha", None, "hello"), record("beta", None, "world")]
}

#[test]
fn v1_two_partition_keys() {
    assert_golden(&v1(), &bytes(V1), 58606826522850340945736240254012750329);
}

#[test]
fn v2_explicit_hash_keys_and_empty_data() {
    let records = [
        record("user-1", None, "a"),
        record("user-1", Some(0), "bb"),
        record("user-2", Some(u128::MAX), "ccc"),
        record("user-2", Some(0), ""),
    ];
    assert_golden(&records, &bytes(V2), 285573413173782752570879317399258818820);
}

#[test]
fn v3_utf8_key_and_binary_data() {
    let records = [record("é世", None, ""), record("é世", None, &[0x00, 0xff, 0x80][..])];
    assert_golden(&records, &bytes(V3), 206116374402339762050219459786325502907);
}

#[test]
fn v4_lengths_of_two_bytes() {
    let records = [record("k", None, vec![0x78; 200]), record("k", None, vec![0x79; 127])];
    let expected = [
        &bytes("f3899ac20a016b1acd0108001ac801")[..],
        &[0x78; 200],
        &bytes("1a8301 08001a7f".replace(' ', "").as_str()),
        &[0x79; 127],
        &bytes("3c786ca47d80c424a48cf50b8649279b"),
    ];
    assert_golden(&records, &expected.concat().into(), 187279361568289349169310600456257773043);
}

#[test]
fn v5_a_key_that_comes_back_has_one_table_entry() {
    let records = [record("dup", None, "1"), record("x", None, "2"), record("dup", None, "3")];
    assert_golden(&records, &bytes(V5), 19435386884216731832111141375585750260);
}

#[test]
fn v6_indexes_of_two_bytes() {
    let records: Vec<_> = (0..200).map(|i| record(&format!("pk-{i:03}"), None, format!("d{i:03}"))).collect();
    let mut aggregate = Aggregate::new();
    records.iter().for_each(|record| aggregate.push(record));

    let encoded = aggregate.encode();

    assert_eq!(encoded.len(), 3692);
    assert_eq!(encoded[3692 - 16..], bytes("09ade0c878a8c5ad7551567e5810f33e"));
    assert_eq!(records[0].hash_key(), HashKey(165525485778879456373526351415792933225));
    assert_eq!(decoded(&encoded), records);
}

#[test]
fn v7_the_data_of_a_single_record_is_plain() {
    assert_eq!(decode(&bytes("68656c6c6f")), Decoded::Plain);
}

#[test]
fn t1_other_tags_are_ignored() {
    assert_eq!(decoded(&bytes(T1)), [record("p", None, "t0"), record("p", None, "t1")]);
}

fn context(traceparent: &str) -> TraceContext {
    TraceContext::parse(traceparent).expect("valid")
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn t2_a_lone_record_with_a_trace_context() {
    let traced = record("alpha", None, "hello").with_trace_context(context(PARENT));
    assert_golden(&[traced], &bytes(T2), 58606826522850340945736240254012750329);
}

#[test]
fn t3_trace_contexts_beside_a_record_without() {
    let with_state = context(PARENT).with_tracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").expect("valid");
    let other = context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let records = [
        record("alpha", None, "hello").with_trace_context(with_state),
        record("beta", Some(7), "").with_trace_context(other),
        record("beta", None, "world"),
    ];
    assert_golden(&records, &bytes(T3), 58606826522850340945736240254012750329);
}

#[test]
fn n1_to_n4_and_n7_are_plain() {
    let n1 = V1.replace("c9ba5a", "c9ba5b");
    for (name, hex) in [("n1", n1.as_str()), ("n2", N2), ("n3", N3), ("n4", "f3899ac2"), ("n7", N7), ("empty", "")] {
        assert_eq!(decode(&bytes(hex)), Decoded::Plain, "{name}");
    }
}

#[test]
fn n3_is_what_an_aggregate_without_records_is_encoded_to() {
    assert_eq!(Aggregate::new().encode(), bytes(N3));
}

#[test]
fn n5_reports_a_record_outside_of_the_table_and_reads_the_others() {
    let Decoded::Malformed(records) = decode(&bytes(N5)) else { panic!("malformed") };

    assert_eq!(records.len(), 2);
    assert_eq!(&records[0].as_ref().expect("readable").data[..], b"ok");
    let malformed = records[1].as_ref().expect_err("its partition key index is 5");
    assert_eq!(malformed.position, 1);
    assert_eq!(malformed.reason, MalformedReason::PartitionKeyIndex { index: 5, len: 1 });
    assert_eq!(&malformed.data[..], b"bad");
}

#[test]
fn n6_an_aggregate_may_be_empty() {
    assert_eq!(decode(&bytes(N6)), Decoded::Aggregate(vec![]));
}

#[test]
fn finds_one_record_of_v1_in_half_the_space_and_both_in_the_whole() {
    let Decoded::Aggregate(records) = decode(&bytes(V1)) else { panic!("an aggregate") };
    let half = HashKeyRange { start: HashKey::MIN, end: HashKey(u128::MAX / 2) };

    let owned = |range| records.iter().map(|record| record.belongs_in(range)).collect::<Vec<_>>();

    assert_eq!(owned(&half), [true, false]);
    assert_eq!(owned(&HashKeyRange::FULL), [true, true]);
}
