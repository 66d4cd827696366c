//! What holds after any sequence of calls.

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
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

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
    fn no_body_makes_an_operation_panic(operation in operation(), body in body()) {
        let service = Service::with_stream(2);

        // Whatever the answer is, there is one, and the service goes on.
        let _ = service.raw(operation, &body);
        service.put("k", "still here");
    }
}

fn operation() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "CreateStream",
        "DescribeStream",
        "DescribeStreamSummary",
        "ListStreams",
        "ListShards",
        "PutRecord",
        "PutRecords",
        "GetShardIterator",
        "GetRecords",
        "SplitShard",
        "MergeShards",
        "UpdateShardCount",
        "IncreaseStreamRetentionPeriod",
        "DecreaseStreamRetentionPeriod",
        "UpdateMaxRecordSize",
        "Unknown",
        "",
    ])
}

/// Fields that operations know, with values that they may or may not expect.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = proptest::sample::select(vec![
        "StreamName",
        "StreamARN",
        "ShardCount",
        "Limit",
        "MaxResults",
        "NextToken",
        "ExclusiveStartShardId",
        "ShardFilter",
        "Records",
        "Data",
        "PartitionKey",
        "ExplicitHashKey",
        "ShardId",
        "ShardIteratorType",
        "StartingSequenceNumber",
        "Timestamp",
        "ShardIterator",
        "ShardToSplit",
        "NewStartingHashKey",
        "ShardToMerge",
        "AdjacentShardToMerge",
        "TargetShardCount",
        "ScalingType",
        "RetentionPeriodHours",
        "Type",
        "MaxRecordSizeInKiB",
        "StreamCreationTimestamp",
        "SequenceNumberForOrdering",
        "StreamModeDetails",
    ]);
    let known = proptest::sample::select(vec![
        "s",
        "shardId-000000000000",
        "shardId-000000000001",
        "TRIM_HORIZON",
        "AT_TIMESTAMP",
        "AT_SEQUENCE_NUMBER",
        "UNIFORM_SCALING",
        "aGk=",
        "170141183460469231731687303715884105728",
        "AFTER_SHARD_ID",
        "ON_DEMAND",
        "arn:aws:kinesis:us-east-1:000000000000:stream/s",
    ]);
    let leaf = prop_oneof![
        3 => known.prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => (-2_i64..30_000).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let object = move |value: BoxedStrategy<Value>| {
        proptest::collection::btree_map(field.clone().prop_map(str::to_owned), value, 0..6).prop_map(Value::from_iter)
    };
    let nested = object.clone();
    let value = leaf
        .prop_recursive(3, 24, 4, move |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
            prop_oneof![list, nested(inner.boxed())]
        })
        .boxed();
    let fields = proptest::sample::select(vec![true, true, true, false]);
    (fields, object(value.clone()), value, proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(whole, object, value, garbage)| match (whole, garbage.len()) {
            (true, _) => object.to_string().into_bytes(),
            (false, 0..10) => value.to_string().into_bytes(),
            (false, _) => garbage,
        },
    )
}
