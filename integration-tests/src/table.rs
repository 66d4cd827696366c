//! Items of a lease table, read and written behind the workers' backs.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use aws_types::SdkConfig;

/// An item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// A text attribute.
pub fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Talks to the table's service.
    pub dynamodb: Client,
    name: String,
}

impl Table {
    /// The table of that name.
    pub fn new(aws: &SdkConfig, name: impl Into<String>) -> Self {
        Self { dynamodb: Client::new(aws), name: name.into() }
    }

    /// Creates the table, with a text key of that name.
    pub async fn create(&self, key: &str) {
        let text = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S).build();
        let schema = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build();
        let create = self.dynamodb.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        let create = create.attribute_definitions(text.expect("name and type are set"));
        create.key_schema(schema.expect("name and type are set")).send().await.expect("table is new");
    }

    /// All items; `None` if there is no table.
    pub async fn items(&self) -> Option<Vec<Item>> {
        self.dynamodb.scan().table_name(&self.name).send().await.ok().map(|scanned| scanned.items.unwrap_or_default())
    }

    /// Items that are leases.
    pub async fn leases(&self) -> Vec<Item> {
        let is_lease = |item: &Item| item.contains_key("checkpoint");
        self.items().await.unwrap_or_default().into_iter().filter(is_lease).collect()
    }

    /// The item with that lease key.
    pub async fn get(&self, key: &str) -> Option<Item> {
        let get = self.dynamodb.get_item().table_name(&self.name).key("leaseKey", text(key)).consistent_read(true);
        get.send().await.expect("table exists").item
    }

    /// Writes an item.
    pub async fn put(&self, item: Item) {
        self.dynamodb.put_item().table_name(&self.name).set_item(Some(item)).send().await.expect("table exists");
    }

    /// Writes a lease that nobody has taken yet.
    pub async fn put_lease(&self, key: &str, checkpoint: &str, parent: Option<&str>) {
        let zeros = ["leaseCounter", "ownerSwitchesSinceCheckpoint", "checkpointSubSequenceNumber"];
        let zeros = zeros.map(|name| (name.to_owned(), number(0)));
        let texts = [("leaseKey", key), ("checkpoint", checkpoint)].map(|(name, value)| (name.to_owned(), text(value)));
        let parents = parent.map(|parent| ("parentShardId".to_owned(), AttributeValue::Ss(vec![parent.to_owned()])));
        self.put(zeros.into_iter().chain(texts).chain(parents).collect()).await;
    }

    /// Sets an attribute of the item with that lease key.
    pub async fn set(&self, key: &str, name: &str, value: AttributeValue) {
        let update = self.dynamodb.update_item().table_name(&self.name).key("leaseKey", text(key));
        let update = update.update_expression("SET #name = :value").expression_attribute_names("#name", name);
        update.expression_attribute_values(":value", value).send().await.expect("table exists");
    }

    /// Deletes the item with that lease key.
    pub async fn delete(&self, key: &str) {
        let delete = self.dynamodb.delete_item().table_name(&self.name).key("leaseKey", text(key));
        delete.send().await.expect("table exists");
    }

    /// Deletes the table.
    pub async fn delete_table(&self) {
        self.dynamodb.delete_table().table_name(&self.name).send().await.expect("table exists");
    }
}
