use kpl::HashKey;

use super::*;

fn fresh_lease() -> Lease {
    Lease {
        hash_key_range: Some(HashKeyRange::FULL),
        ..Lease::unowned(ShardId::from("shardId-000000000000"), Checkpoint::TrimHorizon)
    }
}

#[test]
fn a_new_lease_item_is_what_java_kcl_3_writes() {
    let item = new_lease_item(&fresh_lease());

    let expected = Item::from([
        ("leaseKey".to_owned(), s("shardId-000000000000")),
        ("leaseCounter".to_owned(), n(0)),
        ("ownerSwitchesSinceCheckpoint".to_owned(), n(0)),
        ("checkpoint".to_owned(), s("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber".to_owned(), n(0)),
        ("startingHashKey".to_owned(), s("0")),
        ("endingHashKey".to_owned(), s("340282366920938463463374607431768211455")),
        ("entityType".to_owned(), s("LEASE")),
    ]);
    assert_eq!(item, expected);
}

#[test]
fn parents_are_a_string_set_under_a_singular_name() {
    let child = Lease { parents: vec!["shardId-000000000000".into(), "shardId-000000000001".into()], ..fresh_lease() };

    let item = new_lease_item(&child);

    let set = AttributeValue::Ss(vec!["shardId-000000000000".to_owned(), "shardId-000000000001".to_owned()]);
    assert_eq!(item.get("parentShardId"), Some(&set));
}

#[test]
fn a_lease_is_read_as_it_was_written() {
    let lease = Lease {
        owner: Some(WorkerId::from("w1")),
        counter: 7,
        epoch: 1_700_000_000_000,
        checkpoint: Checkpoint::from_wire("49590338271490256608559692538361571095921575989136588898", 3).unwrap(),
        children: vec!["shardId-000000000002".into()],
        ..fresh_lease()
    };

    assert_eq!(read_lease(&new_lease_item(&lease)), Some(lease));
}

#[test]
fn a_java_lease_in_handoff_is_read_with_both_owners_and_its_throughput() {
    let mut item = new_lease_item(&fresh_lease());
    item.insert("leaseOwner".to_owned(), s("new"));
    item.insert("checkpointOwner".to_owned(), s("old"));
    item.insert("throughputKBps".to_owned(), n("1.0E-4"));

    let lease = read_lease(&item).unwrap();

    assert_eq!(lease.actual_owner(), Some(&WorkerId::from("old")));
    assert_eq!(lease.throughput_kbps, Some(0.0001));
}

#[test]
fn takes_an_item_without_entity_type_for_a_lease_and_no_foreign_type() {
    let mut item = new_lease_item(&fresh_lease());
    item.remove("entityType");
    assert!(matches!(classify(&item), Entity::Lease(_)));

    item.insert("entityType".to_owned(), s("STREAM"));
    assert_eq!(classify(&item), Entity::Other);
    assert_eq!(read_lease(&item), None);
}

#[test]
fn a_lease_without_a_readable_counter_or_checkpoint_is_malformed() {
    for attribute in ["leaseCounter", "checkpoint"] {
        let mut item = new_lease_item(&fresh_lease());
        item.insert(attribute.to_owned(), s("?"));

        assert_eq!(classify(&item), Entity::Malformed("shardId-000000000000".to_owned()), "{attribute}");
    }
}

#[test]
fn hash_keys_that_do_not_form_a_range_are_ignored() {
    let mut item = new_lease_item(&fresh_lease());
    item.insert("startingHashKey".to_owned(), s(HashKey::MAX.to_string()));

    assert_eq!(read_lease(&item).unwrap().hash_key_range, None);
}

#[test]
fn the_lock_carries_its_duration_as_a_decimal_string_of_milliseconds() {
    let lock = LockItem {
        owner: WorkerId::from("w1"),
        version: "v".to_owned(),
        duration: Duration::from_secs(10),
        released: false,
        bulletin: Some(Bulletin { moves: 7, alert: true, workers: 3 }),
        regime: Default::default(),
    };

    let item = lock_item(&lock);

    assert_eq!(item.get("leaseDuration"), Some(&s("10000")));
    assert_eq!(read_lock(&item), Some(lock));
}

#[test]
fn a_lock_with_an_unreadable_duration_counts_as_javas_two_minutes() {
    let mut item = lock_item(&LockItem {
        owner: WorkerId::from("w1"),
        version: "v".to_owned(),
        duration: Duration::from_secs(10),
        released: false,
        bulletin: None,
        regime: Default::default(),
    });
    item.insert("leaseDuration".to_owned(), n(10));

    assert_eq!(read_lock(&item).unwrap().duration, Duration::from_secs(120));
}

#[test]
fn a_javas_worker_item_is_read_without_our_properties() {
    let item = Item::from([
        ("leaseKey".to_owned(), s("java-1")),
        ("entityType".to_owned(), s("WORKER_METRIC_STATS")),
        ("lut".to_owned(), n(1_790_000_000)),
        ("sts".to_owned(), AttributeValue::M(Item::new())),
        ("opr".to_owned(), AttributeValue::M(Item::new())),
    ]);

    let Entity::Worker(worker) = classify(&item) else { panic!("not a worker") };

    assert_eq!((worker.id.as_str(), worker.last_update_seconds, worker.instance), ("java-1", 1_790_000_000, None));
}

#[test]
fn the_declaration_of_a_3x_application_has_its_history() {
    let item = v3_item(&WorkerId::from("w1"), 1_790_000_000_000);

    assert_eq!(client_version(&item), Some("CLIENT_VERSION_3X"));
    let history = item["h"].as_l().unwrap();
    assert_eq!(history[0].as_m().unwrap()["cv"], s("CLIENT_VERSION_INIT"));
    assert_eq!(item["mts"], n(1_790_000_000_000_u64));
}

#[test]
fn a_lease_of_several_streams_is_read_as_it_was_written() {
    let (stream, shard_id) = (StreamId::from("123456789012:orders:1700000000"), ShardId::from("shardId-000000000000"));
    let key = LeaseKey::of(Some(&stream), &shard_id);
    let lease = Lease { key, stream: Some(stream), parents: vec!["shardId-000000000007".into()], ..fresh_lease() };

    let mut item = new_lease_item(&lease);

    assert_eq!(item["leaseKey"], s("123456789012:orders:1700000000:shardId-000000000000"));
    assert_eq!(item["streamName"], s("123456789012:orders:1700000000"));
    assert_eq!(item["shardId"], s("shardId-000000000000"));
    assert_eq!(read_lease(&item), Some(lease));
    item.remove("shardId");
    assert_eq!(read_lease(&item), None, "both attributes are needed");
}

#[test]
fn a_worker_of_the_old_metrics_table_is_read_by_its_key_there() {
    let item = Item::from([("wid".to_owned(), s("java-1")), ("lut".to_owned(), n(1_700_000_000))]);
    assert_eq!(read_worker(&item).unwrap().id, WorkerId::from("java-1"));
}
