//! A meter of requests and capacity units: asks for `ConsumedCapacity` in each call that reads or writes items, and sums
//! up what the answers say.

use std::sync::{Arc, Mutex, OnceLock};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut},
    },
    operation::{
        batch_execute_statement::{BatchExecuteStatementInput, BatchExecuteStatementOutput},
        batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
        delete_item::{DeleteItemError, DeleteItemInput, DeleteItemOutput},
        get_item::{GetItemInput, GetItemOutput},
        put_item::{PutItemError, PutItemInput, PutItemOutput},
        query::{QueryInput, QueryOutput},
        scan::{ScanInput, ScanOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemError, UpdateItemInput, UpdateItemOutput},
    },
    types::{ConsumedCapacity, ReturnConsumedCapacity},
};

use crate::{error::BoxError, locked::locked, metrics::lease_table::TableRecorder, model::TableUsage};

/// Clones share the sums.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    /// The lease table: transactions write to others as well.
    table: Arc<str>,
    // Protects the sums for the length of one addition.
    total: Arc<Mutex<TableUsage>>,
    recorder: Arc<OnceLock<TableRecorder>>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Write,
}

impl Meter {
    pub(super) fn of(table: impl Into<Arc<str>>) -> Self {
        Self { table: table.into(), total: Arc::default(), recorder: Arc::default() }
    }

    pub(super) fn total(&self) -> TableUsage {
        *locked(&self.total)
    }

    /// Records each request, too. The first recorder counts.
    pub(super) fn record_to(&self, recorder: TableRecorder) {
        let _ = self.recorder.set(recorder);
    }

    fn count(&self, operation: &'static str, kind: Kind, units: f64) {
        let usage = match kind {
            Kind::Read => TableUsage::new(1, units, 0.0),
            Kind::Write => TableUsage::new(1, 0.0, units),
        };
        locked(&self.total).add(usage);
        if let Some(recorder) = self.recorder.get() {
            recorder.consumed(operation, usage);
        }
    }
}

fn units<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> f64 {
    consumed.into_iter().filter_map(ConsumedCapacity::capacity_units).sum()
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        macro_rules! ask {
            ($($input:ty),*) => {$(
                if let Some(input) = context.input_mut().downcast_mut::<$input>() {
                    input.return_consumed_capacity = Some(ReturnConsumedCapacity::Total);
                    return Ok(());
                }
            )*};
        }
        ask!(
            UpdateItemInput,
            BatchExecuteStatementInput,
            BatchGetItemInput,
            ScanInput,
            QueryInput,
            GetItemInput,
            PutItemInput,
            DeleteItemInput,
            TransactWriteItemsInput
        );
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        use Kind::{Read, Write};
        macro_rules! count {
            ($($operation:literal $kind:ident $output:ty),*) => {
                if let Ok(output) = context.output_or_error() {$(
                    if let Some(output) = output.downcast_ref::<$output>() {
                        self.count($operation, $kind, units(output.consumed_capacity()));
                        return Ok(());
                    }
                )*}
            };
        }
        macro_rules! count_refused {
            ($($operation:literal $error:ty),*) => {
                if let Err(error) = context.output_or_error()
                    && let Some(error) = error.as_operation_error()
                {$(
                    if error.downcast_ref::<$error>().is_some_and(<$error>::is_conditional_check_failed_exception) {
                        self.count($operation, Write, 1.0);
                        return Ok(());
                    }
                )*}
            };
        }
        count!(
            "UpdateItem" Write UpdateItemOutput, "BatchExecuteStatement" Write BatchExecuteStatementOutput,
            "BatchGetItem" Read BatchGetItemOutput, "Scan" Read ScanOutput,
            "Query" Read QueryOutput, "GetItem" Read GetItemOutput, "PutItem" Write PutItemOutput,
            "DeleteItem" Write DeleteItemOutput
        );
        if let Ok(output) = context.output_or_error()
            && let Some(output) = output.downcast_ref::<TransactWriteItemsOutput>()
        {
            let is_ours = |consumed: &&ConsumedCapacity| consumed.table_name() == Some(&self.table);
            self.count("TransactWriteItems", Write, units(output.consumed_capacity().iter().filter(is_ours)));
            return Ok(());
        }
        count_refused!("UpdateItem" UpdateItemError, "PutItem" PutItemError, "DeleteItem" DeleteItemError);
        Ok(())
    }
}
