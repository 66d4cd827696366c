//! [`Leases`]: a lease table of a check's own, and what checks do with one.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType, TableDescription,
    TableStatus,
};

use super::expect::{Failure, Outcome, present};
use super::peer::{Peer, unique, until};

/// The hash key of the table.
pub(super) const KEY: &str = "leaseKey";
/// The hash key of the index.
pub(super) const OWNER: &str = "leaseOwner";
/// Attribute that every write increments.
pub(super) const COUNTER: &str = "leaseCounter";
/// The index of leases by owner.
pub(super) const INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// An item, by attribute.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A lease as it is stored.
pub(super) fn lease(key: &str, owner: &str, counter: u64) -> Item {
    let attributes = [(KEY, text(key)), (OWNER, text(owner)), (COUNTER, number(counter))];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn attribute(name: &str) -> AttributeDefinition {
    let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
    attribute.build().expect("name and type are set")
}

fn key(name: &str, key_type: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().expect("name and type are set")
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}

/// The index, as CreateTable takes it.
pub(super) fn index() -> GlobalSecondaryIndex {
    let index = GlobalSecondaryIndex::builder().index_name(INDEX).key_schema(key(OWNER, KeyType::Hash));
    index.key_schema(key(KEY, KeyType::Range)).projection(keys_only()).build().expect("all is set")
}

/// The index, as UpdateTable takes it.
pub(super) fn new_index() -> CreateGlobalSecondaryIndexAction {
    let index = CreateGlobalSecondaryIndexAction::builder().index_name(INDEX).key_schema(key(OWNER, KeyType::Hash));
    index.key_schema(key(KEY, KeyType::Range)).projection(keys_only()).build().expect("all is set")
}

/// A lease table.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    pub(super) dynamodb: Client,
    pub(super) name: String,
}

impl Leases {
    /// An active table without items.
    pub(super) async fn create(peer: &Peer) -> Result<Self, Failure> {
        Self::create_with(peer, |create| create).await
    }

    /// An active table, created with more than its key.
    pub(super) async fn create_with(
        peer: &Peer,
        settings: impl FnOnce(CreateTableFluentBuilder) -> CreateTableFluentBuilder,
    ) -> Result<Self, Failure> {
        let leases = Self { dynamodb: peer.dynamodb()?.clone(), name: unique("leases") };
        let create = leases.dynamodb.create_table().table_name(&leases.name).billing_mode(BillingMode::PayPerRequest);
        let create = create.attribute_definitions(attribute(KEY)).key_schema(key(KEY, KeyType::Hash));
        settings(create).send().await?;
        leases.active().await?;
        Ok(leases)
    }

    /// An active table with leases `lease-00`, `lease-01`, ... of owners `w0`, `w1` and `w2` in turn.
    pub(super) async fn filled(peer: &Peer, items: usize) -> Result<Self, Failure> {
        let leases = Self::create(peer).await?;
        for n in 0..items {
            leases.put(lease(&format!("lease-{n:02}"), &format!("w{}", n % 3), 0)).await?;
        }
        Ok(leases)
    }

    pub(super) async fn describe(&self) -> Result<TableDescription, Failure> {
        present(self.dynamodb.describe_table().table_name(&self.name).send().await?.table, "Table")
    }

    /// Waits until the table is active.
    pub(super) async fn active(&self) -> Outcome {
        until("the table is ACTIVE", async || Ok(self.describe().await?.table_status() == Some(&TableStatus::Active)))
            .await
    }

    /// Waits until the index is active.
    pub(super) async fn index_active(&self) -> Outcome {
        until("the index is ACTIVE", async || {
            let table = self.describe().await?;
            let index = table.global_secondary_indexes().first();
            Ok(index.and_then(|index| index.index_status()) == Some(&IndexStatus::Active))
        })
        .await
    }

    pub(super) async fn put(&self, item: Item) -> Outcome {
        self.dynamodb.put_item().table_name(&self.name).set_item(Some(item)).send().await?;
        Ok(())
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Item>, Failure> {
        let get = self.dynamodb.get_item().table_name(&self.name).key(KEY, text(key)).consistent_read(true);
        Ok(get.send().await?.item)
    }

    /// An attribute of a lease that is there.
    pub(super) async fn attribute(&self, key: &str, name: &str) -> Result<Option<AttributeValue>, Failure> {
        Ok(present(self.get(key).await?, "item")?.remove(name))
    }
}

/// The keys of items, in order.
pub(super) fn keys(items: &[Item]) -> Result<Vec<String>, Failure> {
    let key = |item: &Item| match item.get(KEY) {
        Some(AttributeValue::S(key)) => Ok(key.clone()),
        other => Err(Failure::new(format!("key of an item: {other:?}"))),
    };
    let mut keys = items.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    Ok(keys)
}
