//! Items of the migration from the tables of KCL 3.0 to 3.4 to the lease table. Pure.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{ENTITY_TYPE, Item, LEASE_KEY, MIGRATION_KEY, WORKER_ID, WORKER_LAST_UPDATE, n, number, s, text};
use crate::{
    logic::table_migration::steps::{Report, Status},
    model::WorkerId,
};

/// Key attribute of the table in which KCL 3.0 to 3.4 keep leader and migration state.
pub(crate) const COORDINATOR_KEY: &str = "key";
pub(crate) const MIGRATION: &str = "TableMigration3.5";
pub(crate) const STATUS: &str = "tm";
/// Former states that an item keeps. Source: KCL.
const MAX_HISTORY: usize = 10;

/// Report of a worker about the migration to one table.
pub(crate) fn read_report(item: &Item) -> Option<(WorkerId, Report)> {
    let id = text(item, WORKER_ID).or_else(|| text(item, LEASE_KEY))?;
    let understands = number::<f64>(item, "sup").is_some_and(|code| code >= 1.0);
    let word = number(item, "slu").map(|seconds| (seconds, understands));
    Some((WorkerId::from(id), Report { seconds: number(item, WORKER_LAST_UPDATE)?, word }))
}

/// Status and time of an item `TableMigration3.5`.
pub(crate) fn migration_status(item: &Item) -> Option<(Status, u64)> {
    Some((Status::from_wire(text(item, STATUS)?)?, number(item, "mts")?))
}

/// An item `TableMigration3.5` but for its key, with the states before it, newest first.
pub(crate) fn migration_item(before: Option<&Item>, to: Status, me: &WorkerId, now_millis: u64) -> Item {
    let mut item = Item::from([
        (STATUS.to_owned(), s(to.as_wire())),
        ("mb".to_owned(), s(me.as_str())),
        ("mts".to_owned(), n(now_millis)),
    ]);
    // A created item has its own state for a history.
    let newest = before.unwrap_or(&item);
    let newest: Item = newest
        .iter()
        .filter(|(name, _)| [STATUS, "mb", "mts"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let older = before.and_then(|before| before.get("h")?.as_l().ok()).into_iter().flatten().cloned();
    let history = std::iter::once(AttributeValue::M(newest)).chain(older).take(MAX_HISTORY).collect();
    item.insert("h".to_owned(), AttributeValue::L(history));
    item.insert(ENTITY_TYPE.to_owned(), s("TABLE_MIGRATION"));
    item
}

/// An item of the old table as it is in the lease table, but for its key. None: it is of no known kind.
pub(crate) fn moved(key: &str, item: &Item) -> Option<Item> {
    let mut item = item.clone();
    item.remove(COORDINATOR_KEY);
    if key == MIGRATION_KEY {
        item.entry(ENTITY_TYPE.to_owned()).or_insert_with(|| s("CLIENT_VERSION_MIGRATION"));
    }
    // One without a type would be taken for a lease.
    item.contains_key(ENTITY_TYPE).then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_those_before_it_newest_first() {
        let me = WorkerId::from("w1");
        let mut item = migration_item(None, Status::Init, &me, 1);
        let first = |item: &Item| item["h"].as_l().unwrap()[0].as_m().unwrap().clone();
        assert_eq!(
            (first(&item)[STATUS].clone(), item[ENTITY_TYPE].clone()),
            (item[STATUS].clone(), s("TABLE_MIGRATION"))
        );

        for millis in 2..20 {
            item = migration_item(Some(&item), Status::Deployed, &me, millis);
        }

        assert_eq!(migration_status(&item), Some((Status::Deployed, 19)));
        assert_eq!(item["h"].as_l().unwrap().len(), MAX_HISTORY);
        assert_eq!(
            first(&item),
            Item::from([
                (STATUS.to_owned(), item[STATUS].clone()),
                ("mb".to_owned(), s("w1")),
                ("mts".to_owned(), n(18))
            ])
        );
    }

    #[test]
    fn an_item_without_a_type_is_moved_only_if_its_kind_is_known() {
        let item = Item::from([(COORDINATOR_KEY.to_owned(), s("any")), ("cv".to_owned(), s("x"))]);

        let expected = Item::from([("cv".to_owned(), s("x")), (ENTITY_TYPE.to_owned(), s("CLIENT_VERSION_MIGRATION"))]);
        assert_eq!(moved(MIGRATION_KEY, &item), Some(expected));
        assert_eq!(moved("other", &item), None);
    }

    #[test]
    fn a_report_says_whether_and_when_its_worker_understood_the_migration() {
        let with = |sup: Option<u64>| {
            let mut item = Item::from([
                (WORKER_ID.to_owned(), s("w1")),
                (WORKER_LAST_UPDATE.to_owned(), n(7)),
                ("slu".to_owned(), n(5)),
            ]);
            item.extend(sup.map(|sup| ("sup".to_owned(), n(sup))));
            read_report(&item).unwrap().1.word
        };

        let said = |understands| Some((5, understands));
        assert_eq!([None, Some(0), Some(1), Some(2)].map(with), [said(false), said(false), said(true), said(true)]);
    }
}
