//! [`rule`]: what a call of a run may do, by its operation and its request.

use serde_json::Value;

use super::named::named;
use super::prefix::Prefix;

/// Calls that name no stream and no table: lists of names, quotas, and what goes on from an iterator or a token.
const NAMELESS: [&str; 5] = ["DescribeLimits", "GetRecords", "ListShards", "ListStreams", "ListTables"];

/// Shards of a stream on demand at first, as the developer guide on capacity modes has it.
const SHARDS_ON_DEMAND: u64 = 4;

/// Decision about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Makes nothing that costs by the hour.
    Pass,
    /// Makes a stream.
    CreateStream { name: String, shards: u64 },
    /// Opens shards of a stream.
    OpenShards { name: String, shards: u64 },
    /// Registers a consumer of a stream.
    RegisterConsumer { name: String },
    /// Deletes a stream.
    DeleteStream { name: String },
    /// Makes a table.
    CreateTable { name: String },
    /// Must not be sent, for this reason.
    Refuse(String),
}

/// Decides about a call. One that names anything without the prefix is refused, whether it reads or writes.
pub(super) fn rule(prefix: &Prefix, operation: &str, body: &Value) -> Ruling {
    let names = named(body);
    if let Some(foreign) = names.iter().find(|name| !prefix.owns(name)) {
        return Ruling::Refuse(format!("{operation} names {foreign:?}, which does not begin with {prefix}"));
    }
    let Some(name) = names.into_iter().next() else {
        return match NAMELESS.contains(&operation) {
            true => Ruling::Pass,
            false => Ruling::Refuse(format!("{operation} names no stream and no table of this run")),
        };
    };
    match operation {
        "CreateStream" => Ruling::CreateStream { name, shards: created_shards(body) },
        "SplitShard" => Ruling::OpenShards { name, shards: 2 },
        "MergeShards" => Ruling::OpenShards { name, shards: 1 },
        "UpdateShardCount" => Ruling::OpenShards { name, shards: count(body, "TargetShardCount") },
        "UpdateStreamMode" => Ruling::OpenShards { name, shards: SHARDS_ON_DEMAND },
        "RegisterStreamConsumer" => Ruling::RegisterConsumer { name },
        "DeleteStream" => Ruling::DeleteStream { name },
        "CreateTable" => Ruling::CreateTable { name },
        _ => Ruling::Pass,
    }
}

fn created_shards(body: &Value) -> u64 {
    let is_on_demand = body["StreamModeDetails"]["StreamMode"] == "ON_DEMAND";
    if is_on_demand { SHARDS_ON_DEMAND } else { count(body, "ShardCount") }
}

fn count(body: &Value, field: &str) -> u64 {
    body[field].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prefix() -> Prefix {
        "kinesis-conformance-4k1z9q0x-".parse().unwrap()
    }

    fn is_refused(operation: &str, body: &Value) -> bool {
        matches!(rule(&prefix(), operation, body), Ruling::Refuse(_))
    }

    #[test]
    fn what_a_run_did_not_make_is_neither_written_nor_read() {
        for operation in ["CreateStream", "PutRecords", "DeleteStream", "SplitShard", "DescribeStream", "NewOperation"]
        {
            assert!(is_refused(operation, &json!({"StreamName": "orders"})), "{operation}");
        }
        assert!(is_refused("DeleteTable", &json!({"TableName": "kinesis-conformance-other"})));
        let mixed = json!({"TransactItems": [
            {"Put": {"TableName": prefix().name("leases")}},
            {"Delete": {"TableName": "orders"}},
        ]});
        assert!(is_refused("TransactWriteItems", &mixed));
    }

    #[test]
    fn calls_without_a_name_are_lists_and_readings() {
        assert_eq!(rule(&prefix(), "ListStreams", &json!({})), Ruling::Pass);
        assert_eq!(rule(&prefix(), "GetRecords", &json!({"ShardIterator": "x"})), Ruling::Pass);
        for operation in ["UpdateAccountSettings", "DeleteTable", "PutRecord"] {
            assert!(is_refused(operation, &json!({})), "{operation}");
        }
    }

    #[test]
    fn what_opens_shards_is_counted() {
        let name = prefix().name("stream");
        let rule = |operation, body| rule(&prefix(), operation, &body);
        let opens = |shards| Ruling::OpenShards { name: name.clone(), shards };

        let created = Ruling::CreateStream { name: name.clone(), shards: 3 };
        assert_eq!(rule("CreateStream", json!({"StreamName": name, "ShardCount": 3})), created);
        let on_demand = json!({"StreamName": name, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
        assert_eq!(rule("CreateStream", on_demand), Ruling::CreateStream { name: name.clone(), shards: 4 });
        assert_eq!(rule("SplitShard", json!({"StreamName": name})), opens(2));
        assert_eq!(rule("MergeShards", json!({"StreamName": name})), opens(1));
        assert_eq!(rule("UpdateShardCount", json!({"StreamName": name, "TargetShardCount": 8})), opens(8));
        assert_eq!(rule("PutRecords", json!({"StreamName": name})), Ruling::Pass);
    }
}
