//! Progress within Kinesis records that failed, kept in DynamoDB: a retry may meet another instance of the function, so memory would
//! guarantee nothing. An item is deleted once its Kinesis record is completed: one that stayed would have a replay of the stream leave
//! out the user records that were done the first time.
//!
//! ```text
//! source    S  mapping, and its shard         partition key
//! sequence  S  sequence number, in 129 digits sort key
//! done      N  user records that are done
//! failures  N  failures of the next one
//! expires   N  Unix time at which DynamoDB may delete the item
//! ```

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, SdkError},
    operation::{
        create_table::CreateTableError, delete_item::DeleteItemError, put_item::PutItemError, query::QueryError,
    },
    types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use kpl::SequenceNumber;

use super::{KinesisRecord, Progress, Unfinished};
use crate::lambda::clock;

/// Time after which an item may be deleted that was not, as Lambda gave its record up: the maximum retention of a stream, beyond
/// which nothing is retried.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Maximum digits of a sequence number; with zeros before them, texts have the order of the numbers.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html>
const DIGITS: usize = 129;

/// A table of progress, for one event source mapping. The table itself may serve many.
#[derive(Debug, Clone)]
pub struct ProgressTable {
    client: Client,
    table: String,
    function: String,
}

/// Progress that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// The progress of earlier invocations cannot be read.
    #[error("progress cannot be read from table {table}")]
    #[non_exhaustive]
    Read {
        /// The table.
        table: String,
        /// The service's error.
        source: Box<SdkError<QueryError>>,
    },
    /// The progress of this invocation was not written, or its answer was lost.
    #[error("progress cannot be written to table {table}")]
    #[non_exhaustive]
    Write {
        /// The table.
        table: String,
        /// The service's error.
        source: Box<SdkError<PutItemError>>,
    },
    /// The progress of a completed record was not deleted, or the answer was lost.
    #[error("progress cannot be deleted from table {table}")]
    #[non_exhaustive]
    Delete {
        /// The table.
        table: String,
        /// The service's error.
        source: Box<SdkError<DeleteItemError>>,
    },
}

impl ProgressTable {
    /// The progress of the mapping that invokes `function`, the invocation's
    /// [`invoked_function_arn`](lambda_runtime::Context::invoked_function_arn): it names the alias or version, so that mappings of
    /// two aliases have two progresses. The function's name alone would have one leave out what the other has done.
    pub fn new(client: Client, table: impl Into<String>, function: impl Into<String>) -> Self {
        Self { client, table: table.into(), function: function.into() }
    }

    /// Creates the table, on demand and without time to live, as a sample needs it.
    ///
    /// # Errors
    /// As CreateTable.
    pub async fn create(&self) -> Result<(), Box<SdkError<CreateTableError>>> {
        let mut create = self.client.create_table().table_name(&self.table).billing_mode(BillingMode::PayPerRequest);
        let invalid =
            |error: BuildError| -> Box<SdkError<CreateTableError>> { Box::new(SdkError::construction_failure(error)) };
        for (name, kind) in [("source", KeyType::Hash), ("sequence", KeyType::Range)] {
            let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name(name).key_type(kind);
            create = create.attribute_definitions(attribute.build().map_err(invalid)?);
            create = create.key_schema(key.build().map_err(invalid)?);
        }
        create.send().await.map(drop).map_err(Box::new)
    }

    /// The progress of those of `records` that failed in earlier invocations: one Query for the batch, which is of one shard.
    pub(super) async fn load(
        &self,
        records: &[KinesisRecord],
    ) -> Result<Vec<(SequenceNumber, Progress)>, ProgressError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(Vec::new()) };
        let query = self.client.query().table_name(&self.table).consistent_read(true);
        let query = query.key_condition_expression("#source = :source AND #sequence BETWEEN :first AND :last");
        let query = query.expression_attribute_names("#source", "source");
        let query = query.expression_attribute_names("#sequence", "sequence");
        let query = query.expression_attribute_values(":source", AttributeValue::S(self.source(first)));
        let query = query.expression_attribute_values(":first", sequence(&first.sequence_number));
        let query = query.expression_attribute_values(":last", sequence(&last.sequence_number));
        let read = |source| ProgressError::Read { table: self.table.clone(), source: Box::new(source) };
        let mut found = Vec::new();
        let mut pages = query.into_paginator().send();
        while let Some(page) = pages.next().await {
            found.extend(page.map_err(read)?.items().iter().filter_map(progress_of));
        }
        Ok(found)
    }

    /// Writes the progress within a record, unless it was further already.
    pub(super) async fn store(&self, unfinished: &Unfinished) -> Result<(), ProgressError> {
        let Unfinished { record, progress } = unfinished;
        let expires = clock::since_epoch() + KEPT;
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item("source", AttributeValue::S(self.source(record)));
        let put = put.item("sequence", sequence(&record.sequence_number));
        let put = put.item("done", number(progress.done)).item("failures", number(progress.failures.into()));
        let put = put.item("expires", number(expires.as_secs()));
        let put = put.condition_expression("attribute_not_exists(#done) OR #done <= :done");
        let put = put.expression_attribute_names("#done", "done");
        let put = put.expression_attribute_values(":done", number(progress.done));
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(())
            }
            Err(error) => Err(ProgressError::Write { table: self.table.clone(), source: Box::new(error) }),
        }
    }

    /// Deletes the progress within a record, which is completed.
    pub(super) async fn delete(&self, record: &KinesisRecord) -> Result<(), ProgressError> {
        let delete = self.client.delete_item().table_name(&self.table);
        let delete = delete.key("source", AttributeValue::S(self.source(record)));
        let delete = delete.key("sequence", sequence(&record.sequence_number));
        let failed = |source| ProgressError::Delete { table: self.table.clone(), source: Box::new(source) };
        delete.send().await.map(drop).map_err(failed)
    }

    fn source(&self, record: &KinesisRecord) -> String {
        format!("{} {} {}", self.function, record.source_arn, record.shard_id)
    }
}

fn sequence(number: &SequenceNumber) -> AttributeValue {
    AttributeValue::S(format!("{:0>DIGITS$}", number.as_str()))
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The progress of an item; one that somebody else wrote is none.
fn progress_of(item: &HashMap<String, AttributeValue>) -> Option<(SequenceNumber, Progress)> {
    let sequence_number = item.get("sequence")?.as_s().ok()?.parse().ok()?;
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
    let failures = u32::try_from(number("failures")?).unwrap_or(u32::MAX);
    Some((sequence_number, Progress { done: number("done")?, failures }))
}
