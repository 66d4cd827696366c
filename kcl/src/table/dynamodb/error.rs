//! Turns SDK errors into [`TableError`]s that name the table and the IAM action.

use aws_sdk_dynamodb::{
    error::{BuildError, ProvideErrorMetadata, SdkError},
    types::BatchStatementErrorCodeEnum,
};

use crate::{
    error::{BoxError, TableError, is_about_credentials},
    event::chain,
};

/// The condition of a write does not hold.
pub(super) const CONDITION_FAILED: &str = "ConditionalCheckFailedException";
/// A table or an index is there already, or being made.
pub(super) const IN_USE: &str = "ResourceInUseException";

#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) action: &'static str,
    pub(super) table: &'a str,
}

impl Call<'_> {
    pub(super) fn failed<E, R>(self, error: SdkError<E, R>) -> TableError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let (action, table) = (self.action, self.table.to_owned());
        let code = error.as_service_error().and_then(|service| service.code().map(str::to_owned));
        let source = flatten(error);
        match code.as_deref() {
            Some("AccessDeniedException") => TableError::AccessDenied { action, table, source },
            Some(code) if is_about_credentials(code) => TableError::Credentials { action, table, source },
            Some("ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded") => {
                TableError::Throttled { action, table, source }
            }
            Some("ResourceNotFoundException") => TableError::TableMissing { table },
            _ => TableError::Call { action, table, source },
        }
    }

    /// A call whose request could not be built.
    pub(super) fn unbuilt(self, error: BuildError) -> TableError {
        TableError::Call { action: self.action, table: self.table.to_owned(), source: Box::new(error) }
    }

    /// A part of a request that failed by itself.
    pub(super) fn part_failed(self, code: Option<BatchStatementErrorCodeEnum>, message: Option<String>) -> TableError {
        use BatchStatementErrorCodeEnum as Code;
        let (action, table) = (self.action, self.table.to_owned());
        let text = code.as_ref().map_or("", Code::as_str);
        let source = format!("{text}: {}", message.unwrap_or_default()).into();
        match code {
            Some(Code::ProvisionedThroughputExceeded | Code::RequestLimitExceeded | Code::ThrottlingError) => {
                TableError::Throttled { action, table, source }
            }
            Some(Code::ResourceNotFound) => TableError::TableMissing { table },
            _ => TableError::Call { action, table, source },
        }
    }

    /// A call without an answer in the time that it had.
    pub(super) fn unanswered(self) -> TableError {
        TableError::Call { action: self.action, table: self.table.to_owned(), source: "no answer in time".into() }
    }

    /// A request of several parts whose answer says nothing of one.
    pub(super) fn incomplete(self) -> TableError {
        let source = "the answer has fewer parts than the request".into();
        TableError::Call { action: self.action, table: self.table.to_owned(), source }
    }

    /// True if a call took effect; false if it was refused by the error code `refusal`.
    pub(super) fn applied<T, E, R>(self, outcome: Result<T, SdkError<E, R>>, refusal: &str) -> Result<bool, TableError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        match outcome {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(refusal) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }
}

/// Drops the SDK's outer "service error", which says nothing, and keeps the service's own words.
fn flatten<E, R>(error: SdkError<E, R>) -> BoxError
where
    E: std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => Box::new(context.into_err()),
        other => Box::new(other),
    }
}

/// A call to another table, made for the sake of this lease table.
pub(super) fn while_looking_for(error: TableError, lease_table: &str) -> TableError {
    let table = lease_table.to_owned();
    let why = |of: String, source: BoxError| -> BoxError {
        format!("looking for the table {of}, which a fleet of KCL 3.0 to 3.4 has: {}", chain(&*source)).into()
    };
    match error {
        TableError::Throttled { action, table: of, source } => {
            TableError::Throttled { action, table, source: why(of, source) }
        }
        TableError::Call { action, table: of, source } => TableError::Call { action, table, source: why(of, source) },
        other => other,
    }
}

/// The error once more, for each part of a request that failed as a whole.
pub(super) fn again(error: &TableError) -> TableError {
    let text = |source: &BoxError| chain(&**source).into();
    match error {
        TableError::AccessDenied { action, table, source } => {
            TableError::AccessDenied { action, table: table.clone(), source: text(source) }
        }
        TableError::Credentials { action, table, source } => {
            TableError::Credentials { action, table: table.clone(), source: text(source) }
        }
        TableError::Throttled { action, table, source } => {
            TableError::Throttled { action, table: table.clone(), source: text(source) }
        }
        TableError::Call { action, table, source } => {
            TableError::Call { action, table: table.clone(), source: text(source) }
        }
        TableError::TableMissing { table } => TableError::TableMissing { table: table.clone() },
        TableError::WrongTable { table, reason } => {
            TableError::WrongTable { table: table.clone(), reason: reason.clone() }
        }
        TableError::Unreadable { table, key } => TableError::Unreadable { table: table.clone(), key: key.clone() },
    }
}
