//! Properties that hold after any sequence of calls.

use std::collections::{BTreeMap, HashMap, VecDeque};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Service, data, text};

/// One step of a stream's life. Numbers pick among what there is.
#[derive(Clone, Debug)]
enum Act {
    Put { key: u8 },
    Split { shard: usize, at: u128 },
    Merge { shard: usize },
    Scale { target: i64 },
    Wait { millis: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<u8>().prop_map(|key| Act::Put { key }),
        2 => (any::<usize>(), any::<u128>()).prop_map(|(shard, at)| Act::Split { shard, at }),
        2 => any::<usize>().prop_map(|shard| Act::Merge { shard }),
        1 => (1_i64..12).prop_map(|target| Act::Scale { target }),
        1 => (0_u64..5_000).prop_map(|millis| Act::Wait { millis }),
    ]
}

#[derive(Clone, Debug)]
struct Shard {
    id: String,
    parents: Vec<String>,
    start: u128,
    end: u128,
    starting: String,
    ending: Option<String>,
}

fn shards(service: &Service) -> Vec<Shard> {
    let answer = service.ok("ListShards", json!({ "StreamName": "s" }));
    assert!(answer.get("NextToken").is_none(), "the trees of these tests fit a page");
    let number = |value: &Value| text(value).parse().unwrap();
    let read = |shard: &Value| Shard {
        id: text(&shard["ShardId"]),
        parents: ["ParentShardId", "AdjacentParentShardId"].iter().filter_map(|key| shard.get(key)).map(text).collect(),
        start: number(&shard["HashKeyRange"]["StartingHashKey"]),
        end: number(&shard["HashKeyRange"]["EndingHashKey"]),
        starting: text(&shard["SequenceNumberRange"]["StartingSequenceNumber"]),
        ending: shard["SequenceNumberRange"].get("EndingSequenceNumber").map(text),
    };
    answer["Shards"].as_array().unwrap().iter().map(read).collect()
}

/// The open shards in the order of their hash keys.
fn open_shards(service: &Service) -> Vec<Shard> {
    let mut open: Vec<_> = shards(service).into_iter().filter(|shard| shard.ending.is_none()).collect();
    open.sort_by_key(|shard| shard.start);
    open
}

/// Performs the act; what the service refuses changes nothing. Returns what was put.
fn perform(service: &Service, act: &Act, n: usize) -> Option<(u8, String)> {
    let open = open_shards(service);
    match act {
        Act::Put { key } => {
            let value = n.to_string();
            let (shard, number) = service.put(&key.to_string(), &value);
            let shard = open.iter().find(|open| open.id == shard).expect("records go to open shards");
            assert!(number > shard.starting, "{number} is not above {}", shard.starting);
            return Some((*key, value));
        }
        Act::Split { shard, at } => {
            let shard = &open[shard % open.len()];
            let at = shard.start + at % (shard.end - shard.start).max(1);
            let request = json!({ "StreamName": "s", "ShardToSplit": shard.id, "NewStartingHashKey": at.to_string() });
            if let Err(error) = service.call("SplitShard", request) {
                assert_eq!(error.code, "InvalidArgumentException", "{error}");
            }
        }
        Act::Merge { shard } => {
            let (one, other) = (&open[shard % open.len()], &open[(shard % open.len() + 1) % open.len()]);
            let request = json!({ "StreamName": "s", "ShardToMerge": one.id, "AdjacentShardToMerge": other.id });
            if let Err(error) = service.call("MergeShards", request) {
                assert_eq!(error.code, "InvalidArgumentException", "{error}");
            }
        }
        Act::Scale { target } => {
            let request = json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" });
            match service.call("UpdateShardCount", request) {
                Ok(_) => assert_eq!(open_shards(service).len() as i64, *target),
                Err(error) => assert_eq!(error.code, "LimitExceededException", "{error}"),
            }
        }
        Act::Wait { millis } => service.advance(*millis),
    }
    None
}

