//! Fleets of the tests: workers in this process, and tables as other versions of the KCL leave them.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use kcl::{BoxError, CheckpointEvery, InitialPosition, Record, Worker, WorkerHandle};

use crate::support::{PATIENCE, World};

pub(crate) const APPLICATION: &str = "printer";

type Item = HashMap<String, AttributeValue>;

impl World {
    pub(crate) fn dynamodb(&self) -> Client {
        Client::new(&self.aws.sdk_config())
    }

    /// A worker whose processors accept each record, except one with the data `hang`.
    pub(crate) fn worker(&self, id: &str) -> WorkerHandle {
        let handler = |record: Record| async move {
            if record.data == "hang" {
                std::future::pending::<()>().await;
            }
            Ok::<(), BoxError>(())
        };
        let builder = Worker::builder(&self.aws.sdk_config(), APPLICATION, "orders").worker_id(id);
        let builder = builder.initial_position(InitialPosition::TrimHorizon).shutdown_grace(std::time::Duration::ZERO);
        builder.build_for_each(CheckpointEvery::new(1, std::time::Duration::ZERO), 1, handler).unwrap().start()
    }

    /// Waits until `kds fleet` prints what is wanted.
    pub(crate) async fn until_fleet(
        &self,
        arguments: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let begun = tokio::time::Instant::now();
        loop {
            let fleet = self.run(&format!("fleet {APPLICATION} --json {arguments}")).await;
            if let Some(fleet) = serde_json::from_str(&fleet.stdout).ok().filter(&wanted) {
                return fleet;
            }
            assert!(begun.elapsed() < PATIENCE, "{fleet:?}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn table(&self, name: &str, key: &str) {
        let create = self.dynamodb().create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build().unwrap();
        let attribute = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
        create.key_schema(schema).attribute_definitions(attribute.build().unwrap()).send().await.unwrap();
    }

    pub(crate) async fn item(&self, table: &str, item: &[(&str, AttributeValue)]) {
        let item: Item = item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.dynamodb().put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    /// A lease as KCL 2.x writes it.
    pub(crate) async fn lease(&self, shard: &str, owner: Option<&str>, checkpoint: &str, parent: Option<&str>) {
        let mut item = lease(shard, owner, checkpoint);
        item.extend(parent.map(|parent| ("parentShardId", AttributeValue::Ss(vec![parent.to_owned()]))));
        self.item(APPLICATION, &item).await;
    }

    /// A lease of an application of several streams.
    pub(crate) async fn lease_of(&self, stream: &str, shard: &str, owner: Option<&str>) {
        let mut item = lease(&format!("{stream}:{shard}"), owner, "TRIM_HORIZON");
        item.extend([("streamName", s(stream)), ("shardId", s(shard))]);
        self.item(APPLICATION, &item).await;
    }
}

fn lease(key: &str, owner: Option<&str>, checkpoint: &str) -> Vec<(&'static str, AttributeValue)> {
    let mut item = vec![
        ("leaseKey", s(key)),
        ("leaseCounter", n(5)),
        ("ownerSwitchesSinceCheckpoint", n(0)),
        ("checkpoint", s(checkpoint)),
        ("checkpointSubSequenceNumber", n(0)),
    ];
    item.extend(owner.map(|owner| ("leaseOwner", s(owner))));
    item
}

pub(crate) fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
