//! Limits of partitions, where they are enforced: the units that each takes in a second. Pure.
//!
//! A table and each index have four partitions by the hash of the partition key, as a new on-demand table of the service
//! has; more, if their provisioned throughput needs more. They stay as they are: the service splits what stays hot, in
//! minutes. Not counted: provisioned throughput itself, its bursts, and what a condition that fails consumes.

use std::collections::BTreeMap;

use super::capacity::{Consumed, Touched};
use super::error::{Error, Kind};
use super::table::{Table, Throughput as Provisioned};
use super::writes::Tables;
use crate::meter::Meter;
use crate::timestamp::Millis;

/// Units that a partition takes in a second.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
const READS: u64 = 3_000;
const WRITES: u64 = 1_000;

/// Partitions of a new on-demand table, which takes 4,000 writes and 12,000 reads.
/// docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
const PARTITIONS: u64 = 4;

/// Use of all partitions.
#[derive(Debug, Default)]
pub(super) struct Throughput(BTreeMap<Place, Use>);

/// A partition of a table, or of an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    table: String,
    index: Option<String>,
    partition: u64,
}

/// Use of one partition, in half units.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    reads: Meter,
    writes: Meter,
}

impl Use {
    /// The meter of one kind, and its limit.
    fn meter(&mut self, is_write: bool) -> (&mut Meter, u64) {
        if is_write { (&mut self.writes, 2 * WRITES) } else { (&mut self.reads, 2 * READS) }
    }
}

impl Throughput {
    /// Uses what a request consumes, if all the partitions that it touches have room; else nothing.
    pub(super) fn admit(&mut self, consumed: &Consumed, tables: &Tables, now: Millis) -> Result<(), Error> {
        let mut sums: BTreeMap<(Place, bool), f64> = BTreeMap::new();
        for touched in &consumed.touched {
            *sums.entry((place(touched, tables), touched.is_write)).or_default() += touched.units;
        }
        for ((place, is_write), units) in &sums {
            let (meter, limit) = self.0.entry(place.clone()).or_default().meter(*is_write);
            if !meter.fits(half_units(*units), limit, now) {
                return Err(throttled(place, *is_write, tables));
            }
        }
        for ((place, is_write), units) in sums {
            self.0.entry(place).or_default().meter(is_write).0.add(half_units(units));
        }
        Ok(())
    }

    /// Forgets a table that was deleted.
    pub(super) fn forget(&mut self, table: &str) {
        self.0.retain(|place, _| place.table != table);
    }
}

fn half_units(units: f64) -> u64 {
    (units * 2.0).ceil() as u64
}

fn place(touched: &Touched, tables: &Tables) -> Place {
    let count = tables.get(&touched.table).map_or(PARTITIONS, |table| partitions(table, touched.index.as_deref()));
    let partition = (u128::from(touched.hash) * u128::from(count)) >> 64;
    let partition = u64::try_from(partition).unwrap_or_default();
    Place { table: touched.table.clone(), index: touched.index.clone(), partition }
}

/// Number of partitions of a table, or of one of its indexes.
fn partitions(table: &Table, index: Option<&str>) -> u64 {
    let index = index.and_then(|name| table.indexes.get(name));
    let Provisioned { reads, writes } = index.map_or(table.settings.provisioned, |index| index.provisioned);
    let needed = |units: i64, limit: u64| u64::try_from(units).unwrap_or_default().div_ceil(limit);
    needed(reads, READS).max(needed(writes, WRITES)).max(PARTITIONS)
}

