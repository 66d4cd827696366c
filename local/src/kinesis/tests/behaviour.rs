//! Behaviour that needs the clock in hand: statuses that take time, retention, what is forgotten.

use std::time::Duration;

use serde_json::json;

use super::{HOUR, START, Service, data, shard, text};
use crate::kinesis::Delays;

const HALF: &str = "170141183460469231731687303715884105728";

fn slow() -> Service {
    let second = Duration::from_secs(1);
    let service =
        Service::with_delays(Delays { creating: second, updating: second, deleting: second, ..Delays::default() });
    service.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 }));
    service
}

fn status(service: &Service) -> String {
    let summary = service.ok("DescribeStreamSummary", json!({ "StreamName": "s" }));
    text(&summary["StreamDescriptionSummary"]["StreamStatus"])
}

#[test]
fn a_stream_cannot_be_used_before_it_is_active() {
    let service = slow();

    assert_eq!(status(&service), "CREATING");
    let record = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "" });
    assert_eq!(service.code("PutRecord", record), "ResourceNotFoundException");
    assert_eq!(service.code("ListShards", json!({ "StreamName": "s" })), "ResourceInUseException");
    assert_eq!(service.code("DeleteStream", json!({ "StreamName": "s" })), "ResourceInUseException");
    assert_eq!(service.code("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })), "ResourceInUseException");

    service.advance(1000);
    assert_eq!(status(&service), "ACTIVE");
    service.put("k", "");
}

#[test]
fn records_go_to_the_parent_until_the_split_is_done() {
    let service = slow();
    service.advance(1000);
    let split = json!({ "StreamName": "s", "ShardToSplit": shard(0), "NewStartingHashKey": HALF });
    service.ok("SplitShard", split.clone());

    assert_eq!(status(&service), "UPDATING");
    assert_eq!(service.put("k", "before").0, shard(0));
    let refused = service.call("SplitShard", split).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "ResourceInUseException: Stream s under account 000000000000 not ACTIVE, instead in state UPDATING"
    );

    service.advance(999);
    assert_eq!(service.put("k", "just before").0, shard(0));
    service.advance(1);
    assert_eq!(status(&service), "ACTIVE");
    assert_ne!(service.put("k", "after").0, shard(0));
}

#[test]
fn a_deleted_stream_takes_a_while_to_go() {
    let service = slow();
    service.advance(1000);
    let iterator = service.iterator(&shard(0), "TRIM_HORIZON");
    service.ok("DeleteStream", json!({ "StreamName": "s" }));

    assert_eq!(status(&service), "DELETING");
    assert_eq!(service.code("GetRecords", json!({ "ShardIterator": iterator })), "ResourceNotFoundException");
    assert_eq!(service.code("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })), "ResourceInUseException");

    service.advance(1000);
    let gone = service.call("DescribeStreamSummary", json!({ "StreamName": "s" })).unwrap_err();
    assert_eq!(gone.to_string(), "ResourceNotFoundException: Stream s under account 000000000000 not found.");
    assert_eq!(service.ok("ListStreams", json!({}))["StreamNames"], json!([]));
}

#[test]
fn iterators_and_tokens_of_a_stream_do_not_fit_its_namesake() {
    let service = Service::with_stream(2);
    let iterator = service.iterator(&shard(0), "LATEST");
    let page = service.ok("ListShards", json!({ "StreamName": "s", "MaxResults": 1 }));
    service.ok("DeleteStream", json!({ "StreamName": "s" }));
    service.ok("CreateStream", json!({ "StreamName": "s", "ShardCount": 2 }));

    assert_eq!(service.code("GetRecords", json!({ "ShardIterator": iterator })), "ResourceNotFoundException");
    assert_eq!(service.code("ListShards", json!({ "NextToken": page["NextToken"] })), "ResourceNotFoundException");
}

#[test]
fn records_are_kept_for_a_day() {
    let service = Service::with_stream(1);
    let (_, number) = service.put("k", "old");
    service.advance(HOUR);
    service.put("k", "young");

    service.advance(23 * HOUR);
    assert_eq!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))), ["old", "young"]);

    service.advance(1);
    assert_eq!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))), ["young"]);
    let at_trimmed = json!({
        "StreamName": "s", "ShardId": shard(0), "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "StartingSequenceNumber": number,
    });
    let iterator = text(&service.ok("GetShardIterator", at_trimmed)["ShardIterator"]);
    assert_eq!(data(&service.get(&iterator)), ["young"]);
}

#[test]
fn retention_can_be_longer_and_shorter() {
    let service = Service::with_stream(1);
    service.put("k", "old");
    let hours = |hours: i64| json!({ "StreamName": "s", "RetentionPeriodHours": hours });

    service.ok("IncreaseStreamRetentionPeriod", hours(48));
    service.advance(30 * HOUR);
    assert_eq!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))), ["old"]);

    service.ok("DecreaseStreamRetentionPeriod", hours(24));
    assert!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))).is_empty());

    assert_eq!(service.code("IncreaseStreamRetentionPeriod", hours(23)), "InvalidArgumentException");
    assert_eq!(service.code("IncreaseStreamRetentionPeriod", hours(8761)), "InvalidArgumentException");
    assert_eq!(service.code("DecreaseStreamRetentionPeriod", hours(25)), "InvalidArgumentException");
}

