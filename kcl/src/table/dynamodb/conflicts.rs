//! Writes that are refused because a transaction has the item just now: they are tried again.

use aws_sdk_dynamodb::{
    config::{
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
    },
    operation::{delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError},
};

/// Takes such a refusal, which the SDK does not try again by itself, for one that passes.
#[derive(Debug)]
pub(super) struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        macro_rules! is_conflict {
            ($($error:ty),*) => {
                error.is_some_and(|error| false $(
                    || error.downcast_ref::<$error>().is_some_and(<$error>::is_transaction_conflict_exception)
                )*)
            };
        }
        match is_conflict!(UpdateItemError, PutItemError, DeleteItemError) {
            true => RetryAction::transient_error(),
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}