fn throttled(place: &Place, is_write: bool, tables: &Tables) -> Error {
    let is_on_demand = tables.get(&place.table).is_some_and(|table| table.settings.is_on_demand);
    let kind = if is_on_demand { Kind::Throttling } else { Kind::ThroughputExceeded };
    let (what, name) = match &place.index {
        Some(index) => ("index", index),
        None => ("table", &place.table),
    };
    let done = if is_write { "written" } else { "read" };
    Error::new(kind, format!("A partition of the {what} {name} is {done} faster than partitions can be."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::Core;
    use crate::refusal::Refusal;
    use crate::timestamp::Millis;

    const OWNERS: &str = "owners";

    fn core(billing: Json) -> Core {
        let mut core = Core::with_limits();
        let key = |name: &str| json!([{ "AttributeName": name, "KeyType": "HASH" }]);
        let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let mut table = json!({
            "TableName": "leases", "KeySchema": key("k"), "AttributeDefinitions": [attribute("k"), attribute("owner")],
            "GlobalSecondaryIndexes": [
                { "IndexName": OWNERS, "KeySchema": key("owner"), "Projection": { "ProjectionType": "KEYS_ONLY" } },
            ],
        });
        if let (Some(table), Json::Object(billing)) = (table.as_object_mut(), billing) {
            if let Some(throughput) = billing.get("ProvisionedThroughput") {
                table["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"] = throughput.clone();
            }
            table.extend(billing);
        }
        core.perform("CreateTable", table.to_string().as_bytes(), Millis(0)).unwrap();
        core
    }

    fn on_demand() -> Core {
        core(json!({ "BillingMode": "PAY_PER_REQUEST" }))
    }

    /// Number of these puts that pass, and the code of the last refusal.
    fn put(core: &mut Core, items: impl Iterator<Item = Json>, now: u64) -> (usize, String) {
        let (mut stored, mut code) = (0, String::new());
        for item in items {
            let body = json!({ "TableName": "leases", "Item": item }).to_string();
            match core.perform("PutItem", body.as_bytes(), Millis(now)) {
                Ok(_) => stored += 1,
                Err(refusal) => code = code_of(&refusal),
            }
        }
        (stored, code)
    }

    fn code_of(refusal: &Refusal) -> String {
        let body: Json = serde_json::from_slice(&refusal.body).unwrap();
        body["__type"].as_str().and_then(|kind| kind.split('#').nth(1)).unwrap().to_owned()
    }

    fn plain(count: usize) -> impl Iterator<Item = Json> {
        (0..count).map(|n| json!({ "k": { "S": format!("lease {n}") } }))
    }

    #[test]
    fn a_new_on_demand_table_takes_four_thousand_writes_a_second() {
        let mut core = on_demand();

        let (stored, code) = put(&mut core, plain(5_000), 10_000);

        assert!((3_900..=4_000).contains(&stored), "{stored}");
        assert_eq!(code, "ThrottlingException");
        assert_eq!(put(&mut core, plain(1), 10_999).0 + put(&mut core, plain(1), 11_000).0, 1);
    }

    #[test]
    fn one_key_takes_a_thousand_writes_a_second() {
        let mut core = on_demand();
        let same = || (0..2_000).map(|_| json!({ "k": { "S": "lease" } }));

        assert_eq!(put(&mut core, same(), 10_000).0, 1_000);
        assert_eq!(put(&mut core, same(), 11_000).0, 1_000);
    }

    #[test]
    fn an_owner_in_an_index_takes_a_thousand_writes_a_second() {
        let mut core = on_demand();
        let owned = (0..2_000).map(|n| json!({ "k": { "S": format!("lease {n}") }, "owner": { "S": "worker" } }));

        assert_eq!(put(&mut core, owned, 10_000).0, 1_000);
    }

    #[test]
    fn a_partition_gives_three_thousand_read_units_a_second() {
        let mut core = on_demand();
        put(&mut core, plain(1), 0);
        let mut read = |is_consistent: bool, now| {
            let body =
                json!({ "TableName": "leases", "Key": { "k": { "S": "lease 0" } }, "ConsistentRead": is_consistent });
            let body = body.to_string();
            (0..7_000).filter(|_| core.perform("GetItem", body.as_bytes(), Millis(now)).is_ok()).count()
        };

        assert_eq!(read(true, 10_000), 3_000);
        assert_eq!(read(false, 11_000), 6_000);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut core = on_demand();
        put(&mut core, (0..1_000).map(|_| json!({ "k": { "S": "lease" } })), 10_000);

        let changed = json!({ "k": { "S": "lease" }, "changed": { "BOOL": true } });
        assert_eq!(put(&mut core, [changed].into_iter(), 10_500), (0, "ThrottlingException".to_owned()));

        let get = json!({ "TableName": "leases", "Key": { "k": { "S": "lease" } } }).to_string();
        let answer = core.perform("GetItem", get.as_bytes(), Millis(10_500)).unwrap();
        assert!(!String::from_utf8_lossy(&answer).contains("changed"));
    }

    #[test]
    fn a_transaction_that_was_refused_is_done_by_its_repetition() {
        let mut core = on_demand();
        put(&mut core, (0..1_000).map(|_| json!({ "k": { "S": "lease" } })), 10_000);
        let put =
            json!({ "Put": { "TableName": "leases", "Item": { "k": { "S": "lease" }, "done": { "BOOL": true } } } });
        let body = json!({ "TransactItems": [put], "ClientRequestToken": "token" }).to_string();

        assert!(core.perform("TransactWriteItems", body.as_bytes(), Millis(10_500)).is_err());
        core.perform("TransactWriteItems", body.as_bytes(), Millis(11_000)).unwrap();

        let get = json!({ "TableName": "leases", "Key": { "k": { "S": "lease" } } }).to_string();
        let answer = core.perform("GetItem", get.as_bytes(), Millis(11_000)).unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("done"));
    }

    #[test]
    fn a_provisioned_table_has_the_partitions_that_it_needs() {
        let mut core =
            core(json!({ "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 8_000 } }));

        let (stored, code) = put(&mut core, plain(10_000), 10_000);

        assert!((7_800..=8_000).contains(&stored), "{stored}");
        assert_eq!(code, "ProvisionedThroughputExceededException");
    }
}
