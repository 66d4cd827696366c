//! AWS Lambda functions that read and write Kinesis streams: `docs/lambda.md` of the repository has their guarantees.

mod clock;
pub mod consumer;
pub mod local;
pub mod producer;
mod time_left;
pub mod trades;

pub use time_left::TimeLeft;

/// The error that Lambda reports of a function: its name, and its text with those of its causes.
fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> lambda_runtime::Diagnostic {
    let mut error_message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        error_message = format!("{error_message}: {error}");
        cause = error.source();
    }
    lambda_runtime::Diagnostic { error_type: error_type.to_owned(), error_message }
}

impl From<consumer::ConsumerError> for lambda_runtime::Diagnostic {
    fn from(error: consumer::ConsumerError) -> Self {
        diagnostic("ConsumerError", &error)
    }
}

impl From<producer::RecorderError> for lambda_runtime::Diagnostic {
    fn from(error: producer::RecorderError) -> Self {
        diagnostic("RecorderError", &error)
    }
}