fn assert_partition(service: &Service) {
    let open = open_shards(service);
    assert_eq!((open[0].start, open[open.len() - 1].end), (0, u128::MAX));
    for pair in open.windows(2) {
        assert_eq!(pair[0].end + 1, pair[1].start, "between {} and {}", pair[0].id, pair[1].id);
    }
}

fn assert_lineage(service: &Service) {
    let all: BTreeMap<_, _> = shards(service).into_iter().map(|shard| (shard.id.clone(), shard)).collect();
    for shard in all.values() {
        assert!(shard.id.ends_with(|c: char| c.is_ascii_digit()) && shard.parents.len() <= 2);
        if let Some(ending) = &shard.ending {
            assert!(*ending >= shard.starting);
        }
        for parent in shard.parents.iter().map(|id| &all[id]) {
            let ending = parent.ending.as_ref().expect("a parent is closed");
            assert!(shard.starting > *ending, "{} starts before {} ends", shard.id, parent.id);
            assert!(shard.start <= parent.end && parent.start <= shard.end, "{} is no child", shard.id);
        }
        // The children of a closed shard cover its hash keys.
        if shard.ending.is_some() {
            let children = all.values().filter(|child| child.parents.contains(&shard.id));
            let mut ranges: Vec<_> = children.map(|child| (child.start, child.end)).collect();
            ranges.sort_unstable();
            assert!(ranges[0].0 <= shard.start && ranges[ranges.len() - 1].1 >= shard.end);
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
    }
}

/// Reads everything, parents before children, as a consumer does; returns the values by key in the order read.
fn read_all(service: &Service, limit: i64) -> HashMap<u8, Vec<String>> {
    let mut read: HashMap<u8, Vec<String>> = HashMap::new();
    let mut unfinished: HashMap<String, usize> = HashMap::new();
    let roots = shards(service).into_iter().filter(|shard| shard.parents.is_empty());
    let mut queue: VecDeque<_> = roots.map(|shard| shard.id).collect();
    while let Some(shard) = queue.pop_front() {
        let mut iterator = service.iterator(&shard, "TRIM_HORIZON");
        loop {
            let answer = service.ok("GetRecords", json!({ "ShardIterator": iterator, "Limit": limit }));
            for (record, value) in answer["Records"].as_array().unwrap().iter().zip(data(&answer)) {
                read.entry(text(&record["PartitionKey"]).parse().unwrap()).or_default().push(value);
            }
            let Some(next) = answer.get("NextShardIterator") else {
                for child in answer["ChildShards"].as_array().expect("the end of a shard names its children") {
                    let parents = child["ParentShards"].as_array().unwrap().len();
                    let left = unfinished.entry(text(&child["ShardId"])).or_insert(parents);
                    *left -= 1;
                    if *left == 0 {
                        queue.push_back(text(&child["ShardId"]));
                    }
                }
                break;
            };
            assert!(answer.get("ChildShards").is_none(), "{answer}");
            if answer["MillisBehindLatest"] == 0 && data(&answer).is_empty() {
                break;
            }
            iterator = text(next);
        }
    }
    read
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_hash_keys_lineage_and_records_whole(
        first in 1_u32..4,
        acts in proptest::collection::vec(act(), 1..60),
        limit in 1_i64..5,
    ) {
        let service = Service::with_stream(first);
        let mut written: HashMap<u8, Vec<String>> = HashMap::new();
        for (n, act) in acts.iter().enumerate() {
            if let Some((key, value)) = perform(&service, act, n) {
                written.entry(key).or_default().push(value);
            }
            assert_partition(&service);
        }

        assert_lineage(&service);
        prop_assert_eq!(read_all(&service, limit), written);
    }

    #[test]
    fn no_field_makes_an_operation_panic(call in 0..CALLS.len(), field in any::<usize>(), value in value()) {
        let service = Service::with_stream(2);
        let (operation, request) = CALLS[call];
        let mut request: Value = serde_json::from_str(request).unwrap();
        let fields = request.as_object_mut().unwrap();
        let name = fields.keys().nth(field % fields.len()).unwrap().clone();
        fields.insert(name, value);

        // Whatever the answer is, there is one, and the service goes on.
        let _ = service.call(operation, request);
        service.advance(1);
        service.ok("ListStreams", json!({}));
    }

    #[test]
    fn no_bytes_make_an_operation_panic(
        call in 0..CALLS.len(),
        body in proptest::collection::vec(any::<u8>(), 0..40),
        cut in any::<usize>(),
    ) {
        let service = Service::with_stream(2);
        let (operation, request) = CALLS[call];

        assert!(service.raw(operation, &body).is_err());
        assert!(service.raw(operation, &request.as_bytes()[..cut % request.len()]).is_err());
    }
}

/// A call of every operation that would do, were it not for a field.
const CALLS: [(&str, &str); 17] = [
    ("CreateStream", r#"{"StreamName":"t","ShardCount":2,"StreamModeDetails":{"StreamMode":"PROVISIONED"}}"#),
    ("DeleteStream", r#"{"StreamName":"s"}"#),
    ("DescribeStream", r#"{"StreamName":"s","Limit":1,"ExclusiveStartShardId":"shardId-000000000000"}"#),
    ("DescribeStreamSummary", r#"{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s"}"#),
    ("ListStreams", r#"{"Limit":1,"ExclusiveStartStreamName":"a","NextToken":null}"#),
    (
        "ListShards",
        r#"{"StreamName":"s","ShardFilter":{"Type":"AT_LATEST"},"MaxResults":1,"StreamCreationTimestamp":1763616000}"#,
    ),
    ("ListShards", r#"{"StreamName":"s","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1},"NextToken":null}"#),
    ("PutRecord", r#"{"StreamName":"s","Data":"aGk=","PartitionKey":"k","ExplicitHashKey":"0","DryRun":false}"#),
    ("PutRecords", r#"{"StreamName":"s","Records":[{"Data":"aGk=","PartitionKey":"k"}]}"#),
    (
        "GetShardIterator",
        r#"{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1}"#,
    ),
    ("GetRecords", r#"{"ShardIterator":"AAAAAAAAAAE=","Limit":1,"StreamARN":null}"#),
    ("SplitShard", r#"{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"9"}"#),
    (
        "MergeShards",
        r#"{"StreamName":"s","ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001"}"#,
    ),
    ("UpdateShardCount", r#"{"StreamName":"s","TargetShardCount":4,"ScalingType":"UNIFORM_SCALING"}"#),
    ("IncreaseStreamRetentionPeriod", r#"{"StreamName":"s","RetentionPeriodHours":48}"#),
    ("DecreaseStreamRetentionPeriod", r#"{"StreamName":"s","RetentionPeriodHours":24}"#),
    ("UpdateMaxRecordSize", r#"{"StreamName":"s","MaxRecordSizeInKiB":2048}"#),
];

/// Any JSON, with a preference for what fields are about.
fn value() -> impl Strategy<Value = Value> {
    const KNOWN: [&str; 10] = [
        "s",
        "shardId-000000000001",
        "TRIM_HORIZON",
        "AT_SEQUENCE_NUMBER",
        "aGk=",
        "AFTER_SHARD_ID",
        "ON_DEMAND",
        "340282366920938463463374607431768211455",
        "shardId-999999999999",
        "arn:aws:kinesis:::stream/",
    ];
    let leaf = prop_oneof![
        proptest::sample::select(&KNOWN[..]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2_i64..30_000).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let names = proptest::sample::select(&["Type", "Timestamp", "ShardId", "Data", "PartitionKey"][..]);
        let object = proptest::collection::btree_map(names.prop_map(str::to_owned), inner.clone(), 0..4);
        prop_oneof![proptest::collection::vec(inner, 0..4).prop_map(Value::from), object.prop_map(Value::from_iter)]
    })
}
