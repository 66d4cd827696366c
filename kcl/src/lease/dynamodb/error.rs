//! Turns SDK errors into [`StoreError`]s that name the table and the IAM action.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::{kinesis::is_about_credentials, lease::store::StoreError};

/// A DynamoDB call, for error texts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) action: &'static str,
    pub(super) table: &'a str,
}

impl Call<'_> {
    /// For use in `map_err`.
    pub(super) fn failed<E, R>(self, error: SdkError<E, R>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let (action, table) = (self.action, self.table.to_owned());
        let code = error.as_service_error().and_then(|service| service.code().map(str::to_owned));
        let source = flatten(error);
        match code.as_deref() {
            Some("AccessDeniedException") => StoreError::AccessDenied { action, table, source },
            Some(code) if is_about_credentials(code) => StoreError::Credentials { action, table, source },
            Some("ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded") => {
                StoreError::Throttled { action, table, source }
            }
            Some("ResourceNotFoundException") => StoreError::TableMissing { table },
            _ => StoreError::Call { action, table, source },
        }
    }
}

/// Drops the SDK's outer "service error", which says nothing, and keeps the service's own words.
fn flatten<E, R>(error: SdkError<E, R>) -> crate::BoxError
where
    E: std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => Box::new(context.into_err()),
        other => Box::new(other),
    }
}