#[test]
fn closed_shards_are_forgotten_with_their_last_record() {
    let service = Service::with_stream(1);
    service.put("k", "old");
    service
        .ok("UpdateShardCount", json!({ "StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" }));

    service.advance(24 * HOUR);
    assert_eq!(service.shards(json!({ "Type": "AT_TRIM_HORIZON" })), [shard(0), shard(1), shard(2)]);
    assert_eq!(service.shards(json!({ "Type": "FROM_TRIM_HORIZON" })), [shard(0), shard(1), shard(2)]);

    service.advance(1);
    assert_eq!(service.shards(json!({ "Type": "AT_TRIM_HORIZON" })), [shard(1), shard(2)]);
    assert_eq!(service.shards(json!({ "Type": "FROM_TRIM_HORIZON" })), [shard(1), shard(2)]);
    let request = json!({ "StreamName": "s", "ShardId": shard(0), "ShardIteratorType": "LATEST" });
    let gone = service.call("GetShardIterator", request).unwrap_err();
    assert_eq!(
        gone.to_string(),
        "ResourceNotFoundException: Shard shardId-000000000000 in stream s under account 000000000000 does not exist"
    );
    // The children still name their parent, as at the service.
    let shards = service.ok("ListShards", json!({ "StreamName": "s" }));
    assert_eq!(shards["Shards"][0]["ParentShardId"], shard(0));
}

#[test]
fn an_answer_holds_at_most_10_mib() {
    let service = Service::with_stream(1);
    let megabyte = "x".repeat((1 << 20) - 1);
    for _ in 0..14 {
        service.put("k", &megabyte);
    }

    let first = service.get(&service.iterator(&shard(0), "TRIM_HORIZON"));
    let second = service.get(&text(&first["NextShardIterator"]));

    assert_eq!((data(&first).len(), data(&second).len()), (10, 4));
}

#[test]
fn lag_is_the_age_of_the_last_record_that_was_read() {
    let service = Service::with_stream(1);
    for n in 0..3 {
        service.put("k", &n.to_string());
        service.advance(1000);
    }
    let iterator = service.iterator(&shard(0), "TRIM_HORIZON");

    let one = service.ok("GetRecords", json!({ "ShardIterator": iterator, "Limit": 1 }));
    let rest = service.get(&text(&one["NextShardIterator"]));

    assert_eq!(one["MillisBehindLatest"], 3000);
    assert_eq!(rest["MillisBehindLatest"], 0);
}

#[test]
fn nothing_is_stored_when_one_record_is_too_large() {
    let service = Service::with_stream(1);
    let large = base64_simd::STANDARD.encode_to_string(vec![0; 1 << 20]);
    let records = json!([{ "PartitionKey": "k", "Data": "" }, { "PartitionKey": "k", "Data": large }]);

    assert_eq!(
        service.code("PutRecords", json!({ "StreamName": "s", "Records": records })),
        "InvalidArgumentException"
    );

    assert!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))).is_empty());
}

#[test]
fn a_dry_run_changes_nothing() {
    let service = Service::with_stream(1);

    let put = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "", "DryRun": true });
    assert_eq!(service.code("PutRecord", put), "DryRunOperationException");

    assert!(data(&service.get(&service.iterator(&shard(0), "TRIM_HORIZON"))).is_empty());
}

#[test]
fn time_in_a_shard_starts_at_its_opening() {
    let service = Service::with_stream(1);
    service.advance(5000);
    service
        .ok("UpdateShardCount", json!({ "StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" }));
    service.advance(5000);

    let at = |millis: u64| {
        let seconds = (START.0 + millis) as f64 / 1000.0;
        (
            service.shards(json!({ "Type": "AT_TIMESTAMP", "Timestamp": seconds })),
            service.shards(json!({ "Type": "FROM_TIMESTAMP", "Timestamp": seconds })),
        )
    };

    let all = vec![shard(0), shard(1), shard(2)];
    let children = vec![shard(1), shard(2)];
    assert_eq!(at(4999), (vec![shard(0)], all.clone()));
    assert_eq!(at(5000), (all.clone(), all));
    assert_eq!(at(5001), (children.clone(), children));
}

#[test]
fn arns_of_another_partition_name_nothing_here() {
    let service = Service::with_stream(1);
    let stream = "arn:aws-cn:kinesis:us-east-1:000000000000:stream/s";
    let consumer = format!("{stream}/consumer/app:{}", START.0 / 1000);
    let position = json!({ "Type": "LATEST" });
    let shard = "shardId-000000000000";

    for (operation, request) in [
        ("DescribeStreamSummary", json!({ "StreamARN": stream })),
        ("ListShards", json!({ "StreamARN": stream })),
        ("PutRecord", json!({ "StreamARN": stream, "PartitionKey": "k", "Data": "" })),
        ("GetShardIterator", json!({ "StreamARN": stream, "ShardId": shard, "ShardIteratorType": "LATEST" })),
        ("RegisterStreamConsumer", json!({ "StreamARN": stream, "ConsumerName": "app" })),
        ("DescribeStreamConsumer", json!({ "ConsumerARN": consumer })),
        ("SubscribeToShard", json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position })),
        ("ListTagsForResource", json!({ "ResourceARN": stream })),
        ("TagResource", json!({ "ResourceARN": consumer, "Tags": {} })),
        ("GetResourcePolicy", json!({ "ResourceARN": stream })),
        ("DeleteResourcePolicy", json!({ "ResourceARN": consumer })),
    ] {
        assert_eq!(service.call(operation, request).unwrap_err().code(), "ResourceNotFoundException", "{operation}");
    }
}
